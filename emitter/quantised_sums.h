// The inner loop of projections with quantised weights: as PanelSums, for Q8_0 and Q4_0. x is quantised too: (m, k / 32)
// Q8Groups.
//
//     for each group of 32 k, each vector of outputs
//         dots = whole sums of weight * x over the group      one lane an output
//         sum += (scale of weights * scale of x) * dots       multiplied, then added, in either numeric class
//
// AVX2: pmaddubsw wants one side without signs. In Q4_0 that is the nibble (what is too much, 8 for each x, is taken away
// at the end); in Q8_0 the weight's magnitude, its sign given to x. Two products fit in 16 bits: 2 * 128 * 127.
// SSE2: bytes become words, then pmaddwd.
#pragma once

#include "arch/base/quantised.h"
#include "arch/base/routine.h"
#include "emitter/constant_pool.h"
#include "emitter/half_code.h"
#include "emitter/panel_sums.h"
#include "emitter/roles.h"
#include "emitter/vector_code.h"

namespace bareflow {

template <typename A>
class QuantisedSums {
 public:
    /// As PanelSums has them.
    static constexpr x86::Gp kInput = PanelSums<A>::kInput, kCounter = PanelSums<A>::kCounter;
    static constexpr x86::Gp kWeights[3] = {PanelSums<A>::kWeights[0], PanelSums<A>::kWeights[1],
                                            PanelSums<A>::kWeights[2]};
    static constexpr x86::Gp kAhead[2] = {PanelSums<A>::kAhead[0], PanelSums<A>::kAhead[1]};
    /// Registers beside the accumulators.
    static constexpr unsigned kScratch = 6;

    QuantisedSums(VectorCode<A>& code, ConstantPool<A>& pool, const RoutineKey& key, const Plan& plan)
        : code_(code),
          pool_(pool),
          a_(code.a),
          groups_(key.k / kGroup),
          type_(key.type),
          unroll_(plan.unroll < kMostUnrolled ? plan.unroll : kMostUnrolled),
          prefetch_(plan.prefetch) {}

    unsigned vectors_per_panel() const { return static_cast<unsigned>(kPanelRows) / code_.lanes(); }
    unsigned accumulators(const BlockShape& block) const {
        return block.sources * block.panels * vectors_per_panel();
    }
    unsigned accumulator(const BlockShape& block, unsigned, unsigned source, unsigned panel,
                         unsigned v) const {
        return (source * block.panels + panel) * vectors_per_panel() + v;
    }
    int64_t panel_bytes() const { return groups_ * group_bytes(); }
    int64_t input_bytes() const { return groups_ * static_cast<int64_t>(sizeof(Q8Group)); }
    int64_t turn_bytes(const BlockShape& block) const { return block.panels * unrolled() * group_bytes(); }

    /// The sums of one row of x (`block.rows` is 1), as PanelSums::emit.
    void emit(const BlockShape& block, unsigned lines_ahead = 0) {
        const unsigned total = accumulators(block);
        dots_ = total;
        first_ = dots_ + 1;
        second_ = dots_ + 2;
        x_ = dots_ + 3;
        constant_ = dots_ + 4;
        extra_ = dots_ + 5;
        name_registers(block);
        for (unsigned i = 0; i < total; ++i) code_.zero(i);
        load_constants();

        const unsigned turns = groups_ / unrolled(), rest = groups_ % unrolled();
        int64_t advanced = 0;
        if (turns > 1) {
            x86::Label loop = a_.new_label();
            role(a_, loop, "next_group");
            a_.mov(kCounter.r32(), int64_t{turns});
            a_.bind(loop);
            fetch(block, lines_ahead);
            for (unsigned i = 0; i < unrolled(); ++i) group(block, i);
            advance(block, unrolled());
            a_.dec(kCounter.r32());
            a_.jnz(loop);
            advanced = int64_t{turns} * unrolled();
            for (unsigned i = 0; i < rest; ++i) group(block, i);
        } else {
            for (unsigned i = 0; i < groups_; ++i) group(block, i);
        }
        if (advanced != 0) advance(block, -advanced);
    }

 private:
    /// A group is long enough to hide what a loop costs.
    static constexpr unsigned kMostUnrolled = 2;
    static constexpr int64_t kQuadBytes = kPanelRows * kQuad;
    static constexpr int64_t kScaleBytes = kPanelRows * sizeof(uint16_t);
    static constexpr uint8_t kNibbleBits = 4, kByteBits = 8;
    static constexpr uint32_t kLowNibbles = 0x0F0F0F0F, kOneWords = 0x00010001;
    static constexpr uint8_t kZeroShift = 3;  ///< 8, a nibble's zero, as a shift
    static_assert(1 << kZeroShift == kNibbleZero);

    unsigned unrolled() const { return unroll_ < groups_ ? unroll_ : groups_; }
    bool is_q4() const { return type_ == ElementType::kQ4_0; }
    int64_t group_bytes() const { return static_cast<int64_t>(kPanelRows * row_bytes(type_, kGroup)); }

    x86::Mem quad(unsigned source, unsigned panel, unsigned index, unsigned j, unsigned v) const {
        return x86::ptr(kWeights[source],
                        place(panel, index) + kScaleBytes + j * kQuadBytes + v * code_.bytes());
    }
    x86::Mem weight_scales(unsigned source, unsigned panel, unsigned index, unsigned v) const {
        return x86::ptr(kWeights[source],
                        place(panel, index) + static_cast<int64_t>(v * code_.lanes() * sizeof(uint16_t)));
    }
    int64_t place(unsigned panel, unsigned index) const {
        return panel * panel_bytes() + index * group_bytes();
    }
    x86::Mem input(unsigned index, size_t offset) const {
        return x86::ptr(kInput, static_cast<int64_t>(index * sizeof(Q8Group) + offset));
    }

    /// One group of all vectors of outputs.
    void group(const BlockShape& block, unsigned index) {
        for (unsigned source = 0; source < block.sources; ++source) {
            for (unsigned panel = 0; panel < block.panels; ++panel) {
                for (unsigned v = 0; v < vectors_per_panel(); ++v) {
                    if (!code_.vex()) {
                        dots_sse2(source, panel, index, v);
                    } else if (is_q4()) {
                        dots_q4(source, panel, index, v);
                    } else {
                        dots_q8(source, panel, index, v);
                    }
                    include(accumulator(block, 0, source, panel, v), weight_scales(source, panel, index, v),
                            input(index, offsetof(Q8Group, scale)));
                }
            }
        }
    }

    // ---- AVX2
    void dots_q8(unsigned source, unsigned panel, unsigned index, unsigned v) {
        const x86::Vec dots = code_.reg(dots_), magnitude = code_.reg(first_), x = code_.reg(x_);
        for (unsigned j = 0; j < kQuads; ++j) {
            const x86::Mem w = quad(source, panel, index, j, v);
            code_.broadcast(x_, input(index, j * kQuad));
            a_.vpabsb(magnitude, w);
            a_.vpsignb(x, x, w);
            a_.vpmaddubsw(magnitude, magnitude, x);
            a_.vpmaddwd(j == 0 ? dots : magnitude, magnitude, code_.reg(constant_));
            if (j != 0) a_.vpaddd(dots, dots, magnitude);
        }
    }
    /// The sums of all eight quads fit in 16 bits: 16 * 15 * 127.
    void dots_q4(unsigned source, unsigned panel, unsigned index, unsigned v) {
        const x86::Vec dots = code_.reg(dots_), low = code_.reg(first_), high = code_.reg(second_),
                       x = code_.reg(x_), nibbles = code_.reg(extra_);
        for (unsigned j = 0; j < kQuads / 2; ++j) {
            code_.load(second_, quad(source, panel, index, j, v));
            a_.vpand(low, nibbles, high);
            a_.vpsrlw(high, high, kNibbleBits);
            a_.vpand(high, nibbles, high);
            code_.broadcast(x_, input(index, j * kQuad));
            a_.vpmaddubsw(j == 0 ? dots : low, low, x);
            if (j != 0) a_.vpaddw(dots, dots, low);
            code_.broadcast(x_, input(index, (j + kQuads / 2) * kQuad));
            a_.vpmaddubsw(high, high, x);
            a_.vpaddw(dots, dots, high);
        }
        a_.vpmaddwd(dots, dots, code_.reg(constant_));
        code_.broadcast(x_, input(index, offsetof(Q8Group, sum)));
        a_.vpslld(x, x, kZeroShift);
        a_.vpsubd(dots, dots, x);
    }

    // ---- SSE2: lanes of words; the pairs of an output stand side by side until the end
    void dots_sse2(unsigned source, unsigned panel, unsigned index, unsigned v) {
        const x86::Xmm low = x86::xmm(dots_), high = x86::xmm(extra_);
        for (unsigned j = 0; j < (is_q4() ? kQuads / 2 : kQuads); ++j) {
            const x86::Mem w = quad(source, panel, index, j, v);
            if (!is_q4()) {
                code_.load(first_, w);
                add_quad(j == 0, index, j);
                continue;
            }
            code_.load(first_, w);
            a_.pand(x86::xmm(first_), x86::xmm(constant_));
            add_quad(j == 0, index, j);
            code_.load(first_, w);
            a_.psrlw(x86::xmm(first_), kNibbleBits);
            a_.pand(x86::xmm(first_), x86::xmm(constant_));
            add_quad(false, index, j + kQuads / 2);
        }
        constexpr uint8_t kEven = 0x88, kOdd = 0xDD;  // lanes 0, 2 of each; 1, 3
        a_.movaps(x86::xmm(first_), low);
        a_.shufps(low, high, kEven);
        a_.shufps(x86::xmm(first_), high, kOdd);
        a_.paddd(low, x86::xmm(first_));
        if (!is_q4()) return;
        code_.broadcast(x_, input(index, offsetof(Q8Group, sum)));
        a_.pslld(x86::xmm(x_), kZeroShift);
        a_.psubd(low, x86::xmm(x_));
    }
    /// The products of the bytes in `first_` with quad j of x, added to the sums of outputs 0 and 1, and 2 and 3; or set.
    void add_quad(bool first_one, unsigned index, unsigned j) {
        const x86::Xmm low = x86::xmm(first_), high = x86::xmm(second_), x = x86::xmm(x_);
        code_.broadcast(x_, input(index, j * kQuad));
        widen(x, false);
        a_.movaps(high, low);
        widen(low, false);
        widen(high, true);
        a_.pmaddwd(low, x);
        a_.pmaddwd(high, x);
        if (first_one) {
            a_.movaps(x86::xmm(dots_), low);
            a_.movaps(x86::xmm(extra_), high);
        } else {
            a_.paddd(x86::xmm(dots_), low);
            a_.paddd(x86::xmm(extra_), high);
        }
    }
    /// The lower or upper eight bytes become words, with their sign.
    void widen(x86::Xmm bytes, bool upper) {
        upper ? a_.punpckhbw(bytes, bytes) : a_.punpcklbw(bytes, bytes);
        a_.psraw(bytes, kByteBits);
    }

    /// sum += (weights' scales * x's scale) * dots
    void include(unsigned sum, x86::Mem scales, x86::Mem input_scale) {
        if (code_.vex()) {
            a_.vcvtph2ps(code_.reg(first_), scales);
            a_.vcvtdq2ps(code_.reg(dots_), code_.reg(dots_));
        } else {
            emit_load_halves_sse2(code_, pool_, first_, scales, x_);  // overwrites constant_ and extra_
            a_.cvtdq2ps(x86::xmm(dots_), x86::xmm(dots_));
        }
        code_.broadcast(x_, input_scale);
        code_.multiply(first_, first_, x_);
        code_.multiply(first_, first_, dots_);
        code_.add(sum, sum, first_);
        if (!code_.vex()) load_constants();
    }

    void load_constants() {
        if (!code_.vex()) {
            if (is_q4()) code_.broadcast(constant_, pool_.at_bits(kLowNibbles));
            return;
        }
        code_.broadcast(constant_, pool_.at_bits(kOneWords));
        if (is_q4()) code_.broadcast(extra_, pool_.at_bits(kLowNibbles));
    }

    void fetch(const BlockShape& block, unsigned lines_ahead) {
        constexpr int64_t kLine = 64;
        for (unsigned source = 0; source < block.sources; ++source) {
            for (unsigned panel = 0; panel < block.panels && prefetch_ != 0; ++panel)
                a_.prefetcht0(x86::ptr(kWeights[source], panel * panel_bytes() + prefetch_));
            for (unsigned line = 0; line < lines_ahead; ++line)
                a_.prefetcht1(x86::ptr(kAhead[source], line * kLine));
            if (lines_ahead != 0) a_.add(kAhead[source], static_cast<int32_t>(lines_ahead * kLine));
        }
    }
    void advance(const BlockShape& block, int64_t groups) {
        for (unsigned source = 0; source < block.sources; ++source)
            a_.add(kWeights[source], static_cast<int32_t>(groups * group_bytes()));
        a_.add(kInput, static_cast<int32_t>(groups * static_cast<int64_t>(sizeof(Q8Group))));
    }

    void name_registers(const BlockShape& block) {
        role(a_, kInput, "x");
        role(a_, kCounter, "turns left");
        for (unsigned source = 0; source < block.sources; ++source) {
            role(a_, kWeights[source], "weights {}", source);
            for (unsigned i = 0; i < block.panels * vectors_per_panel(); ++i) {
                role(a_, code_.reg(accumulator(block, 0, source, 0, i)), "matrix {}, sum {}", source,
                     i * code_.lanes());
            }
        }
        role(a_, code_.reg(dots_), "dots");
        role(a_, code_.reg(first_), "w");
        role(a_, code_.reg(second_), "w");
        role(a_, code_.reg(x_), "x");
        role(a_, code_.reg(constant_), code_.vex() ? "ones" : "low nibbles");
        role(a_, code_.reg(extra_), code_.vex() ? "low nibbles" : "dots of outputs 2 and 3");
    }

    VectorCode<A>& code_;
    ConstantPool<A>& pool_;
    A& a_;
    unsigned groups_;
    ElementType type_;
    unsigned unroll_;
    unsigned prefetch_;
    unsigned dots_ = 0, first_ = 0, second_ = 0, x_ = 0, constant_ = 0, extra_ = 0;
};

}  // namespace bareflow
