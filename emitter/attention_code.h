// softmax(q K / sqrt(head_size)) V for every head, over a KV cache of any number of positions.
//
// Scores sum over a head in 16 shared lanes, the softmax's sum likewise; an output sums over positions in ascending order
// in one accumulator. Keys and values are read in place.
#pragma once

#include "emitter/constant_pool.h"
#include "emitter/half_code.h"
#include "emitter/reduction_code.h"
#include "emitter/softmax_code.h"

namespace bareflow {

/// Head sizes that are whole xmm registers, and whose accumulators fit; a cache of f32 or f16.
inline bool attention_supports(const RoutineKey& key) {
    return !is_quantised(key.type) && key.head_size >= 4 && key.head_size % 4 == 0 && key.head_size <= 256 &&
           key.num_kv_heads > 0 && key.num_heads % key.num_kv_heads == 0;
}

template <typename A>
class AttentionCode {
 public:
    AttentionCode(A& assembler, const RoutineKey& key, const Plan& plan)
        : a_(assembler),
          key_(key),
          code_(assembler, key.isa, key.numerics, plan.vector_bytes),
          pool_(assembler, x86::r14),
          softmax_(code_, pool_, {kScores, kPositions, kIndex, kEnd, kTemporary}) {}

    /// AttentionArguments in rdi.
    void emit() {
        for (x86::Gp saved : {x86::rbx, x86::rbp, x86::r12, x86::r13, x86::r14}) a_.push(saved);
        pool_.load_base();
        name_registers();
        a_.mov(kQuery, x86::ptr(kArguments, offsetof(AttentionArguments, q)));
        a_.mov(kOut, x86::ptr(kArguments, offsetof(AttentionArguments, out)));
        a_.mov(kKeys, x86::ptr(kArguments, offsetof(AttentionArguments, keys)));
        a_.mov(kValues, x86::ptr(kArguments, offsetof(AttentionArguments, values)));
        a_.mov(kPositions, x86::ptr(kArguments, offsetof(AttentionArguments, positions)));
        a_.mov(kScores, x86::ptr(kArguments, offsetof(AttentionArguments, scores)));
        a_.mov(kHeads.r32(), int64_t{key_.num_heads});
        a_.mov(kInGroup.r32(), int64_t{group()});

        x86::Label head = a_.new_label(), same_group = a_.new_label();
        role(a_, head, "next_head");
        role(a_, same_group, "same_group");
        a_.bind(head);
        scores();
        softmax_.weights();
        weighted_sum();
        a_.add(kQuery, head_bytes());
        a_.add(kOut, head_bytes());
        a_.mov(kTemporary, x86::ptr(kArguments, offsetof(AttentionArguments, score_stride)));
        a_.lea(kScores, x86::ptr(kScores, kTemporary, 4));
        a_.dec(kInGroup.r32());
        a_.jnz(same_group);
        a_.add(kKeys, cached_head_bytes());
        a_.add(kValues, cached_head_bytes());
        a_.mov(kInGroup.r32(), int64_t{group()});
        a_.bind(same_group);
        a_.dec(kHeads.r32());
        a_.jnz(head);

        for (x86::Gp saved : {x86::r14, x86::r13, x86::r12, x86::rbp, x86::rbx}) a_.pop(saved);
        code_.leave();
        pool_.place();
    }

 private:
    static constexpr x86::Gp kArguments = x86::rdi, kQuery = x86::rsi, kOut = x86::rdx, kKeys = x86::r8,
                             kValues = x86::r9, kPositions = x86::r10, kScores = x86::r11, kHeads = x86::rbx,
                             kInGroup = x86::rbp, kRow = x86::r12, kIndex = x86::rcx, kTemporary = x86::rax,
                             kEnd = x86::r13;
    static constexpr int64_t kFloat = sizeof(float);

    void name_registers() {
        const struct {
            x86::Gp reg;
            std::string_view name;
        } roles[] = {{kArguments, "arguments"},
                     {kQuery, "q"},
                     {kOut, "out"},
                     {kKeys, "keys"},
                     {kValues, "values"},
                     {kPositions, "positions"},
                     {kScores, "scores"},
                     {kHeads, "heads left"},
                     {kInGroup, "in group"},
                     {kRow, "row"},
                     {kIndex, "position"},
                     {kTemporary, "temporary"},
                     {kEnd, "end"}};
        for (const auto& each : roles) role(a_, each.reg, "{}", each.name);
    }

    unsigned group() const { return key_.num_heads / key_.num_kv_heads; }
    int32_t head_bytes() const { return static_cast<int32_t>(key_.head_size * kFloat); }
    bool is_half() const { return key_.type == ElementType::kF16; }
    int32_t cached_head_bytes() const { return static_cast<int32_t>(key_.head_size * size_of(key_.type)); }
    /// Element `first` of the row of the cache that kRow points at.
    x86::Mem cached(unsigned first) const {
        return x86::ptr(kRow, int64_t{first} * static_cast<int64_t>(size_of(key_.type)));
    }
    /// A piece of the cache as floats; without F16C that overwrites three registers from `scratch` on.
    void load_cached(VectorCode<A>& piece, unsigned to, unsigned first, unsigned scratch) {
        if (!is_half()) return piece.load(to, cached(first));
        if (code_.vex()) return a_.vcvtph2ps(piece.reg(to), cached(first));
        emit_load_halves_sse2(piece, pool_, to, cached(first), scratch);
    }

    /// A piece of a head: `lanes` floats (4, 8 or 16) from element `first`, as wide as the plan's vectors allow.
    template <typename Body>
    void for_each_piece(Body body) {
        unsigned first = 0;
        for (unsigned lanes = code_.lanes(); lanes >= 4; lanes /= 2) {
            for (; key_.head_size - first >= lanes; first += lanes) body(first, lanes);
        }
    }
    VectorCode<A> of_lanes(unsigned lanes) {
        return VectorCode<A>(a_, key_.isa, key_.numerics, lanes * static_cast<unsigned>(kFloat));
    }

    // ---- scores[p] = (q . k_p) * scale
    void scores() {
        constexpr unsigned kSums = 0, kLoaded = 8, kScratch = 9, kScale = 10, kKey = 11, kHalves = 12;
        SharedLanes<A> sums(code_, kSums);
        for (unsigned i = 0; i < sums.count(); ++i) role(a_, code_.reg(sums.at(i)), "q.k");
        role(a_, code_.reg(kLoaded), "q");
        role(a_, code_.reg(kScratch), "scratch");
        role(a_, code_.reg(kScale), "scale");
        role(a_, code_.reg(kKey), "key");
        code_.broadcast(kScale, pool_.at(scale()));
        a_.mov(kRow, kKeys);
        loop_over_positions([&] {
            sums.zero();
            for_each_piece([&](unsigned first, unsigned lanes) {
                VectorCode<A> piece = of_lanes(lanes);
                const unsigned sum = sums.at(first % kSharedLanes / code_.lanes());
                const unsigned lane_in_register = first % kSharedLanes % code_.lanes();
                piece.load(kLoaded, x86::ptr(kQuery, first * kFloat));
                load_cached(piece, kKey, first, kHalves);
                if (lane_in_register != 0) {
                    move_to_upper_half(kLoaded);
                    move_to_upper_half(kKey);
                }
                code_.multiply_add(sum, kLoaded, kKey, kScratch);
            });
            sums.reduce(kScratch);
            if (code_.vex()) {
                a_.vmulss(x86::xmm(kSums), x86::xmm(kSums), x86::xmm(kScale));
                a_.vmovss(x86::ptr(kScores, kIndex, 4), x86::xmm(kSums));
            } else {
                a_.mulss(x86::xmm(kSums), x86::xmm(kScale));
                a_.movss(x86::ptr(kScores, kIndex, 4), x86::xmm(kSums));
            }
            a_.add(kRow, x86::ptr(kArguments, offsetof(AttentionArguments, kv_row_bytes)));
        });
    }
    float scale() const { return 1.0f / __builtin_sqrtf(static_cast<float>(key_.head_size)); }
    /// A narrow load leaves zeros above, whose products change no sum. Pieces begin at lane 0 of a register, but for four
    /// floats behind eight in a zmm.
    void move_to_upper_half(unsigned reg) {
        constexpr uint8_t kUpperHalfFromLower = 0x4E;
        a_.vshuff32x4(x86::zmm(reg), x86::zmm(reg), x86::zmm(reg), kUpperHalfFromLower);
    }

    // ---- out[d] = (sum over p of scores[p] * v_p[d]) * inverse
    void weighted_sum() {
        const unsigned at_once = (code_.registers() == 32 ? 12u : 8u);
        const unsigned weight = at_once, scratch = at_once + 1, value = at_once + 2;
        constexpr unsigned kInverseSum = SoftmaxCode<A>::kInverseSum;
        // 32 registers: value is 14; 16: value is 10, and three more convert halves.
        static_assert(kInverseSum > 14);
        struct Piece {
            unsigned first, lanes;
        } pieces[64];
        unsigned count = 0;
        for_each_piece([&](unsigned first, unsigned lanes) { pieces[count++] = {first, lanes}; });
        for (unsigned begin = 0; begin < count; begin += at_once) {
            const unsigned end = count - begin < at_once ? count : begin + at_once;
            for (unsigned i = begin; i < end; ++i) role(a_, code_.reg(i - begin), "out[{}]", pieces[i].first);
            role(a_, code_.reg(weight), "e^score");
            role(a_, code_.reg(scratch), "scratch");
            if (is_half()) role(a_, code_.reg(value), "value");
            for (unsigned i = begin; i < end; ++i) of_lanes(pieces[i].lanes).zero(i - begin);
            a_.mov(kRow, kValues);
            loop_over_positions([&] {
                code_.broadcast(weight, x86::ptr(kScores, kIndex, 4));
                for (unsigned i = begin; i < end; ++i) {
                    VectorCode<A> piece = of_lanes(pieces[i].lanes);
                    if (is_half()) {
                        load_cached(piece, value, pieces[i].first, value + 1);
                        piece.multiply_add(i - begin, weight, value, scratch);
                    } else {
                        piece.multiply_add(i - begin, weight, cached(pieces[i].first), scratch);
                    }
                }
                a_.add(kRow, x86::ptr(kArguments, offsetof(AttentionArguments, kv_row_bytes)));
            });
            code_.broadcast_lane0(weight, kInverseSum);
            for (unsigned i = begin; i < end; ++i) {
                VectorCode<A> piece = of_lanes(pieces[i].lanes);
                piece.multiply(i - begin, i - begin, weight);
                piece.store(x86::ptr(kOut, pieces[i].first * kFloat), i - begin);
            }
        }
    }

    /// kIndex = 0 … positions - 1.
    template <typename Body>
    void loop_over_positions(Body body) {
        x86::Label again = a_.new_label();
        role(a_, again, "next_position");
        a_.xor_(kIndex.r32(), kIndex.r32());
        a_.bind(again);
        body();
        a_.inc(kIndex);
        a_.cmp(kIndex, kPositions);
        a_.jb(again);
    }
    A& a_;
    const RoutineKey& key_;
    VectorCode<A> code_;
    ConstantPool<A> pool_;
    SoftmaxCode<A> softmax_;
};

}  // namespace bareflow
