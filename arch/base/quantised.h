// Quantised numbers as they lie in memory: weights in panels (ElementType::kQ8_0, kQ4_0), and the inputs that meet them.
// model/README.md "Quantised" defines what they are worth.
#pragma once

#include <cstddef>
#include <cstdint>

#include "arch/base/tensor.h"

namespace bareflow {

/// Four consecutive k of one output fill a 32-bit lane, which is what pmaddubsw with pmaddwd, and vpdpbusd, sum.
constexpr size_t kQuad = 4;
constexpr size_t kQuads = kGroup / kQuad;

/// 32 inputs of 16 outputs in Q8_0: input k of output n is values[k / 4][n][k % 4] times scales[n], a binary16. No value is
/// -128: its magnitude has no sign to give.
struct Q8Panel {
    uint16_t scales[kPanelRows];
    int8_t values[kQuads][kPanelRows][kQuad];
};
/// As Q8Panel in Q4_0: a value is a nibble less 8. The low nibbles are k = 0 to 15, the high ones 16 to 31.
struct Q4Panel {
    uint16_t scales[kPanelRows];
    uint8_t values[kQuads / 2][kPanelRows][kQuad];
};
constexpr int kNibbleZero = 8;  ///< the nibble that stands for 0
static_assert(sizeof(Q8Panel) == 544 &&
              sizeof(Q8Panel) == kPanelRows * row_bytes(ElementType::kQ8_0, kGroup));
static_assert(sizeof(Q4Panel) == 288 &&
              sizeof(Q4Panel) == kPanelRows * row_bytes(ElementType::kQ4_0, kGroup));

/// Weight (output, k) of a panel, before its scale. Always inlined, as f32_from_f16() and for the same reason.
[[gnu::always_inline]] inline int value_at(const Q8Panel& panel, size_t output, size_t k) {
    return panel.values[k / kQuad][output][k % kQuad];
}
[[gnu::always_inline]] inline int value_at(const Q4Panel& panel, size_t output, size_t k) {
    constexpr size_t kHalf = kGroup / 2;
    const uint8_t both = panel.values[k % kHalf / kQuad][output][k % kQuad];
    return (k < kHalf ? both & 0xF : both >> 4) - kNibbleZero;
}

/// 32 inputs of a quantised matrix, quantised themselves: input k is q[k] * scale. An input of K is K / 32 of them.
struct Q8Group {
    int8_t q[kGroup];           ///< -127 to 127
    uint8_t magnitude[kGroup];  ///< |q[k]|: pmaddubsw wants one side without signs, and gives the other both
    float scale;
    int32_t sum;  ///< of q: what weights with an offset add too much, for each unit of it
};
/// The same for routines that multiply words (takes_words()): in a quad the even inputs stand before the odd ones.
struct Q8WordGroup {
    int16_t q[kQuads][2][kQuad / 2];  ///< q[j][odd][i] is input 4 j + 2 i + odd
    float scale;
    int32_t sum;
};
static_assert(sizeof(Q8Group) == 72 && sizeof(Q8WordGroup) == sizeof(Q8Group) &&
              offsetof(Q8WordGroup, scale) == offsetof(Q8Group, scale));
constexpr float kLargestQ8 = 127;
/// A group of nothing greater counts as zeros: 1 / scale would leave the range of f32.
constexpr float kSmallestQ8Group = 0x1p-100f;

}  // namespace bareflow
