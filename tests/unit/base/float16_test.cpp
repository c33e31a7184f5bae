#include "arch/base/float16.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

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

// The bits of the CPU's vcvtps2ph: the oracle above is it, or agrees with it, where f16_from_f32 does.
TEST(Float16, ManySideBySideAreConvertedAsEachAlone) {
    constexpr uint32_t kStride = 521;  // a prime: all fields of the number vary
    constexpr size_t kAtOnce = 1 << 12;
    std::vector<float> floats;
    std::vector<uint16_t> halves(kAtOnce);
    const auto convert = [&] {
        f16_from_f32(halves.data(), floats.data(), floats.size());
        for (size_t i = 0; i < floats.size(); ++i)
            ASSERT_EQ(halves[i], f16_from_f32(floats[i])) << std::hex << std::bit_cast<uint32_t>(floats[i]);
        floats.clear();
    };
    for (uint64_t bits = 0; bits <= UINT32_MAX; bits += kStride) {
        floats.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits)));
        if (floats.size() == kAtOnce) {
            ASSERT_NO_FATAL_FAILURE(convert());
        }
    }
    convert();
    for (uint32_t h = 0; h < kHalves; ++h) {  // what rounds to each half, and to its neighbours
        const uint32_t centre = std::bit_cast<uint32_t>(f32_from_f16(static_cast<uint16_t>(h)));
        for (const uint32_t off : {0u, 0x0FFFu, 0x1000u, 0x1001u, 0xFFFFFFFFu})
            floats.push_back(std::bit_cast<float>(centre + off));
        if (floats.size() + 5 > kAtOnce) {
            ASSERT_NO_FATAL_FAILURE(convert());
        }
    }
    convert();
}

TEST(Float16, ManySideBySideTouchNothingBeyondTheirCount) {
    for (size_t count = 0; count < 20; ++count) {
        std::vector<uint16_t> halves(24, 0xABCD);
        const std::vector<float> ones(24, 1.0f);
        f16_from_f32(halves.data(), ones.data(), count);
        for (size_t i = 0; i < halves.size(); ++i) EXPECT_EQ(halves[i], i < count ? 0x3C00 : 0xABCD) << i;
    }
}

TEST(Float16, OverflowsToInfinityFrom65520) {
    EXPECT_EQ(f16_from_f32(65519.996f), 0x7BFF);
    EXPECT_EQ(f16_from_f32(65520.0f), 0x7C00);
    EXPECT_EQ(f16_from_f32(-INFINITY), 0xFC00);
}

}  // namespace
}  // namespace bareflow
