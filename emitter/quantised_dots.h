// The dots of one group: 32 products of bytes for each lane, summed exactly in 32 bits, for a few vectors of outputs that lie
// side by side and a few rows of x.
//
//     SSE2           bytes become words, then pmaddwd
//     SSSE3, AVX2    pmaddubsw wants one side without signs. In Q4_0 that is the nibble; in Q8_0 the input's magnitude, and
//                    its sign goes to the weight. Two products fit in 16 bits: 2 * 127 * 127.
//     AVX2, rows     Q8_0 weights become words once for all rows, then pmaddwd
//     AVX2, words    for emulators: words, and of their products the lower halves, which hold them whole. An emulator has
//                    vpmullw, shifts and sums in one or two of the host's instructions, pmaddwd and pmaddubsw in loops
//     VNNI           vpdpbusd wants the same as pmaddubsw, but sums in 32 bits. In Q8_0 the weight gets 128 added: its sign
//                    bit flipped.
//
// What an offset (8 for a nibble, 128) adds too much for each x is taken away at the end, by the group's sum.
#pragma once

#include "arch/base/quantised.h"
#include "arch/base/routine.h"
#include "emitter/constant_pool.h"
#include "emitter/vector_code.h"

namespace bareflow {

/// Where the group of some vectors lies.
struct GroupPlace {
    x86::Mem weights;   ///< the first quad of the first vector; the next quad is kPanelRows * kQuad bytes on
    x86::Mem input;     ///< the Q8Group (or Q8WordGroup) of the first row of x
    int64_t row_bytes;  ///< from row to row of x
    unsigned rows;      ///< 1 without VEX
};

/// What the dots take of the registers, by the bytes of a vector.
struct DotsRegisters {
    /// Vectors of outputs that share what is read of x: the two of a panel where there are two.
    static constexpr unsigned vectors_of(unsigned bytes) { return bytes == 32 ? 2 : 1; }
    /// Registers for weights: two a vector; SSE2 has a third.
    static constexpr unsigned weights_of(unsigned bytes) { return bytes == 32 ? 4 : 3; }
    /// All beside the dots themselves.
    static constexpr unsigned scratch_of(unsigned bytes) { return weights_of(bytes) + 4; }
};

template <typename A>
class QuantisedDots {
 public:
    QuantisedDots(VectorCode<A>& code, ConstantPool<A>& pool, const RoutineKey& key)
        : code_(code),
          pool_(pool),
          a_(code.a),
          is_q4_(key.type == ElementType::kQ4_0),
          words_(takes_words(key)),
          vectors_(DotsRegisters::vectors_of(code.bytes())) {}

    unsigned vectors() const { return vectors_; }
    /// Of row `row` and the `v`-th of the vectors.
    unsigned dots(unsigned row, unsigned v) const { return dots_ + row * vectors_ + v; }

    /// The dots stand from register `first` on; overwrites DotsRegisters::scratch_of() registers from `scratch` on, of which the last one
    /// keeps a constant.
    void use_registers(unsigned first, unsigned scratch) {
        dots_ = first;
        w_ = scratch;
        x_ = scratch + DotsRegisters::weights_of(code_.bytes());
        product_ = x_ + 2;
        constant_ = product_ + 1;
        for (unsigned i = 0; w_ + i < x_; ++i) role(a_, code_.reg(w_ + i), "w");
        for (unsigned i = 0; i < 2; ++i) role(a_, code_.reg(x_ + i), "x");
        role(a_, code_.reg(product_), "product");
        role(a_, code_.reg(constant_),
             words_   ? "scratch"
             : is_q4_ ? "low nibbles"
             : vnni() ? "sign bits"
                      : "ones");
    }
    void load_constants() {
        if (words_) return;
        if (is_q4_) return code_.broadcast(constant_, pool_.at_bits(kLowNibbles));
        if (is_sse2()) return;
        code_.broadcast(constant_, pool_.at_bits(vnni() ? kSignBits : kOneWords));
    }

    void emit(const GroupPlace& at) {
        if (vnni() || low_products()) {
            for (unsigned i = 0; i < at.rows * vectors_; ++i) code_.zero(dots_ + i);
        }
        if (is_sse2()) {
            for (unsigned v = 0; v < vectors_; ++v) dots_sse2(at, v);
        } else if (is_q4_) {
            nibbles(at);
        } else {
            vnni() ? biased_bytes(at) : words_ ? words(at) : bytes(at);
        }
        if (!is_q4_ && !vnni()) return;
        for (unsigned row = 0; row < at.rows; ++row) take_offset(at, row);
    }

 private:
    static constexpr int64_t kQuadBytes = kPanelRows * kQuad;
    static constexpr unsigned kHighQuad = kQuads / 2;  ///< whose nibbles stand above those of quad 0
    static constexpr uint8_t kNibbleBits = 4, kByteBits = 8, kWordBits = 16;
    static constexpr uint32_t kLowNibbles = 0x0F0F0F0F, kOneWords = 0x00010001, kSignBits = 0x80808080;
    static constexpr uint8_t kNibbleShift = 3, kBiasShift = 7;  ///< offsets as shifts
    static_assert(1 << kNibbleShift == kNibbleZero);

    bool is_sse2() const { return code_.isa() == Isa::kSse2; }
    bool low_products() const { return code_.isa() == Isa::kAvx2Words; }
    bool vnni() const { return has_vnni(code_.isa()); }
    x86::Mem quad(const GroupPlace& at, unsigned j, unsigned v) const {
        return at.weights + (j * kQuadBytes + v * code_.bytes());
    }
    x86::Mem input(const GroupPlace& at, unsigned row, size_t offset) const {
        return at.input + (row * at.row_bytes + static_cast<int64_t>(offset));
    }
    x86::Mem input_quad(const GroupPlace& at, unsigned row, unsigned j) const {
        return input(at, row, offsetof(Q8Group, q) + j * kQuad);
    }

    x86::Mem input_words(const GroupPlace& at, unsigned row, unsigned j, unsigned odd) const {
        return input(at, row, sizeof(Q8WordGroup::q[0]) * j + odd * kQuad);
    }

    void sum_words(unsigned to, unsigned value) {
        code_.vex() ? a_.vpaddw(code_.reg(to), code_.reg(to), code_.reg(value))
                    : a_.paddw(x86::xmm(to), x86::xmm(value));
    }
    /// to = x's words times y's, neighbours summed.
    void multiply_words(unsigned to, unsigned x, unsigned y) {
        if (code_.vex()) return a_.vpmaddwd(code_.reg(to), code_.reg(x), code_.reg(y));
        if (to == y) return a_.pmaddwd(x86::xmm(to), x86::xmm(x));
        code_.copy(to, x);
        a_.pmaddwd(x86::xmm(to), x86::xmm(y));
    }
    /// to = the bytes of `plain`, without signs, times those of `with_signs`, neighbours summed.
    void multiply_bytes(unsigned to, unsigned plain, unsigned with_signs) {
        if (code_.vex()) return a_.vpmaddubsw(code_.reg(to), code_.reg(plain), code_.reg(with_signs));
        code_.copy(to, plain);
        a_.pmaddubsw(x86::xmm(to), x86::xmm(with_signs));
    }
    void shift_words_right(unsigned value, uint8_t bits) {
        code_.vex() ? a_.vpsrlw(code_.reg(value), code_.reg(value), bits) : a_.psrlw(x86::xmm(value), bits);
    }

    // ---- Q8_0, one row of x
    void bytes(const GroupPlace& at) {
        const unsigned x = x_, magnitude = x_ + 1;
        for (unsigned j = 0; j < kQuads; ++j) {
            code_.broadcast(x, input_quad(at, 0, j));
            code_.broadcast(magnitude, input(at, 0, offsetof(Q8Group, magnitude) + j * kQuad));
            for (unsigned v = 0; v < vectors_; ++v) {
                const unsigned to = dots(0, v);
                code_.load(w_, quad(at, j, v));
                code_.vex() ? a_.vpsignb(code_.reg(w_), code_.reg(w_), code_.reg(x))
                            : a_.psignb(x86::xmm(w_), x86::xmm(x));
                multiply_bytes(product_, magnitude, w_);
                multiply_words(j == 0 ? to : product_, product_, constant_);
                if (j != 0) code_.add_32(to, to, product_);
            }
        }
    }
    // ---- Q8_0, several rows: words of the even and of the odd bytes
    void words(const GroupPlace& at) {
        for (unsigned j = 0; j < kQuads; ++j) {
            for (unsigned v = 0; v < vectors_; ++v) {
                const x86::Vec even = code_.reg(w_ + 2 * v), odd = code_.reg(w_ + 2 * v + 1);
                code_.load(w_ + 2 * v + 1, quad(at, j, v));
                a_.vpsllw(even, odd, kByteBits);
                a_.vpsraw(odd, odd, kByteBits);
                a_.vpsraw(even, even, kByteBits);
            }
            for (unsigned row = 0; row < at.rows; ++row) {
                for (unsigned odd = 0; odd < 2; ++odd)
                    code_.broadcast(x_ + odd, input_words(at, row, j, odd));
                for (unsigned v = 0; v < vectors_; ++v) {
                    if (low_products()) {
                        add_low_products(row, v);
                        continue;
                    }
                    for (unsigned odd = 0; odd < 2; ++odd) {
                        const bool first = j == 0 && odd == 0;
                        const unsigned to = first ? dots(row, v) : product_;
                        multiply_words(to, w_ + 2 * v + odd, x_ + odd);
                        if (!first) code_.add_32(dots(row, v), dots(row, v), to);
                    }
                }
            }
        }
    }
    /// Two products fit in 16 bits, four do not.
    void add_low_products(unsigned row, unsigned v) {
        const unsigned sum = constant_;
        multiply_low(sum, w_ + 2 * v, x_);
        add_low_product(sum, w_ + 2 * v + 1, x_ + 1);
        a_.vpsrad(code_.reg(product_), code_.reg(sum), kWordBits);
        code_.shift_left_32(sum, sum, kWordBits);
        a_.vpsrad(code_.reg(sum), code_.reg(sum), kWordBits);
        code_.add_32(sum, sum, product_);
        code_.add_32(dots(row, v), dots(row, v), sum);
    }
    /// Words of `sum` += the lower halves of x's words times y's.
    void add_low_product(unsigned sum, unsigned x, unsigned y) {
        multiply_low(product_, x, y);
        sum_words(sum, product_);
    }
    void multiply_low(unsigned to, unsigned x, unsigned y) {
        a_.vpmullw(code_.reg(to), code_.reg(x), code_.reg(y));
    }
    // ---- Q8_0 by VNNI
    void biased_bytes(const GroupPlace& at) {
        const x86::Vec sign_bits = code_.reg(constant_);
        for (unsigned j = 0; j < kQuads; ++j) {
            for (unsigned v = 0; v < vectors_; ++v) {
                code_.evex() ? a_.vpxord(code_.reg(w_ + v), sign_bits, quad(at, j, v))
                             : a_.vpxor(code_.reg(w_ + v), sign_bits, quad(at, j, v));
            }
            for (unsigned row = 0; row < at.rows; ++row) {
                bring_quad(x_, at, row, j);
                for (unsigned v = 0; v < vectors_; ++v) add_quad_vnni(at, row, j, v, w_ + v, x_);
            }
        }
    }
    /// EVEX reads it from memory where it is multiplied.
    void bring_quad(unsigned to, const GroupPlace& at, unsigned row, unsigned j) {
        if (!vnni() || !code_.evex()) code_.broadcast(to, input_quad(at, row, j));
    }
    void add_quad_vnni(const GroupPlace& at, unsigned row, unsigned j, unsigned v, unsigned weights,
                       unsigned x) {
        const x86::Vec to = code_.reg(dots(row, v));
        code_.evex() ? a_.vpdpbusd(to, code_.reg(weights), input_quad(at, row, j).broadcast())
                     : a_.vpdpbusd_vex(to, code_.reg(weights), code_.reg(x));
    }

    // ---- Q4_0. Without VNNI the sums of all quads fit in 16 bits: 16 * 15 * 127.
    void nibbles(const GroupPlace& at) {
        for (unsigned j = 0; j < kHighQuad; ++j) {
            if (words_) {
                nibble_words(at, j);
                continue;
            }
            for (unsigned v = 0; v < vectors_; ++v) {
                const unsigned low = w_ + 2 * v, high = low + 1;
                code_.load(high, quad(at, j, v));
                code_.and_bits(low, high, constant_);
                shift_words_right(high, kNibbleBits);
                code_.and_bits(high, high, constant_);
            }
            for (unsigned row = 0; row < at.rows; ++row) {
                for (unsigned high = 0; high < 2; ++high)
                    bring_quad(x_ + high, at, row, j + high * kHighQuad);
                for (unsigned high = 0; high < 2; ++high) {
                    for (unsigned v = 0; v < vectors_; ++v)
                        add_nibbles(at, row, j, high, v, w_ + 2 * v + high);
                }
            }
        }
        if (vnni()) return;
        code_.broadcast(x_, pool_.at_bits(kOneWords));
        for (unsigned i = 0; i < at.rows * vectors_; ++i) multiply_words(dots_ + i, dots_ + i, x_);
    }
    /// As words: in each, bits 0 to 3 are an even input of quad j, then of the one above it, then the odd ones.
    void nibble_words(const GroupPlace& at, unsigned j) {
        const unsigned packed = w_ + 2;
        for (unsigned v = 0; v < vectors_; ++v) code_.load(packed + v, quad(at, j, v));
        for (unsigned i = 0; i < kWordBits / kNibbleBits; ++i) {
            for (unsigned v = 0; v < vectors_; ++v) {
                const x86::Vec w = code_.reg(w_ + v);
                a_.vpsllw(w, code_.reg(packed + v), static_cast<uint8_t>(kWordBits - (i + 1) * kNibbleBits));
                a_.vpsrlw(w, w, kWordBits - kNibbleBits);
            }
            for (unsigned row = 0; row < at.rows; ++row) {
                code_.broadcast(x_, input_words(at, row, j + i % 2 * kHighQuad, i / 2));
                for (unsigned v = 0; v < vectors_; ++v) add_low_product(dots(row, v), w_ + v, x_);
            }
        }
    }
    void add_nibbles(const GroupPlace& at, unsigned row, unsigned j, unsigned high, unsigned v,
                     unsigned weights) {
        if (vnni()) return add_quad_vnni(at, row, j + high * kHighQuad, v, weights, x_ + high);
        const bool first = j == 0 && high == 0;
        multiply_bytes(first ? dots(row, v) : product_, weights, x_ + high);
        if (!first) sum_words(dots(row, v), product_);
    }
    void take_offset(const GroupPlace& at, unsigned row) {
        code_.broadcast(x_, input(at, row, offsetof(Q8Group, sum)));
        code_.shift_left_32(x_, x_, is_q4_ ? kNibbleShift : kBiasShift);
        for (unsigned v = 0; v < vectors_; ++v) code_.subtract_32(dots(row, v), dots(row, v), x_);
    }

    // ---- SSE2: lanes of words; the pairs of an output stand side by side until the end
    void dots_sse2(const GroupPlace& at, unsigned v) {
        for (unsigned j = 0; j < (is_q4_ ? kHighQuad : kQuads); ++j) {
            code_.load(w_, quad(at, j, v));
            if (is_q4_) a_.pand(x86::xmm(w_), x86::xmm(constant_));
            add_quad_sse2(at, j, v);
            if (!is_q4_) continue;
            code_.load(w_, quad(at, j, v));
            shift_words_right(w_, kNibbleBits);
            a_.pand(x86::xmm(w_), x86::xmm(constant_));
            add_quad_sse2(at, j + kHighQuad, v);
        }
        const x86::Xmm low = x86::xmm(dots(0, v)), high = x86::xmm(upper_dots()), other = x86::xmm(w_);
        constexpr uint8_t kEven = 0x88, kOdd = 0xDD;  // lanes 0, 2 of each; 1, 3
        a_.movaps(other, low);
        a_.shufps(low, high, kEven);
        a_.shufps(other, high, kOdd);
        a_.paddd(low, other);
    }
    /// Those of outputs 2 and 3.
    unsigned upper_dots() const { return w_ + 2; }
    /// The products of the bytes in `w_` with quad j of x, added to the sums of outputs 0 and 1, and 2 and 3; quad 0, which
    /// comes first, sets them.
    void add_quad_sse2(const GroupPlace& at, unsigned j, unsigned v) {
        const x86::Xmm low = x86::xmm(w_), high = x86::xmm(w_ + 1), x = x86::xmm(x_);
        code_.broadcast(x_, input_quad(at, 0, j));
        widen(x, false);
        a_.movaps(high, low);
        widen(low, false);
        widen(high, true);
        a_.pmaddwd(low, x);
        a_.pmaddwd(high, x);
        if (j == 0) {
            a_.movaps(x86::xmm(dots(0, v)), low);
            a_.movaps(x86::xmm(upper_dots()), high);
        } else {
            a_.paddd(x86::xmm(dots(0, v)), low);
            a_.paddd(x86::xmm(upper_dots()), high);
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
    bool is_q4_, words_;
    unsigned vectors_;
    unsigned dots_ = 0, w_ = 0, x_ = 0, product_ = 0, constant_ = 0;
};

}  // namespace bareflow
