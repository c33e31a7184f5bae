// The inner loop of every projection: the sums of a block of panels over all k, for a few rows of x.
//
// A lane is an output and has one accumulator, so the order of additions is that of the reference whatever the width.
// Several panels (and rows) run side by side to hide the latency of their multiply-adds.
#pragma once

#include "arch/base/routine.h"
#include "emitter/constant_pool.h"
#include "emitter/half_code.h"
#include "emitter/roles.h"
#include "emitter/vector_code.h"

namespace bareflow {

/// How many accumulators a block has: rows of x times sources (weight matrices) times panels times vectors a panel.
struct BlockShape {
    unsigned sources = 1, panels = 1, rows = 1;
};

/// Blocks of equal size, as large as `largest` allows: so that no small block is left over, whose few sums wait for
/// each other.
constexpr unsigned balanced(unsigned total, unsigned largest) {
    if (total <= largest) return total > 1 ? total : 1;  // keys without a matrix have no panels
    const unsigned blocks = (total + largest - 1) / largest;
    return (total + blocks - 1) / blocks;
}

/// Brings the next `lines` cache lines from `ahead` on into the L2 cache, and moves it behind them.
template <typename A>
void emit_fetch_ahead(A& a, x86::Gp ahead, unsigned lines) {
    constexpr int64_t kLine = 64;
    for (unsigned line = 0; line < lines; ++line) a.prefetcht1(x86::ptr(ahead, line * kLine));
    a.add(ahead, static_cast<int32_t>(lines * kLine));
}

template <typename A>
class PanelSums {
 public:
    /// Pointers of the loop, by role; rcx counts.
    static constexpr x86::Gp kInput = x86::rdx, kCounter = x86::rcx;
    static constexpr x86::Gp kWeights[3] = {x86::rsi, x86::r9, x86::r10};
    /// Where the next block's weights are fetched from, for emit() with `lines_ahead`: of two sources at most.
    static constexpr x86::Gp kAhead[2] = {x86::r11, x86::rbx};

    PanelSums(VectorCode<A>& code, ConstantPool<A>& pool, const RoutineKey& key, const Plan& plan)
        : code_(code),
          pool_(pool),
          a_(code.a),
          k_(key.k),
          type_(key.type),
          unroll_(plan.unroll),
          prefetch_(plan.prefetch) {}

    unsigned vectors_per_panel() const { return static_cast<unsigned>(kPanelRows) / code_.lanes(); }
    unsigned accumulators(const BlockShape& block) const {
        return block.rows * block.sources * block.panels * vectors_per_panel();
    }
    unsigned accumulator(const BlockShape& block, unsigned row, unsigned source, unsigned panel,
                         unsigned v) const {
        return ((row * block.sources + source) * block.panels + panel) * vectors_per_panel() + v;
    }
    int64_t panel_bytes() const { return static_cast<int64_t>(kPanelRows * k_ * size_of(type_)); }

    /// Bytes of one row of x.
    int64_t input_bytes() const { return int64_t{k_} * static_cast<int64_t>(sizeof(float)); }

    /// Sums are in registers alone.
    int64_t stack_bytes(const BlockShape&) const { return 0; }

    /// Bytes of weights that one turn of the loop reads of each source.
    int64_t turn_bytes(const BlockShape& block) const {
        return int64_t{block.panels} * unrolled() * static_cast<int64_t>(kPanelRows * size_of(type_));
    }

    /// Emits the sums into the block's accumulators. The pointers are where they were afterwards; but kAhead has gone on
    /// by `lines_ahead` cache lines a turn, which it brought into the L2 cache.
    void emit(const BlockShape& block, unsigned lines_ahead = 0) {
        lines_ahead_ = lines_ahead;
        const unsigned total = accumulators(block);
        x_ = total;
        weights_ = x_ + 1;
        scratch_ = weights_ + weight_registers(block);
        name_registers(block);
        for (unsigned i = 0; i < total; ++i) code_.zero(i);

        const unsigned unroll = unrolled();
        const unsigned turns = k_ / unroll, rest = k_ % unroll;
        int64_t advanced = 0;
        if (turns > 1) {
            x86::Label loop = a_.new_label();
            role(a_, loop, "next_k");
            a_.mov(kCounter.r32(), int64_t{turns});
            a_.bind(loop);
            steps(block, unroll, true);
            advance(block, unroll);
            a_.dec(kCounter.r32());
            a_.jnz(loop);
            advanced = int64_t{turns} * unroll;
        } else {
            steps(block, unroll, false);
        }
        if (turns > 1) {
            steps(block, rest, false);
        } else {
            steps_from(block, unroll, rest);
        }
        if (advanced != 0) advance(block, -advanced);
    }

 private:
    unsigned unrolled() const { return unroll_ < k_ ? unroll_ : k_; }
    bool is_half() const { return type_ == ElementType::kF16; }
    /// With several rows a weight is loaded once for all of them; halves always pass through a register.
    unsigned weight_registers(const BlockShape& block) const {
        if (block.rows > 1) return block.sources * block.panels * vectors_per_panel();
        return is_half() ? 1 : 0;
    }
    unsigned scratch_registers() const {
        if (is_half() && !code_.vex()) return 3;
        return code_.fma() ? 0 : 1;
    }

    void steps(const BlockShape& block, unsigned count, bool in_loop) {
        if (in_loop && prefetch_ != 0) {
            for (unsigned source = 0; source < block.sources; ++source) {
                for (unsigned panel = 0; panel < block.panels; ++panel) {
                    a_.prefetcht0(x86::ptr(kWeights[source], panel * panel_bytes() + prefetch_));
                }
            }
        }
        for (unsigned source = 0; in_loop && lines_ahead_ != 0 && source < block.sources; ++source)
            emit_fetch_ahead(a_, kAhead[source], lines_ahead_);
        steps_from(block, 0, count);
    }
    void steps_from(const BlockShape& block, unsigned first, unsigned count) {
        for (unsigned k = first; k < first + count; ++k)
            block.rows == 1 ? one_row(block, k) : several_rows(block, k);
    }

    void one_row(const BlockShape& block, unsigned k) {
        code_.broadcast(x_, input(0, k));
        for (unsigned source = 0; source < block.sources; ++source) {
            for (unsigned panel = 0; panel < block.panels; ++panel) {
                for (unsigned v = 0; v < vectors_per_panel(); ++v) {
                    const unsigned sum = accumulator(block, 0, source, panel, v);
                    if (is_half()) {
                        load_weight(weights_, weight(source, panel, k, v));
                        code_.multiply_add(sum, x_, weights_, scratch_);
                    } else {
                        code_.multiply_add(sum, x_, weight(source, panel, k, v), scratch_);
                    }
                }
            }
        }
    }
    void several_rows(const BlockShape& block, unsigned k) {
        for (unsigned source = 0; source < block.sources; ++source) {
            for (unsigned panel = 0; panel < block.panels; ++panel) {
                for (unsigned v = 0; v < vectors_per_panel(); ++v) {
                    load_weight(weights_ + accumulator(block, 0, source, panel, v),
                                weight(source, panel, k, v));
                }
            }
        }
        const unsigned per_row = block.sources * block.panels * vectors_per_panel();
        for (unsigned row = 0; row < block.rows; ++row) {
            code_.broadcast(x_, input(row, k));
            for (unsigned i = 0; i < per_row; ++i) {
                code_.multiply_add(row * per_row + i, x_, weights_ + i, scratch_);
            }
        }
    }

    x86::Mem input(unsigned row, unsigned k) const {
        return x86::ptr(kInput, (int64_t{row} * k_ + k) * static_cast<int64_t>(sizeof(float)));
    }
    x86::Mem weight(unsigned source, unsigned panel, unsigned k, unsigned v) const {
        const int64_t element = int64_t{k} * kPanelRows + v * code_.lanes();
        return x86::ptr(kWeights[source],
                        panel * panel_bytes() + element * static_cast<int64_t>(size_of(type_)));
    }
    void load_weight(unsigned to, x86::Mem from) {
        if (!is_half()) return code_.load(to, from);
        if (code_.vex()) return a_.vcvtph2ps(code_.reg(to), from);
        emit_load_halves_sse2(code_, pool_, to, from, scratch_);
    }

    void name_registers(const BlockShape& block) {
        role(a_, kInput, "x");
        role(a_, kCounter, "turns left");
        for (unsigned row = 0; row < block.rows; ++row) {
            for (unsigned source = 0; source < block.sources; ++source) {
                const std::string_view matrix = block.sources == 1 ? "" : source == 0 ? "gate " : "up ";
                role(a_, kWeights[source], "{}weights", matrix);
                for (unsigned i = 0; i < block.panels * vectors_per_panel(); ++i) {
                    const unsigned panel = i / vectors_per_panel(), v = i % vectors_per_panel();
                    role(a_, code_.reg(accumulator(block, row, source, panel, v)), "{}sum {} of row {}",
                         matrix, panel * kPanelRows + v * code_.lanes(), row);
                }
            }
        }
        role(a_, code_.reg(x_), "x[k]");
        for (unsigned i = 0; i < weight_registers(block); ++i) role(a_, code_.reg(weights_ + i), "w");
        for (unsigned i = 0; i < scratch_registers(); ++i) role(a_, code_.reg(scratch_ + i), "scratch");
    }

    /// Moves the pointers by `steps` of k.
    void advance(const BlockShape& block, int64_t steps) {
        for (unsigned source = 0; source < block.sources; ++source) {
            a_.add(kWeights[source],
                   static_cast<int32_t>(steps * static_cast<int64_t>(kPanelRows * size_of(type_))));
        }
        a_.add(kInput, static_cast<int32_t>(steps * static_cast<int64_t>(sizeof(float))));
    }

    VectorCode<A>& code_;
    ConstantPool<A>& pool_;
    A& a_;
    unsigned k_;
    ElementType type_;
    unsigned unroll_;
    unsigned prefetch_;
    unsigned lines_ahead_ = 0;
    unsigned x_ = 0, weights_ = 0, scratch_ = 0;
};

}  // namespace bareflow
