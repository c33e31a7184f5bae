// IEEE 754 binary16 ("half") to and from binary32, portable and constexpr: the same bits as F16C's vcvtph2ps and
// vcvtps2ph with round to nearest even, signalling NaNs included (they come out quiet).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace bareflow {

namespace float16 {
// binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits. binary32: 1, 8 (bias 127), 23. IEEE 754-2019, table 3.5.
constexpr uint32_t kSign = 0x8000;
constexpr uint32_t kInfinity = 0x7C00;
constexpr uint32_t kQuietNan = 0x7E00;
constexpr uint32_t kFraction = 0x03FF;
constexpr int kFractionShift = 23 - 10;
constexpr uint32_t kRebias = 127 - 15;

constexpr uint32_t kSign32 = 0x80000000;
constexpr uint32_t kInfinity32 = 0x7F800000;
constexpr uint32_t kQuiet32 = 0x00400000;
constexpr uint32_t kSmallestNormal = (1 + kRebias) << 23;  // 2^-14 as binary32
constexpr uint32_t kOverflow = ((kRebias + 31) << 23);     // 2^16 as binary32: more rounds to infinity
}  // namespace float16

/// The value of a binary16, exactly. A signalling NaN becomes its quiet one. Always inlined: a copy of it compiled for
/// a wider ISA (model/reference_fma.cpp) must not become the one that every caller shares.
[[gnu::always_inline]] constexpr float f32_from_f16(uint16_t half) {
    using namespace float16;
    const uint32_t sign = (half & kSign) << 16;
    const uint32_t shifted = (half & ~kSign) << kFractionShift;
    const uint32_t exponent = half & kInfinity;
    uint32_t bits = shifted + (kRebias << 23);
    if (exponent == 0) [[unlikely]] {
        // Subnormal: the fraction times 2^-24. Read with the exponent of 2^-14 it is 2^-14 too large; the
        // subtraction is exact, and gives zero for zero.
        const float value =
            std::bit_cast<float>(shifted + kSmallestNormal) - std::bit_cast<float>(kSmallestNormal);
        bits = std::bit_cast<uint32_t>(value);
    } else if (exponent == kInfinity) [[unlikely]] {
        bits = shifted | kInfinity32;
        if ((half & kFraction) != 0) bits |= kQuiet32;
    }
    return std::bit_cast<float>(sign | bits);
}

/// The binary16 nearest to `value`, ties to even. Magnitudes from 65520 up become infinity; NaNs stay NaN, quiet, with
/// the upper bits of their payload.
constexpr uint16_t f16_from_f32(float value) {
    using namespace float16;
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    const uint32_t sign = (bits & kSign32) >> 16;
    const uint32_t magnitude = bits & ~kSign32;
    uint32_t half = 0;
    if (magnitude > kInfinity32) {
        half = kQuietNan | ((magnitude >> kFractionShift) & kFraction);
    } else if (magnitude >= kOverflow) {
        half = kInfinity;
    } else if (magnitude >= kSmallestNormal) {
        // Half of the last kept bit, less one, plus that bit: the carry rounds to nearest even, into the exponent too.
        const uint32_t last_bit = (magnitude >> kFractionShift) & 1;
        const uint32_t rounded = magnitude + ((1u << (kFractionShift - 1)) - 1) + last_bit;
        half = (rounded >> kFractionShift) - (kRebias << 10);
    } else {
        // Subnormal result: added to 0.5, whose last bit is 2^-24, the adder rounds to nearest even for us.
        constexpr float kAligner = 0.5f;
        const float aligned = std::bit_cast<float>(magnitude) + kAligner;
        half = std::bit_cast<uint32_t>(aligned) - std::bit_cast<uint32_t>(kAligner);
    }
    return static_cast<uint16_t>(sign | half);
}

/// The same for `count` floats side by side, four at a time: some one and a half cycles each, on any x86-64.
void f16_from_f32(uint16_t* to, const float* from, size_t count);

}  // namespace bareflow
