// Routines of matrix products: projections with their epilogue, fused gate and up.
//
//     for each block of panels            kBlocks counts
//         for each tile of rows of x      kTiles counts (m > 1)
//             sums over k                 panel_sums.h
//             epilogue
//
// What is left over, panels or rows, gets a smaller block of its own behind the loop, and the last panel stores only the
// outputs that exist.
#pragma once

#include "emitter/argmax_code.h"
#include "emitter/constant_pool.h"
#include "emitter/exponential_code.h"
#include "emitter/panel_sums.h"
#include "emitter/vector_code.h"

namespace bareflow {

/// `Sums` is PanelSums<A> or QuantisedSums<A>.
template <typename A, typename Sums>
class ProjectionCode {
 public:
    static constexpr x86::Gp kOutput = x86::rdi, kBlocks = x86::r8, kTiles = x86::r10;

    ProjectionCode(A& assembler, const RoutineKey& key, const Plan& plan)
        : a_(assembler),
          key_(key),
          plan_(plan),
          code_(assembler, key.isa, key.numerics, plan.vector_bytes),
          pool_(assembler, x86::rax),
          sums_(code_, pool_, key, plan),
          argmax_(code_, pool_, code_.registers() - 1) {}

    /// ProjectArguments in rdi.
    void emit_project() {
        load_pointers(offsetof(ProjectArguments, y), offsetof(ProjectArguments, x),
                      {offsetof(ProjectArguments, w), offsetof(ProjectArguments, w)}, 1);
        if (tells_argmax()) argmax_.begin();
        reserve_stack(1);
        projection(key_.n, key_.m, 1);
        release_stack(1);
        if (tells_argmax()) {
            a_.mov(kOutput, x86::ptr(kArguments, offsetof(ProjectArguments, y)));
            argmax_.find_first(kOutput, kIndex, kBits, key_.n);
            a_.mov(kOutput, x86::ptr(kArguments, offsetof(ProjectArguments, index)));
            a_.mov(x86::ptr(kOutput), kIndex);
        }
        finish();
    }

    /// GateUpArguments in rdi.
    void emit_gate_up() {
        load_pointers(offsetof(GateUpArguments, h), offsetof(GateUpArguments, x),
                      {offsetof(GateUpArguments, gate), offsetof(GateUpArguments, up)}, 2);
        if (fetches_ahead()) a_.push(Sums::kAhead[1]);
        reserve_stack(2);
        projection(key_.n, key_.m, 2);
        release_stack(2);
        if (fetches_ahead()) a_.pop(Sums::kAhead[1]);
        finish();
    }

 private:
    static constexpr x86::Gp kArguments = x86::r11;
    static constexpr x86::Gp kIndex = x86::rsi, kBits = x86::r9;  // the weights' registers, free by then
    static constexpr int64_t kFloat = sizeof(float);
    static constexpr int64_t kPanelFloatBytes = kPanelRows * sizeof(float);

    void load_pointers(size_t output, size_t input, const size_t (&weights)[2], unsigned sources) {
        pool_.load_base();
        role(a_, kArguments, "arguments");
        a_.mov(kArguments, x86::rdi);
        role(a_, kOutput, "y");
        role(a_, Sums::kInput, "x");
        a_.mov(kOutput, x86::ptr(kArguments, static_cast<int64_t>(output)));
        a_.mov(Sums::kInput, x86::ptr(kArguments, static_cast<int64_t>(input)));
        for (unsigned i = 0; i < sources; ++i) {
            role(a_, Sums::kWeights[i], "{}weights", sources == 1 ? "" : i == 0 ? "gate " : "up ");
            a_.mov(Sums::kWeights[i], x86::ptr(kArguments, static_cast<int64_t>(weights[i])));
        }
    }
    /// With several tiles of rows, each panel is read as often from the L2 cache, and memory would wait meanwhile.
    bool fetches_ahead() const { return key_.m > plan_.rows && key_.n / kPanelRows / plan_.panels > 1; }
    int32_t stack_bytes(unsigned sources) const {
        return static_cast<int32_t>(sums_.stack_bytes({sources, plan_.panels, plan_.rows}));
    }
    void reserve_stack(unsigned sources) {
        if (stack_bytes(sources) != 0) a_.sub(x86::rsp, stack_bytes(sources));
    }
    void release_stack(unsigned sources) {
        if (stack_bytes(sources) != 0) a_.add(x86::rsp, stack_bytes(sources));
    }
    bool tells_argmax() const { return key_.epilogue == Epilogue::kArgmax; }
    void finish() {
        code_.leave();
        pool_.place();
    }

    /// All n outputs of m rows of x. Leaves kOutput and the weights behind the last full block.
    void projection(unsigned n, unsigned m, unsigned sources) {
        const unsigned full = n / kPanelRows, partial = n % kPanelRows;
        const unsigned blocks = full / plan_.panels;
        const unsigned rest = full % plan_.panels + (partial != 0 ? 1 : 0);
        n_ = n;
        if (blocks > 1) {
            x86::Label loop = a_.new_label();
            role(a_, loop, "next_block");
            role(a_, kBlocks, "blocks left");
            a_.mov(kBlocks.r32(), int64_t{blocks});
            a_.bind(loop);
            block_of_panels({sources, plan_.panels, 1}, m, 0);
            next_block(sources);
            a_.dec(kBlocks.r32());
            a_.jnz(loop);
        } else if (blocks == 1) {
            block_of_panels({sources, plan_.panels, 1}, m, 0);
            if (rest != 0) next_block(sources);
        }
        if (rest != 0) block_of_panels({sources, rest, 1}, m, partial);
    }
    void next_block(unsigned sources) {
        a_.add(kOutput, static_cast<int32_t>(plan_.panels * kPanelFloatBytes));
        for (unsigned i = 0; i < sources; ++i) {
            a_.add(Sums::kWeights[i], static_cast<int32_t>(plan_.panels * sums_.panel_bytes()));
        }
    }

    /// All rows of x for one block; its last panel has `partial` outputs (0: all 16).
    void block_of_panels(BlockShape block, unsigned m, unsigned partial) {
        const unsigned tile = plan_.rows < m ? plan_.rows : m;
        const unsigned tiles = m / tile, rest = m % tile;
        block.rows = tile;
        if (fetches_ahead()) {
            for (unsigned i = 0; i < block.sources; ++i) {
                role(a_, Sums::kAhead[i], "next block");
                a_.lea(Sums::kAhead[i], x86::ptr(Sums::kWeights[i], block.panels * sums_.panel_bytes()));
            }
            // All tiles together fetch the next block once, or a little more.
            constexpr int64_t kLine = 64;
            const int64_t share = sums_.turn_bytes(block) / (tiles + (rest != 0 ? 1 : 0));
            lines_ahead_ = static_cast<unsigned>((share + kLine - 1) / kLine);
        }
        if (tiles > 1) {
            x86::Label loop = a_.new_label();
            role(a_, loop, "next_rows");
            role(a_, kTiles, "tiles left");
            a_.mov(kTiles.r32(), int64_t{tiles});
            a_.bind(loop);
            tile_of_rows(block, partial);
            move_rows(tile);
            a_.dec(kTiles.r32());
            a_.jnz(loop);
        } else {
            tile_of_rows(block, partial);
            if (rest != 0) move_rows(tile);
        }
        if (rest != 0) {
            block.rows = rest;
            tile_of_rows(block, partial);
        }
        const unsigned moved = tiles > 1 || rest != 0 ? tiles * tile : 0;
        if (moved != 0) move_rows(-int64_t{moved});
    }
    void move_rows(int64_t rows) {
        a_.add(Sums::kInput, static_cast<int32_t>(rows * sums_.input_bytes()));
        a_.add(kOutput, static_cast<int32_t>(rows * n_ * kFloat));
    }

    void tile_of_rows(const BlockShape& block, unsigned partial) {
        sums_.emit(block, lines_ahead_);
        const unsigned free = sums_.accumulators(block);
        for (unsigned row = 0; row < block.rows; ++row) {
            for (unsigned panel = 0; panel < block.panels; ++panel) {
                const bool last = panel + 1 == block.panels;
                const unsigned outputs = last && partial != 0 ? partial : static_cast<unsigned>(kPanelRows);
                for (unsigned first = 0; first < outputs; first += code_.lanes()) {
                    const unsigned v = first / code_.lanes();
                    const unsigned sum = sums_.accumulator(block, row, 0, panel, v);
                    if (block.sources == 2) {  // silu(gate) * up
                        emit_silu_multiply(code_, pool_, sum, sums_.accumulator(block, row, 1, panel, v),
                                           free, {free + 1, free + 2, free + 3, free + 4});
                    }
                    const unsigned count = outputs - first < code_.lanes() ? outputs - first : code_.lanes();
                    const int64_t place = (int64_t{row} * n_ + panel * kPanelRows + first) * kFloat;
                    put(sum, place, count, free);
                }
            }
        }
    }

    /// Stores (or adds) the first `count` lanes of a sum at `place` of the output.
    void put(unsigned sum, int64_t place, unsigned count, unsigned scratch) {
        const bool add = key_.epilogue == Epilogue::kAdd;
        role(a_, code_.reg(scratch), "y");
        if (count == code_.lanes()) {
            if (add) {
                code_.load(scratch, x86::ptr(kOutput, place));
                code_.add(sum, scratch, sum);
            }
            code_.store(x86::ptr(kOutput, place), sum);
            if (tells_argmax()) argmax_.include(sum);
            return;
        }
        // By way of the red zone, one float at a time: nothing beyond the tensor is read or written.
        constexpr int64_t kRedZone = -64;
        code_.store(x86::ptr(x86::rsp, kRedZone), sum);
        for (unsigned i = 0; i < count; ++i) {
            const x86::Mem lane = x86::ptr(x86::rsp, kRedZone + i * kFloat),
                           output = x86::ptr(kOutput, place + i * kFloat);
            const x86::Xmm value = x86::xmm(scratch);
            if (code_.vex()) {
                a_.vmovss(value, lane);
                if (add) a_.vaddss(value, value, output);
                a_.vmovss(output, value);
            } else {
                a_.movss(value, lane);
                if (add) a_.addss(value, output);
                a_.movss(output, value);
            }
            if (tells_argmax()) argmax_.include(output, scratch);
        }
    }

    A& a_;
    const RoutineKey& key_;
    const Plan& plan_;
    VectorCode<A> code_;
    ConstantPool<A> pool_;
    Sums sums_;
    ArgmaxCode<A> argmax_;
    unsigned n_ = 0;
    unsigned lines_ahead_ = 0;
};

}  // namespace bareflow
