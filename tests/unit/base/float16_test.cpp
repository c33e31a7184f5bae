#include "arch/base/float16.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>

namespace bareflow {
namespace {

constexpr uint32_t kHalves = 0x10000;

// The oracle: the compiler's own _Float16 (libgcc's soft-float, or F16C).
float oracle(uint16_t half) { return static_cast<float>(std::bit_cast<_Float16>(half)); }
uint16_t oracle(float value) { return std::bit_cast<uint16_t>(static_cast<_Float16>(value)); }

bool is_nan(uint16_t half) { return (half & 0x7FFF) > 0x7C00; }

static_assert(f32_from_f16(0x3C00) == 1.0f && f16_from_f32(65504.0f) == 0x7BFF, "usable at compile time");

TEST(Float16, EveryHalfHasItsExactValue) {
    for (uint32_t h = 0; h < kHalves; ++h) {
        const auto half = static_cast<uint16_t>(h);
        EXPECT_EQ(std::bit_cast<uint32_t>(f32_from_f16(half)), std::bit_cast<uint32_t>(oracle(half))) << h;
    }
}

TEST(Float16, EveryHalfComesBackAsItWas) {
    for (uint32_t h = 0; h < kHalves; ++h) {
        const auto half = static_cast<uint16_t>(h);
        const uint16_t quiet = is_nan(half) ? half | 0x200 : half;
        EXPECT_EQ(f16_from_f32(f32_from_f16(half)), quiet) << h;
    }
}

// Rounding can only go wrong at the halves themselves, at the midpoints between them, and just beside those.
TEST(Float16, RoundsToNearestEvenAroundEveryHalfAndEveryMidpoint) {
    constexpr uint32_t kLastFinite = 0x7BFF;
    for (uint32_t h = 0; h <= kLastFinite; ++h) {
        const float low = f32_from_f16(static_cast<uint16_t>(h));
        const float high = h == kLastFinite ? 65536.0f : f32_from_f16(static_cast<uint16_t>(h + 1));
        const float middle = low + (high - low) / 2;  // exact: one more bit
        for (float centre : {low, middle}) {
            for (float value : {centre, std::nextafter(centre, 1e9f), std::nextafter(centre, -1e9f)}) {
                ASSERT_EQ(f16_from_f32(value), oracle(value)) << value;
                ASSERT_EQ(f16_from_f32(-value), oracle(-value)) << -value;
            }
        }
    }
}

TEST(Float16, AgreesWithTheCompilerThroughoutTheRange) {
    constexpr uint32_t kStride = 4099;  // a prime: all fields of the number vary
    for (uint64_t bits = 0; bits <= UINT32_MAX; bits += kStride) {
        const float value = std::bit_cast<float>(static_cast<uint32_t>(bits));
        ASSERT_EQ(f16_from_f32(value), oracle(value)) << std::hex << bits;
    }
}

TEST(Float16, OverflowsToInfinityFrom65520) {
    EXPECT_EQ(f16_from_f32(65519.996f), 0x7BFF);
    EXPECT_EQ(f16_from_f32(65520.0f), 0x7C00);
    EXPECT_EQ(f16_from_f32(-INFINITY), 0xFC00);
}

}  // namespace
}  // namespace bareflow
