// softmax(q K / sqrt(head_size)) V for every head, over a KV cache of any number of positions.
//
// Scores sum over a head in 16 shared lanes, the softmax's sum likewise; an output sums over positions in ascending order
// in one accumulator. Keys and values are read in place, some positions at a time for all heads that share them.
#pragma once

#include <span>

#include "emitter/constant_pool.h"
#include "emitter/half_code.h"
#include "emitter/reduction_code.h"
#include "emitter/softmax_code.h"

namespace bareflow {

/// Head sizes that are whole xmm registers, and whose accumulators fit; a cache of f32 or f16; so few heads of the query to
/// one of the cache that a number for each fits on the stack.
inline bool attention_supports(const RoutineKey& key) {
    constexpr uint32_t kMostOfGroup = 256;
    return !is_quantised(key.type) && key.head_size >= 4 && key.head_size % 4 == 0 && key.head_size <= 256 &&
           key.num_kv_heads > 0 && key.num_heads % key.num_kv_heads == 0 &&
           key.num_heads / key.num_kv_heads <= kMostOfGroup;
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
        for (x86::Gp saved : kSaved) a_.push(saved);
        a_.sub(x86::rsp, inverse_bytes());
        pool_.load_base();
        name_registers();
        a_.mov(kQuery, argument(offsetof(AttentionArguments, q)));
        a_.mov(kOut, argument(offsetof(AttentionArguments, out)));
        a_.mov(kKeys, argument(offsetof(AttentionArguments, keys)));
        a_.mov(kValues, argument(offsetof(AttentionArguments, values)));
        a_.mov(kPositions, argument(offsetof(AttentionArguments, positions)));
        a_.mov(kScores, argument(offsetof(AttentionArguments, scores)));
        a_.mov(kGroups.r32(), int64_t{key_.num_kv_heads});
        x86::Label next = a_.new_label();
        role(a_, next, "next_group");
        a_.bind(next);
        scores();
        weights();
        weighted_sums();
        scale_sums();
        a_.add(kKeys, cached_head_bytes());
        a_.add(kValues, cached_head_bytes());
        a_.dec(kGroups.r32());
        a_.jnz(next);

        a_.add(x86::rsp, inverse_bytes());
        for (unsigned i = std::size(kSaved); i-- > 0;) a_.pop(kSaved[i]);
        code_.leave();
        pool_.place();
    }

 private:
    static constexpr x86::Gp kArguments = x86::rdi, kQuery = x86::rsi, kOut = x86::rdx, kKeys = x86::r8,
                             kValues = x86::r9, kPositions = x86::r10, kScores = x86::r11, kGroups = x86::rbx,
                             kInGroup = x86::rbp, kRow = x86::r12, kIndex = x86::rcx, kTemporary = x86::rax,
                             kEnd = x86::r13, kTile = x86::r15;
    static constexpr x86::Gp kSaved[] = {x86::rbx, x86::rbp, x86::r12, x86::r13, x86::r14, x86::r15};
    static constexpr int64_t kFloat = sizeof(float);
    static constexpr int32_t kPushedBytes = 8;

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
                     {kGroups, "groups left"},
                     {kInGroup, "heads left"},
                     {kRow, "row"},
                     {kIndex, "position"},
                     {kTemporary, "temporary"},
                     {kEnd, "end"},
                     {kTile, "tile"}};
        for (const auto& each : roles) role(a_, each.reg, "{}", each.name);
    }

    x86::Mem argument(size_t offset) const { return x86::ptr(kArguments, static_cast<int64_t>(offset)); }
    /// Heads of the query that share a head of the cache.
    unsigned group() const { return key_.num_heads / key_.num_kv_heads; }
    /// On the stack: one over the softmax's sum, of each head of the group.
    int32_t inverse_bytes() const { return static_cast<int32_t>((group() * kFloat + 15) & ~int64_t{15}); }
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
    struct Piece {
        unsigned first, lanes;
    };
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

    enum class Afterwards { kSameGroup, kNextGroup };
    /// body() for each head of the group; kQuery, kOut and kScores are its own, and afterwards the first one's.
    template <typename Body>
    void for_each_head(Body body, Afterwards afterwards = Afterwards::kSameGroup) {
        x86::Label next = a_.new_label();
        role(a_, next, "next_head");
        a_.push(kScores);
        a_.mov(kInGroup.r32(), int64_t{group()});
        a_.bind(next);
        body();
        a_.add(kQuery, head_bytes());
        a_.add(kOut, head_bytes());
        a_.mov(kTemporary, argument(offsetof(AttentionArguments, score_stride)));
        a_.lea(kScores, x86::ptr(kScores, kTemporary, 4));
        a_.dec(kInGroup.r32());
        a_.jnz(next);
        if (afterwards == Afterwards::kNextGroup) return a_.add(x86::rsp, kPushedBytes);
        a_.pop(kScores);
        a_.sub(kQuery, static_cast<int32_t>(group()) * head_bytes());
        a_.sub(kOut, static_cast<int32_t>(group()) * head_bytes());
    }
    /// body() for all heads of the group and positions kTile to kEnd - 1, whose rows begin at `rows`: a tile of the cache
    /// comes from the L2 cache once and then feeds every head from L1. body() leaves kRow behind the tile.
    template <typename Body>
    void for_each_tile(x86::Gp rows, Body body) {
        x86::Label next = a_.new_label();
        role(a_, next, "next_tile");
        a_.push(rows);
        a_.xor_(kTile.r32(), kTile.r32());
        a_.bind(next);
        a_.mov(kEnd, kPositions);
        if (group() > 1) {
            // A row stands away from the next by all heads' bytes, so that a tile has a fraction of the cache's sets.
            constexpr int64_t kPositionsPerTile = 16;
            x86::Label last = a_.new_label();
            role(a_, last, "last_tile");
            a_.lea(kTemporary, x86::ptr(kTile, kPositionsPerTile));
            a_.cmp(kTemporary, kPositions);
            a_.jae(last);
            a_.mov(kEnd, kTemporary);
            a_.bind(last);
        }
        for_each_head([&] {
            a_.mov(kRow, rows);
            body();
        });
        a_.mov(rows, kRow);
        a_.mov(kTile, kEnd);
        a_.cmp(kTile, kPositions);
        a_.jb(next);
        a_.pop(rows);
    }

    /// body() for each position of the tile, whose row kRow points at.
    template <typename Body>
    void for_each_position(Body body) {
        x86::Label again = a_.new_label();
        role(a_, again, "next_position");
        a_.mov(kIndex, kTile);
        a_.bind(again);
        body();
        a_.add(kRow, argument(offsetof(AttentionArguments, kv_row_bytes)));
        a_.inc(kIndex);
        a_.cmp(kIndex, kEnd);
        a_.jb(again);
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
        auto score = [&] {
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
            } else {
                a_.mulss(x86::xmm(kSums), x86::xmm(kScale));
            }
            code_.store_float(x86::ptr(kScores, kIndex, 4), kSums);
        };
        for_each_tile(kKeys, [&] { for_each_position(score); });
    }
    float scale() const { return 1.0f / __builtin_sqrtf(static_cast<float>(key_.head_size)); }
    /// A narrow load leaves zeros above, whose products change no sum. Pieces begin at lane 0 of a register, but for four
    /// floats behind eight in a zmm.
    void move_to_upper_half(unsigned reg) {
        constexpr uint8_t kUpperHalfFromLower = 0x4E;
        a_.vshuff32x4(x86::zmm(reg), x86::zmm(reg), x86::zmm(reg), kUpperHalfFromLower);
    }

    // ---- scores[p] = e^(scores[p] - the largest), inverse = 1 / their sum
    void weights() {
        for_each_head([&] {
            softmax_.weights();
            code_.store_float(inverse(), SoftmaxCode<A>::kInverseSum);
        });
    }
    /// Of for_each_head's current head: it has pushed one register.
    x86::Mem inverse() const { return x86::ptr(x86::rsp, kInGroup, 4, kPushedBytes - kFloat); }

    // ---- out[d] = sum over p of scores[p] * v_p[d]
    void weighted_sums() {
        for_each_head([&] {
            code_.zero(0);
            for_each_piece([&](unsigned first, unsigned lanes) {
                of_lanes(lanes).store(x86::ptr(kOut, first * kFloat), 0);
            });
        });
        Piece pieces[64];
        unsigned count = 0;
        for_each_piece([&](unsigned first, unsigned lanes) { pieces[count++] = {first, lanes}; });
        const unsigned at_once = code_.registers() == 32 ? 12 : 8;
        for_each_tile(kValues, [&] {
            for (unsigned begin = 0; begin < count; begin += at_once) {
                const unsigned left = count - begin;
                if (begin != 0) a_.mov(kRow, kValues);
                weighted_sum(std::span(pieces + begin, left < at_once ? left : at_once), at_once);
            }
        });
    }
    /// Some pieces of a head, in registers while the tile's positions go by. Registers from `weight` on are free.
    void weighted_sum(std::span<const Piece> pieces, unsigned weight) {
        const unsigned scratch = weight + 1, value = weight + 2;  // three more behind value convert halves
        role(a_, code_.reg(weight), "e^score");
        role(a_, code_.reg(scratch), "scratch");
        if (is_half()) role(a_, code_.reg(value), "value");
        for (unsigned i = 0; i < pieces.size(); ++i) {
            role(a_, code_.reg(i), "out[{}]", pieces[i].first);
            of_lanes(pieces[i].lanes).load(i, x86::ptr(kOut, pieces[i].first * kFloat));
        }
        for_each_position([&] {
            code_.broadcast(weight, x86::ptr(kScores, kIndex, 4));
            for (unsigned i = 0; i < pieces.size(); ++i) {
                VectorCode<A> piece = of_lanes(pieces[i].lanes);
                if (is_half()) {
                    load_cached(piece, value, pieces[i].first, value + 1);
                    piece.multiply_add(i, weight, value, scratch);
                } else {
                    piece.multiply_add(i, weight, cached(pieces[i].first), scratch);
                }
            }
        });
        for (unsigned i = 0; i < pieces.size(); ++i)
            of_lanes(pieces[i].lanes).store(x86::ptr(kOut, pieces[i].first * kFloat), i);
    }

    // ---- out[d] *= inverse
    void scale_sums() {
        constexpr unsigned kInverse = 0, kOutput = 1;
        auto scale = [&] {
            code_.broadcast(kInverse, inverse());
            for_each_piece([&](unsigned first, unsigned lanes) {
                VectorCode<A> piece = of_lanes(lanes);
                piece.load(kOutput, x86::ptr(kOut, first * kFloat));
                piece.multiply(kOutput, kOutput, kInverse);
                piece.store(x86::ptr(kOut, first * kFloat), kOutput);
            });
        };
        for_each_head(scale, Afterwards::kNextGroup);
    }

    A& a_;
    const RoutineKey& key_;
    VectorCode<A> code_;
    ConstantPool<A> pool_;
    SoftmaxCode<A> softmax_;
};

}  // namespace bareflow
