// Vector arithmetic as generators want to write it: the same call becomes two-operand SSE, VEX or EVEX, and an fma or a
// mul and an add, as the key says. Nothing here chooses registers or loops.
#pragma once

#include <cstdint>

#include "arch/base/routine.h"
#include "emitter/instruction_set.h"

namespace bareflow {

/// shufps selector that repeats lane 0 (Intel SDM 2B "SHUFPS").
constexpr uint8_t kShuffleLane0 = 0x00;
/// Swaps neighbours: lanes 1, 0, 3, 2.
constexpr uint8_t kShufflePairs = 0xB1;

template <typename A>
class VectorCode {
 public:
    /// `bytes` is 16, 32 or 64; an ISA without VEX has 16, and legacy encodings.
    VectorCode(A& assembler, Isa isa, NumericClass numerics, unsigned bytes)
        : a(assembler), isa_(isa), numerics_(numerics), bytes_(bytes) {}

    unsigned bytes() const { return bytes_; }
    unsigned lanes() const { return bytes_ / sizeof(float); }
    unsigned registers() const { return has_evex(isa_) ? 32 : 16; }
    bool vex() const { return has_vex(isa_); }
    bool evex() const { return has_evex(isa_); }
    bool fma() const { return numerics_ == NumericClass::kFma; }
    Isa isa() const { return isa_; }
    NumericClass numerics() const { return numerics_; }

    x86::Vec reg(unsigned id) const {
        return x86::vec(bytes_ == 64   ? x86::VecLength::kZmm
                        : bytes_ == 32 ? x86::VecLength::kYmm
                                       : x86::VecLength::kXmm,
                        id);
    }

    // ---- moves
    void load(unsigned to, x86::Mem from) {
        if (vex()) {
            a.vmovups(reg(to), from);
        } else {
            a.movups(x86::xmm(to), from);
        }
    }
    void store(x86::Mem to, unsigned from) {
        if (vex()) {
            a.vmovups(to, reg(from));
        } else {
            a.movups(to, x86::xmm(from));
        }
    }
    /// One float in lane 0; the others become zero.
    void load_float(unsigned to, x86::Mem from) {
        vex() ? a.vmovss(x86::xmm(to), from) : a.movss(x86::xmm(to), from);
    }
    void store_float(x86::Mem to, unsigned from) {
        vex() ? a.vmovss(to, x86::xmm(from)) : a.movss(to, x86::xmm(from));
    }
    void copy(unsigned to, unsigned from) {
        if (to == from) return;
        if (vex()) {
            a.vmovaps(reg(to), reg(from));
        } else {
            a.movaps(x86::xmm(to), x86::xmm(from));
        }
    }
    /// One float to all lanes.
    void broadcast(unsigned to, x86::Mem from) {
        if (vex()) {
            a.vbroadcastss(reg(to), from);
        } else {
            a.movss(x86::xmm(to), from);
            a.shufps(x86::xmm(to), x86::xmm(to), kShuffleLane0);
        }
    }
    /// Lane 0 of `from` to all lanes of `to`.
    void broadcast_lane0(unsigned to, unsigned from) {
        if (vex()) {
            a.vbroadcastss(reg(to), x86::xmm(from));
        } else {
            copy(to, from);
            a.shufps(x86::xmm(to), x86::xmm(to), kShuffleLane0);
        }
    }
    void zero(unsigned to) {
        if (!vex()) {
            a.xorps(x86::xmm(to), x86::xmm(to));
        } else if (to < 16) {
            a.vxorps(x86::xmm(to), x86::xmm(to), x86::xmm(to));  // clears the whole register
        } else {
            a.vpxord(reg(to), reg(to), reg(to));
        }
    }

    // ---- arithmetic: to = x op y. In the SSE form `to` must not be y unless the operation commutes.
    void add(unsigned to, unsigned x, unsigned y) {
        if (vex()) return a.vaddps(reg(to), reg(x), reg(y));
        if (to == y) return a.addps(x86::xmm(to), x86::xmm(x));
        copy(to, x);
        a.addps(x86::xmm(to), x86::xmm(y));
    }
    void multiply(unsigned to, unsigned x, unsigned y) {
        if (vex()) return a.vmulps(reg(to), reg(x), reg(y));
        if (to == y) return a.mulps(x86::xmm(to), x86::xmm(x));
        copy(to, x);
        a.mulps(x86::xmm(to), x86::xmm(y));
    }
    void subtract(unsigned to, unsigned x, unsigned y) {
        if (vex()) return a.vsubps(reg(to), reg(x), reg(y));
        copy(to, x);
        a.subps(x86::xmm(to), x86::xmm(y));
    }
    void divide(unsigned to, unsigned x, unsigned y) {
        if (vex()) return a.vdivps(reg(to), reg(x), reg(y));
        copy(to, x);
        a.divps(x86::xmm(to), x86::xmm(y));
    }
    /// to = x > y ? x : y, and y where either is NaN (Intel SDM 2B "MAXPS").
    void maximum(unsigned to, unsigned x, unsigned y) {
        if (vex()) return a.vmaxps(reg(to), reg(x), reg(y));
        copy(to, x);
        a.maxps(x86::xmm(to), x86::xmm(y));
    }
    /// best = value > best ? value : best, so that a NaN leaves it. `value` may be overwritten.
    void maximum_into(unsigned best, unsigned value) {
        if (vex()) return a.vmaxps(reg(best), reg(value), reg(best));
        a.maxps(x86::xmm(value), x86::xmm(best));
        copy(best, value);
    }
    /// to = x < y ? x : y, and y where either is NaN.
    void minimum(unsigned to, unsigned x, unsigned y) {
        if (vex()) return a.vminps(reg(to), reg(x), reg(y));
        copy(to, x);
        a.minps(x86::xmm(to), x86::xmm(y));
    }
    void shift_left_32(unsigned to, unsigned x, uint8_t bits) {
        if (vex()) return a.vpslld(reg(to), reg(x), bits);
        copy(to, x);
        a.pslld(x86::xmm(to), bits);
    }
    void add_32(unsigned to, unsigned x, unsigned y) {
        if (vex()) return a.vpaddd(reg(to), reg(x), reg(y));
        copy(to, x);
        a.paddd(x86::xmm(to), x86::xmm(y));
    }
    void subtract_32(unsigned to, unsigned x, unsigned y) {
        if (vex()) return a.vpsubd(reg(to), reg(x), reg(y));
        copy(to, x);
        a.psubd(x86::xmm(to), x86::xmm(y));
    }
    void and_bits(unsigned to, unsigned x, unsigned y) {
        if (evex()) return a.vpandd(reg(to), reg(x), reg(y));
        if (vex()) return a.vpand(reg(to), reg(x), reg(y));
        if (to == y) return a.pand(x86::xmm(to), x86::xmm(x));
        copy(to, x);
        a.pand(x86::xmm(to), x86::xmm(y));
    }
    /// Whole numbers of 32 bits become floats, rounded to nearest even, in place.
    void to_floats(unsigned value) {
        vex() ? a.vcvtdq2ps(reg(value), reg(value)) : a.cvtdq2ps(x86::xmm(value), x86::xmm(value));
    }
    /// Neighbouring lanes trade places.
    void swap_pairs(unsigned to, unsigned x) {
        if (vex()) return a.vpermilps(reg(to), reg(x), kShufflePairs);
        copy(to, x);
        a.shufps(x86::xmm(to), x86::xmm(to), kShufflePairs);
    }

    // ---- the numeric class's multiply-add; `scratch` is overwritten in the mul-then-add class
    /// sum = x * y + sum
    void multiply_add(unsigned sum, unsigned x, unsigned y, unsigned scratch) {
        if (fma()) return a.vfmadd231ps(reg(sum), reg(x), reg(y));
        multiply(scratch, x, y);
        add(sum, sum, scratch);
    }
    /// sum = x * [memory] + sum; the memory may be unaligned
    void multiply_add(unsigned sum, unsigned x, x86::Mem memory, unsigned scratch) {
        if (fma()) return a.vfmadd231ps(reg(sum), reg(x), memory);
        if (vex()) {
            a.vmulps(reg(scratch), reg(x), memory);
        } else {
            a.movups(x86::xmm(scratch), memory);  // a memory operand of mulps would have to be aligned
            a.mulps(x86::xmm(scratch), x86::xmm(x));
        }
        add(sum, sum, scratch);
    }
    /// value = value * x + y
    void multiply_add_to(unsigned value, unsigned x, unsigned y) {
        if (fma()) return a.vfmadd213ps(reg(value), reg(x), reg(y));
        multiply(value, value, x);
        add(value, value, y);
    }

    /// Every exit of a routine: no dirty upper halves are left to slow down SSE code.
    void leave() {
        if (vex()) a.vzeroupper();
        a.ret();
    }

    A& a;

 private:
    Isa isa_;
    NumericClass numerics_;
    unsigned bytes_;
};

}  // namespace bareflow
