// Query, key and value in one routine: x read for matrices side by side, query and key rotated in registers on the way out.
//
// Matrices of a group run side by side (PanelSums' sources), so that small ones hide each other's latency:
//     key and value as large as query (no grouped heads)    {query, key} {value}; all three where they are small
//     fewer key/value heads                                  {query} {key, value}
// Sums are rotated before they are stored where vectors stay within heads and blocks begin with them; otherwise a pass over
// the stored outputs does it.
#pragma once

#include <span>

#include "emitter/constant_pool.h"
#include "emitter/panel_sums.h"
#include "emitter/vector_code.h"

namespace bareflow {

/// `Sums` is PanelSums<A> or QuantisedSums<A>.
template <typename A, typename Sums>
class QkvCode {
 public:
    QkvCode(A& assembler, const RoutineKey& key, const Plan& plan)
        : a_(assembler),
          key_(key),
          plan_(plan),
          code_(assembler, key.isa, key.numerics, plan.vector_bytes),
          pool_(assembler, x86::rax),
          sums_(code_, pool_, key, plan) {}

    /// QkvArguments in rdi.
    void emit() {
        a_.push(kCos);
        a_.push(kSin);
        pool_.load_base();
        role(a_, kArguments, "arguments");
        role(a_, kInput, "x");
        role(a_, kCos, "cosines");
        role(a_, kSin, "sines");
        a_.mov(kArguments, x86::rdi);
        a_.mov(kInput, argument(offsetof(QkvArguments, x)));
        a_.mov(kCos, argument(offsetof(QkvArguments, cos)));
        a_.mov(kSin, argument(offsetof(QkvArguments, sin)));
        constexpr Part kQuery{offsetof(QkvArguments, q), offsetof(QkvArguments, query), "query", true};
        constexpr Part kKey{offsetof(QkvArguments, k), offsetof(QkvArguments, key), "key", true};
        constexpr Part kValue{offsetof(QkvArguments, v), offsetof(QkvArguments, value), "value", false};
        if (key_.n != key_.kv_n) {
            group({&kQuery, 1}, key_.n);
            const Part parts[] = {kKey, kValue};
            group(parts, key_.kv_n);
        } else if (panels_of(key_.n) * 3 <= plan_.panels) {
            const Part parts[] = {kQuery, kKey, kValue};
            group(parts, key_.n);
        } else {
            const Part parts[] = {kQuery, kKey};
            group(parts, key_.n);
            group({&kValue, 1}, key_.n);
        }
        a_.pop(kSin);
        a_.pop(kCos);
        code_.leave();
        pool_.place();
        if (uses_signs_) place_signs();
    }

 private:
    struct Part {
        size_t out, weights;  ///< offsets of QkvArguments
        std::string_view name;
        bool rotated;
    };
    using Parts = std::span<const Part>;
    static constexpr x86::Gp kInput = Sums::kInput, kArguments = x86::r11, kBlocks = x86::r8, kCos = x86::rbx,
                             kSin = x86::rbp;
    static constexpr x86::Gp kOffset = x86::rdi;     ///< of the block's outputs, in bytes
    static constexpr x86::Gp kOut = Sums::kCounter;  ///< free behind the sums
    static constexpr int64_t kFloat = sizeof(float);

    static unsigned panels_of(unsigned n) { return (n + kPanelRows - 1) / kPanelRows; }
    x86::Mem argument(size_t offset) const { return x86::ptr(kArguments, static_cast<int64_t>(offset)); }

    /// Panels of each matrix at a time: whole heads if that is possible, else blocks of equal size. A matrix beyond the L2
    /// cache wants as many streams as there can be, and a pass over its outputs costs next to nothing.
    unsigned block_panels(unsigned n, unsigned sources) const {
        const unsigned total = panels_of(n), largest = plan_.panels > sources ? plan_.panels / sources : 1;
        if (total <= largest) return total;
        constexpr int64_t kBeyondCache = 512 * 1024;
        const bool in_cache = total * sums_.panel_bytes() < kBeyondCache;
        for (unsigned panels = largest; in_cache && 2 * panels > largest; --panels) {
            if (panels * kPanelRows % key_.head_size == 0) return panels;
        }
        return balanced(total, largest);
    }

    /// All n outputs of each part.
    void group(Parts parts, unsigned n) {
        const unsigned sources = static_cast<unsigned>(parts.size()), panels = block_panels(n, sources);
        const unsigned blocks = n / kPanelRows / panels, whole = blocks * panels * kPanelRows;
        rotates_in_registers_ =
            key_.head_size % code_.lanes() == 0 && (blocks <= 1 || panels * kPanelRows % key_.head_size == 0);
        for (unsigned i = 0; i < sources; ++i) {
            role(a_, Sums::kWeights[i], "{} weights", parts[i].name);
            a_.mov(Sums::kWeights[i], argument(parts[i].weights));
        }
        role(a_, kOffset, "offset of outputs");
        a_.xor_(kOffset.r32(), kOffset.r32());
        if (blocks > 0) {
            x86::Label loop = a_.new_label();
            role(a_, loop, "next_block");
            role(a_, kBlocks, "blocks left");
            if (blocks > 1) {
                a_.mov(kBlocks.r32(), int64_t{blocks});
                a_.bind(loop);
            }
            block(parts, panels, panels * kPanelRows, 0);
            if (blocks > 1 || whole != n) {
                a_.add(kOffset, static_cast<int32_t>(panels * kPanelRows * kFloat));
                for (unsigned i = 0; i < sources; ++i)
                    a_.add(Sums::kWeights[i], static_cast<int32_t>(panels * sums_.panel_bytes()));
            }
            if (blocks > 1) {
                a_.dec(kBlocks.r32());
                a_.jnz(loop);
            }
        }
        if (whole != n) block(parts, panels_of(n - whole), n - whole, whole);
        if (rotates_in_registers_) return;
        for (const Part& part : parts) {
            if (part.rotated) rotate_stored(part, n);
        }
    }

    /// `outputs` outputs of each part from kOffset on. `first`: the number of the first one, give or take whole heads.
    void block(Parts parts, unsigned panels, unsigned outputs, unsigned first) {
        const BlockShape shape{static_cast<unsigned>(parts.size()), panels, 1};
        sums_.emit(shape);
        const unsigned free = sums_.accumulators(shape);
        for (unsigned i = 0; i < shape.sources; ++i) {
            role(a_, kOut, "{}", parts[i].name);
            a_.mov(kOut, argument(parts[i].out));
            for (unsigned at = 0; at < outputs; at += code_.lanes()) {
                unsigned sum =
                    sums_.accumulator(shape, 0, i, at / kPanelRows, at % kPanelRows / code_.lanes());
                if (rotates_in_registers_ && parts[i].rotated) {
                    rotate(code_, sum, (first + at) % key_.head_size, code_.lanes(), free);
                    sum = free;
                }
                store(sum, at, outputs - at < code_.lanes() ? outputs - at : code_.lanes());
            }
        }
    }
    /// The first `count` lanes of a sum, as output `at` of the block; beyond it nothing is written.
    void store(unsigned sum, unsigned at, unsigned count) {
        const int64_t place = int64_t{at} * kFloat;
        if (count == code_.lanes()) return code_.store(x86::ptr(kOut, kOffset, 1, place), sum);
        constexpr int64_t kRedZone = -64;
        code_.store(x86::ptr(x86::rsp, kRedZone), sum);
        for (unsigned i = 0; i < count; ++i) {
            code_.load_float(sum, x86::ptr(x86::rsp, kRedZone + i * kFloat));
            code_.store_float(x86::ptr(kOut, kOffset, 1, place + i * kFloat), sum);
        }
    }

    // ---- rotary embedding
    /// The widest vector that divides a head, or 0: pairs one by one.
    unsigned rotation_lanes() const {
        unsigned lanes = code_.lanes();
        while (lanes >= 4 && key_.head_size % lanes != 0) lanes /= 2;
        return lanes >= 4 ? lanes : 0;
    }
    /// A part's n outputs where they were stored.
    void rotate_stored(const Part& part, unsigned n) {
        const unsigned lanes = rotation_lanes(), step = lanes != 0 ? lanes : 2;
        VectorCode<A> narrow(a_, key_.isa, key_.numerics, lanes != 0 ? lanes * 4 : 16);
        constexpr unsigned kValue = 0, kFree = 1;
        x86::Label loop = a_.new_label();
        role(a_, loop, "next_head");
        role(a_, kBlocks, "heads left");
        role(a_, kOut, "{}", part.name);
        role(a_, narrow.reg(kValue), "values");
        a_.mov(kOut, argument(part.out));
        a_.mov(kBlocks.r32(), int64_t{n / key_.head_size});
        a_.bind(loop);
        for (unsigned first = 0; first < key_.head_size; first += step) {
            const x86::Mem place = x86::ptr(kOut, first * kFloat);
            if (lanes != 0) {
                narrow.load(kValue, place);
                rotate(narrow, kValue, first, lanes, kFree);
                narrow.store(place, kFree);
            } else {
                narrow.vex() ? a_.vmovq(x86::xmm(kValue), place) : a_.movq(x86::xmm(kValue), place);
                rotate(narrow, kValue, first, lanes, kFree);
                narrow.vex() ? a_.vmovlps(place, x86::xmm(kFree)) : a_.movlps(place, x86::xmm(kFree));
            }
        }
        a_.add(kOut, static_cast<int32_t>(key_.head_size * kFloat));
        a_.dec(kBlocks.r32());
        a_.jnz(loop);
    }

    /// Register `free` = `value` rotated: lanes become x0 * cos - x1 * sin and x1 * cos + x0 * sin, the product with the
    /// sine rounded first. `first` is the first lane's place in its head; `lanes` 0 is one pair. Overwrites free to free + 3.
    void rotate(VectorCode<A>& code, unsigned value, unsigned first, unsigned lanes, unsigned free) {
        const unsigned swapped = free, cosines = free + 1, sines = free + 2, scratch = free + 3;
        const int64_t table = int64_t{first} / 2 * kFloat;
        role(a_, code.reg(swapped), "rotated");
        role(a_, code.reg(cosines), "cosines");
        role(a_, code.reg(sines), "sines");
        load_twice_each(code, cosines, x86::ptr(kCos, table), lanes);
        load_twice_each(code, sines, x86::ptr(kSin, table), lanes);
        code.swap_pairs(swapped, value);
        code.multiply(swapped, swapped, sines);
        if (!uses_signs_) signs_ = a_.new_label();
        uses_signs_ = true;
        if (code.vex()) {
            a_.vmulps(code.reg(swapped), code.reg(swapped), x86::ptr(signs_));
        } else {
            a_.movups(x86::xmm(scratch), x86::ptr(signs_));
            a_.mulps(x86::xmm(swapped), x86::xmm(scratch));
        }
        code.multiply_add(swapped, value, cosines, scratch);
    }
    /// to = t0, t0, t1, t1, … from lanes / 2 floats; for one pair from a single float.
    void load_twice_each(VectorCode<A>& code, unsigned to, x86::Mem from, unsigned lanes) {
        if (lanes == 0) return code.broadcast(to, from);
        if (!code.vex()) {
            a_.movq(x86::xmm(to), from);
            a_.unpcklps(x86::xmm(to), x86::xmm(to));
            return;
        }
        a_.vpmovzxdq(code.reg(to), from);
        a_.vmovsldup(code.reg(to), code.reg(to));
    }
    /// -1, 1, -1, 1, …
    void place_signs() {
        role(a_, signs_, "signs");
        a_.align(sizeof(float));
        a_.bind(signs_);
        for (unsigned i = 0; i < kPanelRows; ++i)
            a_.embed_u32(std::bit_cast<uint32_t>(i % 2 == 0 ? -1.0f : 1.0f));
    }

    A& a_;
    const RoutineKey& key_;
    const Plan& plan_;
    VectorCode<A> code_;
    ConstantPool<A> pool_;
    Sums sums_;
    x86::Label signs_;
    bool uses_signs_ = false;
    bool rotates_in_registers_ = false;
};

}  // namespace bareflow
