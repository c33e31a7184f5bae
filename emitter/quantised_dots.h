// The dots of one group: 32 products of bytes for each lane of a vector of outputs, summed exactly in 32 bits, for a few
// rows of x.
//
//     SSE2    bytes become words, then pmaddwd
//     SSSE3, AVX2    pmaddubsw wants one side without signs. In Q4_0 that is the nibble; in Q8_0 the weight's magnitude,
//                    its sign given to x. Two products fit in 16 bits: 2 * 128 * 127.
//     VNNI    vpdpbusd wants the same, but sums in 32 bits. In Q8_0 the weight gets 128 added: its sign bit flipped.
//
// What an offset (8 for a nibble, 128) adds too much for each x is taken away at the end, by the group's sum.
#pragma once

#include "arch/base/quantised.h"
#include "arch/base/routine.h"
#include "emitter/constant_pool.h"
#include "emitter/vector_code.h"

namespace bareflow {

/// Where one vector's group lies.
struct GroupPlace {
    x86::Mem weights;   ///< its first quad; the next is kPanelRows * kQuad bytes on
    x86::Mem input;     ///< the Q8Group of the first row of x
    int64_t row_bytes;  ///< from row to row of x
    unsigned rows;      ///< 1 without VEX
};

template <typename A>
class QuantisedDots {
 public:
    /// Beside the dots themselves.
    static constexpr unsigned kScratch = 5;

    QuantisedDots(VectorCode<A>& code, ConstantPool<A>& pool, ElementType type)
        : code_(code), pool_(pool), a_(code.a), is_q4_(type == ElementType::kQ4_0) {}

    /// Row r's dots come to stand in register first + r; overwrites kScratch registers from `scratch` on, of which the last
    /// two keep constants.
    void use_registers(unsigned first, unsigned scratch) {
        dots_ = first;
        first_ = scratch;
        second_ = scratch + 1;
        x_ = scratch + 2;
        constant_ = scratch + 3;
        extra_ = scratch + 4;
        role(a_, code_.reg(first_), "w");
        role(a_, code_.reg(second_), "w");
        role(a_, code_.reg(x_), "x");
        role(a_, code_.reg(constant_), is_sse2() ? "low nibbles" : vnni() ? "sign bits" : "ones");
        role(a_, code_.reg(extra_), is_sse2() ? "dots of outputs 2 and 3" : "low nibbles");
    }
    void load_constants() {
        if (is_sse2()) {
            if (is_q4_) code_.broadcast(constant_, pool_.at_bits(kLowNibbles));
            return;
        }
        if (!vnni()) code_.broadcast(constant_, pool_.at_bits(kOneWords));
        if (vnni() && !is_q4_) code_.broadcast(constant_, pool_.at_bits(kSignBits));
        if (is_q4_) code_.broadcast(extra_, pool_.at_bits(kLowNibbles));
    }

    void emit(const GroupPlace& at) {
        if (is_sse2()) {
            is_q4_ ? nibbles_sse2(at) : bytes_sse2(at);
            finish_sse2();
        } else if (vnni()) {
            for (unsigned row = 0; row < at.rows; ++row) code_.zero(dots_ + row);
            is_q4_ ? nibbles(at) : biased_bytes(at);
        } else if (!code_.vex()) {
            is_q4_ ? nibbles_ssse3(at) : bytes_ssse3(at);
        } else {
            is_q4_ ? nibbles(at) : bytes(at);
        }
        for (unsigned row = 0; row < at.rows; ++row) take_offset(at, row);
    }

 private:
    static constexpr int64_t kQuadBytes = kPanelRows * kQuad;
    static constexpr unsigned kHighQuad = kQuads / 2;  ///< whose nibbles stand above those of quad 0
    static constexpr uint8_t kNibbleBits = 4, kByteBits = 8;
    static constexpr uint32_t kLowNibbles = 0x0F0F0F0F, kOneWords = 0x00010001, kSignBits = 0x80808080;
    static constexpr uint8_t kNibbleShift = 3, kBiasShift = 7;  ///< offsets as shifts
    static_assert(1 << kNibbleShift == kNibbleZero);

    bool is_sse2() const { return code_.isa() == Isa::kSse2; }
    bool vnni() const { return has_vnni(code_.isa()); }
    x86::Mem quad(const GroupPlace& at, unsigned j) const { return at.weights + j * kQuadBytes; }
    x86::Mem input(const GroupPlace& at, unsigned row, size_t offset) const {
        return at.input + (row * at.row_bytes + static_cast<int64_t>(offset));
    }
    x86::Mem input_quad(const GroupPlace& at, unsigned row, unsigned j) const {
        return input(at, row, j * kQuad);
    }
    x86::Vec dots(unsigned row) const { return code_.reg(dots_ + row); }

    // ---- AVX2 and VNNI: a vector of weights is made ready once for all rows
    void bytes(const GroupPlace& at) {
        const x86::Vec magnitude = code_.reg(first_), weights = code_.reg(second_), x = code_.reg(x_);
        for (unsigned j = 0; j < kQuads; ++j) {
            code_.load(second_, quad(at, j));
            a_.vpabsb(magnitude, weights);
            for (unsigned row = 0; row < at.rows; ++row) {
                code_.broadcast(x_, input_quad(at, row, j));
                a_.vpsignb(x, x, weights);
                a_.vpmaddubsw(x, magnitude, x);
                a_.vpmaddwd(j == 0 ? dots(row) : x, x, code_.reg(constant_));
                if (j != 0) a_.vpaddd(dots(row), dots(row), x);
            }
        }
    }
    void biased_bytes(const GroupPlace& at) {
        const x86::Vec weights = code_.reg(second_), sign_bits = code_.reg(constant_);
        for (unsigned j = 0; j < kQuads; ++j) {
            code_.evex() ? a_.vpxord(weights, sign_bits, quad(at, j))
                         : a_.vpxor(weights, sign_bits, quad(at, j));
            for (unsigned row = 0; row < at.rows; ++row) accumulate(at, row, j, second_);
        }
    }
    /// Without VNNI the sums of all quads fit in 16 bits: 16 * 15 * 127.
    void nibbles(const GroupPlace& at) {
        for (unsigned j = 0; j < kHighQuad; ++j) {
            code_.load(second_, quad(at, j));
            code_.and_bits(first_, second_, extra_);
            a_.vpsrlw(code_.reg(second_), code_.reg(second_), kNibbleBits);
            code_.and_bits(second_, second_, extra_);
            for (unsigned row = 0; row < at.rows; ++row) {
                accumulate(at, row, j, first_);
                accumulate(at, row, j + kHighQuad, second_);
            }
        }
        if (vnni()) return;
        for (unsigned row = 0; row < at.rows; ++row) a_.vpmaddwd(dots(row), dots(row), code_.reg(constant_));
    }
    /// dots(row) += weights, without signs, times quad j of x. Without VNNI in words, the first ones set them.
    void accumulate(const GroupPlace& at, unsigned row, unsigned j, unsigned weights) {
        const x86::Mem quad = input_quad(at, row, j);
        if (vnni() && code_.evex()) return a_.vpdpbusd(dots(row), code_.reg(weights), quad.broadcast());
        const x86::Vec x = code_.reg(x_);
        code_.broadcast(x_, quad);
        if (vnni()) return a_.vpdpbusd_vex(dots(row), code_.reg(weights), x);
        a_.vpmaddubsw(j == 0 ? dots(row) : x, code_.reg(weights), x);
        if (j != 0) a_.vpaddw(dots(row), dots(row), x);
    }
    void take_offset(const GroupPlace& at, unsigned row) {
        if (!is_q4_ && !vnni()) return;
        code_.broadcast(x_, input(at, row, offsetof(Q8Group, sum)));
        code_.shift_left_32(x_, x_, is_q4_ ? kNibbleShift : kBiasShift);
        code_.subtract_32(dots_ + row, dots_ + row, x_);
    }

    // ---- SSSE3
    void bytes_ssse3(const GroupPlace& at) {
        const x86::Xmm magnitude = x86::xmm(first_), weights = x86::xmm(second_), x = x86::xmm(x_);
        for (unsigned j = 0; j < kQuads; ++j) {
            code_.load(second_, quad(at, j));
            a_.pabsb(magnitude, weights);
            code_.broadcast(x_, input_quad(at, 0, j));
            a_.psignb(x, weights);
            a_.pmaddubsw(magnitude, x);
            a_.pmaddwd(magnitude, x86::xmm(constant_));
            j == 0 ? a_.movaps(x86::xmm(dots_), magnitude) : a_.paddd(x86::xmm(dots_), magnitude);
        }
    }
    void nibbles_ssse3(const GroupPlace& at) {
        const x86::Xmm low = x86::xmm(first_), high = x86::xmm(second_), nibbles = x86::xmm(extra_);
        for (unsigned j = 0; j < kHighQuad; ++j) {
            code_.load(second_, quad(at, j));
            a_.movaps(low, high);
            a_.psrlw(high, kNibbleBits);
            a_.pand(low, nibbles);
            a_.pand(high, nibbles);
            code_.broadcast(x_, input_quad(at, 0, j));
            a_.pmaddubsw(low, x86::xmm(x_));
            j == 0 ? a_.movaps(x86::xmm(dots_), low) : a_.paddw(x86::xmm(dots_), low);
            code_.broadcast(x_, input_quad(at, 0, j + kHighQuad));
            a_.pmaddubsw(high, x86::xmm(x_));
            a_.paddw(x86::xmm(dots_), high);
        }
        a_.pmaddwd(x86::xmm(dots_), x86::xmm(constant_));
    }

    // ---- SSE2: lanes of words; the pairs of an output stand side by side until the end
    void bytes_sse2(const GroupPlace& at) {
        for (unsigned j = 0; j < kQuads; ++j) {
            code_.load(first_, quad(at, j));
            add_quad(at, j);
        }
    }
    void nibbles_sse2(const GroupPlace& at) {
        for (unsigned j = 0; j < kHighQuad; ++j) {
            code_.load(first_, quad(at, j));
            a_.pand(x86::xmm(first_), x86::xmm(constant_));
            add_quad(at, j);
            code_.load(first_, quad(at, j));
            a_.psrlw(x86::xmm(first_), kNibbleBits);
            a_.pand(x86::xmm(first_), x86::xmm(constant_));
            add_quad(at, j + kHighQuad);
        }
    }
    void finish_sse2() {
        const x86::Xmm low = x86::xmm(dots_), high = x86::xmm(extra_), other = x86::xmm(first_);
        constexpr uint8_t kEven = 0x88, kOdd = 0xDD;  // lanes 0, 2 of each; 1, 3
        a_.movaps(other, low);
        a_.shufps(low, high, kEven);
        a_.shufps(other, high, kOdd);
        a_.paddd(low, other);
    }
    /// The products of the bytes in `first_` with quad j of x, added to the sums of outputs 0 and 1, and 2 and 3; quad 0,
    /// which comes first, sets them.
    void add_quad(const GroupPlace& at, unsigned j) {
        const x86::Xmm low = x86::xmm(first_), high = x86::xmm(second_), x = x86::xmm(x_);
        code_.broadcast(x_, input_quad(at, 0, j));
        widen(x, false);
        a_.movaps(high, low);
        widen(low, false);
        widen(high, true);
        a_.pmaddwd(low, x);
        a_.pmaddwd(high, x);
        if (j == 0) {
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

    VectorCode<A>& code_;
    ConstantPool<A>& pool_;
    A& a_;
    bool is_q4_;
    unsigned dots_ = 0, first_ = 0, second_ = 0, x_ = 0, constant_ = 0, extra_ = 0;
};

}  // namespace bareflow
