// The inner loop of projections with quantised weights: as PanelSums, for Q8_0 and Q4_0. x is quantised too: (m, k / 32)
// Q8Groups.
//
//     for each group of 32 k, each vector of outputs
//         dots = whole sums of weight * x over the group      quantised_dots.h; one lane an output, for each row of x
//         sum += (scale of weights * scale of x) * dots       multiplied, then added, in either numeric class
//
// One row of x has its sums in registers. Several rows need the registers for their dots, and keep the sums on the stack:
// a sum is touched once a group, which is 32 multiply-adds.
#pragma once

#include "emitter/half_code.h"
#include "emitter/panel_sums.h"
#include "emitter/quantised_dots.h"
#include "emitter/roles.h"

namespace bareflow {

template <typename A>
class QuantisedSums {
 public:
    /// As PanelSums has them.
    static constexpr x86::Gp kInput = PanelSums<A>::kInput, kCounter = PanelSums<A>::kCounter;
    static constexpr x86::Gp kWeights[3] = {PanelSums<A>::kWeights[0], PanelSums<A>::kWeights[1],
                                            PanelSums<A>::kWeights[2]};
    static constexpr x86::Gp kAhead[2] = {PanelSums<A>::kAhead[0], PanelSums<A>::kAhead[1]};

    QuantisedSums(VectorCode<A>& code, ConstantPool<A>& pool, const RoutineKey& key, const Plan& plan)
        : code_(code),
          pool_(pool),
          a_(code.a),
          dots_(code, pool, key),
          groups_(key.k / kGroup),
          type_(key.type),
          rows_(plan.rows < key.m ? plan.rows : key.m),
          unroll_(rows_ > 1                     ? 1
                  : plan.unroll < kMostUnrolled ? plan.unroll
                                                : kMostUnrolled),
          prefetch_(plan.prefetch) {}

    unsigned vectors_per_panel() const { return static_cast<unsigned>(kPanelRows) / code_.lanes(); }
    unsigned accumulators(const BlockShape& block) const {
        return on_stack() ? block.sources : block.sources * block.panels * vectors_per_panel();
    }
    /// Where a sum stands, or is brought: on the way out each is asked for once.
    unsigned accumulator(const BlockShape& block, unsigned row, unsigned source, unsigned panel, unsigned v) {
        if (!on_stack()) return (source * block.panels + panel) * vectors_per_panel() + v;
        code_.load(source, stacked(block, row, source, panel, v));
        return source;
    }
    int64_t panel_bytes() const { return groups_ * group_bytes(); }
    int64_t input_bytes() const { return groups_ * static_cast<int64_t>(sizeof(Q8Group)); }
    int64_t turn_bytes(const BlockShape& block) const { return block.panels * unrolled() * group_bytes(); }
    /// What a block's sums take of the stack: the caller moves rsp by as much.
    int64_t stack_bytes(const BlockShape& block) const {
        return on_stack() ? int64_t{rows_} * block.sources * block.panels * kPanelBytes : 0;
    }

    /// As PanelSums::emit.
    void emit(const BlockShape& block, unsigned lines_ahead = 0) {
        const unsigned held = on_stack() ? 0 : accumulators(block);
        first_dots_ = held;
        factor_ = held + block.rows * dots_.vectors();  // free once the dots are summed
        dots_.use_registers(first_dots_, factor_);
        name_registers(block);
        zero(block);
        dots_.load_constants();

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
    static constexpr int64_t kPanelBytes = kPanelRows * sizeof(float);

    bool on_stack() const { return rows_ > 1; }
    unsigned unrolled() const { return unroll_ < groups_ ? unroll_ : groups_; }
    int64_t group_bytes() const { return static_cast<int64_t>(kPanelRows * row_bytes(type_, kGroup)); }
    x86::Mem stacked(const BlockShape& block, unsigned row, unsigned source, unsigned panel,
                     unsigned v) const {
        const int64_t place = (int64_t{row} * block.sources + source) * block.panels + panel;
        return x86::ptr(x86::rsp, place * kPanelBytes + v * code_.bytes());
    }

    template <typename Body>
    void for_each_vector(const BlockShape& block, unsigned step, Body body) {
        for (unsigned source = 0; source < block.sources; ++source) {
            for (unsigned panel = 0; panel < block.panels; ++panel) {
                for (unsigned v = 0; v < vectors_per_panel(); v += step) body(source, panel, v);
            }
        }
    }
    void zero(const BlockShape& block) {
        if (on_stack()) code_.zero(first_dots_);
        for (unsigned row = 0; row < block.rows; ++row) {
            for_each_vector(block, 1, [&](unsigned source, unsigned panel, unsigned v) {
                on_stack() ? code_.store(stacked(block, row, source, panel, v), first_dots_)
                           : code_.zero(accumulator(block, row, source, panel, v));
            });
        }
    }

    /// One group of all vectors of outputs.
    void group(const BlockShape& block, unsigned index) {
        constexpr int64_t kScaleBytes = sizeof(uint16_t);
        const x86::Mem input = x86::ptr(kInput, static_cast<int64_t>(index * sizeof(Q8Group)));
        for_each_vector(block, dots_.vectors(), [&](unsigned source, unsigned panel, unsigned v) {
            const x86::Mem group = x86::ptr(kWeights[source], panel * panel_bytes() + index * group_bytes());
            const auto vector = static_cast<int64_t>(v);
            dots_.emit({group + (kPanelRows * kScaleBytes + vector * code_.bytes()), input, input_bytes(),
                        block.rows});
            for (unsigned i = 0; i < dots_.vectors(); ++i)
                load_factors(factor_ + i, group + (vector + i) * code_.lanes() * kScaleBytes);
            for (unsigned row = 0; row < block.rows; ++row) {
                code_.broadcast(input_scale(), input + (row * input_bytes() +
                                                        static_cast<int64_t>(offsetof(Q8Group, scale))));
                for (unsigned i = 0; i < dots_.vectors(); ++i) {
                    scale_dots(dots_.dots(row, i), factor_ + i);
                    include(block, row, source, panel, v + i, dots_.dots(row, i));
                }
            }
        });
    }
    /// The weights' scales, in registers that the dots no longer need.
    void load_factors(unsigned to, x86::Mem scales) {
        role(a_, code_.reg(to), "scales of w");
        if (code_.vex()) return a_.vcvtph2ps(code_.reg(to), scales);
        emit_load_halves_sse2(code_, pool_, to, scales, input_scale());
    }
    /// The dots become floats, times (the weights' scales * the input's).
    void scale_dots(unsigned dots, unsigned factors) {
        const unsigned product = input_scale() + 1;
        code_.to_floats(dots);
        code_.multiply(product, factors, input_scale());
        code_.multiply(dots, dots, product);
    }
    void include(const BlockShape& block, unsigned row, unsigned source, unsigned panel, unsigned v,
                 unsigned dots) {
        if (!on_stack()) {
            const unsigned sum = accumulator(block, row, source, panel, v);
            return code_.add(sum, sum, dots);
        }
        const x86::Mem sum = stacked(block, row, source, panel, v);
        a_.vaddps(code_.reg(dots), code_.reg(dots), sum);
        code_.store(sum, dots);
    }
    /// As QuantisedDots has x: between its weights and its constant.
    unsigned input_scale() const { return factor_ + DotsRegisters::weights_of(code_.bytes()); }

    /// What the turn after next, or a later one, will read. A group is several cache lines, and its sums take so many
    /// instructions that a processor cannot look as far ahead as the L3 cache is away.
    void fetch(const BlockShape& block, unsigned lines_ahead) {
        constexpr int64_t kLine = 64;
        for (unsigned source = 0; source < block.sources; ++source) {
            for (unsigned panel = 0; panel < block.panels && prefetch_ != 0; ++panel) {
                for (int64_t at = 0; at < unrolled() * group_bytes(); at += kLine)
                    a_.prefetcht0(x86::ptr(kWeights[source], panel * panel_bytes() + prefetch_ + at));
            }
            if (lines_ahead != 0) emit_fetch_ahead(a_, kAhead[source], lines_ahead);
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
        for (unsigned source = 0; source < block.sources; ++source)
            role(a_, kWeights[source], "weights {}", source);
        for (unsigned i = 0; i < block.rows * dots_.vectors(); ++i)
            role(a_, code_.reg(first_dots_ + i), "dots of row {}", i / dots_.vectors());
        if (on_stack()) return;
        for_each_vector(block, 1, [&](unsigned source, unsigned panel, unsigned v) {
            role(a_, code_.reg(accumulator(block, 0, source, panel, v)), "matrix {}, sum {}", source,
                 panel * kPanelRows + v * code_.lanes());
        });
    }

    VectorCode<A>& code_;
    ConstantPool<A>& pool_;
    A& a_;
    QuantisedDots<A> dots_;
    unsigned groups_;
    ElementType type_;
    unsigned rows_;
    unsigned unroll_;
    unsigned prefetch_;
    unsigned first_dots_ = 0, factor_ = 0;
};

}  // namespace bareflow
