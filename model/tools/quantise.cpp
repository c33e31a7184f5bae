#include "model/tools/quantise.h"

#include <algorithm>
#include <cmath>

#include "arch/base/float16.h"

namespace bareflow {
namespace {

/// The scale as it is stored, and what weights are multiplied with: GGML takes the scale before it is rounded to f16.
struct Scaling {
    uint16_t stored;
    float inverse;
};
Scaling scaling_of(float scale) {
    const uint16_t stored = f16_from_f32(scale);
    return {stored, f32_from_f16(stored) == 0 ? 0.0f : 1.0f / scale};
}

template <typename Panel>
void pack_into(const QuantisedGroup& group, size_t row, size_t column, size_t columns,
               std::span<uint8_t> packed) {
    uint8_t* at = packed.data() + (row / kPanelRows * (columns / kGroup) + column / kGroup) * sizeof(Panel);
    Panel panel;
    __builtin_memcpy(&panel, at, sizeof panel);
    put_group(panel, row % kPanelRows, group);
    __builtin_memcpy(at, &panel, sizeof panel);
}

template <typename Panel>
float dequantised_in(const void* packed, size_t columns, size_t n, size_t k) {
    const Panel& panel = static_cast<const Panel*>(packed)[n / kPanelRows * (columns / kGroup) + k / kGroup];
    const size_t output = n % kPanelRows;
    return static_cast<float>(value_at(panel, output, k % kGroup)) * f32_from_f16(panel.scales[output]);
}

}  // namespace

QuantisedGroup quantise_q8_0(std::span<const float, kGroup> weights) {
    constexpr float kLargest = 127;
    float largest = 0;
    for (const float weight : weights) largest = std::max(largest, std::fabs(weight));
    const Scaling scaling = scaling_of(largest / kLargest);
    QuantisedGroup group{.scale = scaling.stored, .values = {}};
    for (size_t k = 0; k < kGroup; ++k) {
        group.values[k] = static_cast<int8_t>(std::round(weights[k] * scaling.inverse));
    }
    return group;
}

QuantisedGroup quantise_q4_0(std::span<const float, kGroup> weights) {
    // The largest weight becomes -8, the end that reaches farther.
    constexpr float kFarthest = -kNibbleZero, kToNibble = kNibbleZero + 0.5f, kLargestNibble = 15;
    float farthest = 0;
    for (const float weight : weights) {
        if (std::fabs(weight) > std::fabs(farthest)) farthest = weight;
    }
    const Scaling scaling = scaling_of(farthest / kFarthest);
    QuantisedGroup group{.scale = scaling.stored, .values = {}};
    for (size_t k = 0; k < kGroup; ++k) {
        const float nibble = std::min(kLargestNibble, std::trunc(weights[k] * scaling.inverse + kToNibble));
        group.values[k] = static_cast<int8_t>(static_cast<int>(nibble) - kNibbleZero);
    }
    return group;
}

void put_group(Q8Panel& panel, size_t output, const QuantisedGroup& group) {
    panel.scales[output] = group.scale;
    for (size_t k = 0; k < kGroup; ++k) panel.values[k / kQuad][output][k % kQuad] = group.values[k];
}

void put_group(Q4Panel& panel, size_t output, const QuantisedGroup& group) {
    constexpr size_t kHalf = kGroup / 2;
    panel.scales[output] = group.scale;
    for (size_t k = 0; k < kHalf; ++k) {
        const int low = group.values[k] + kNibbleZero, high = group.values[k + kHalf] + kNibbleZero;
        panel.values[k / kQuad][output][k % kQuad] = static_cast<uint8_t>(low | high << 4);
    }
}

void pack_group(ElementType type, const QuantisedGroup& group, size_t row, size_t column, size_t columns,
                std::span<uint8_t> packed) {
    type == ElementType::kQ8_0 ? pack_into<Q8Panel>(group, row, column, columns, packed)
                               : pack_into<Q4Panel>(group, row, column, columns, packed);
}

void pack_quantised(ElementType type, std::span<const float> rows, size_t columns,
                    std::span<uint8_t> packed) {
    for (size_t i = 0; i < rows.size(); i += kGroup) {
        const auto weights = rows.subspan(i).first<kGroup>();
        const QuantisedGroup group =
            type == ElementType::kQ8_0 ? quantise_q8_0(weights) : quantise_q4_0(weights);
        pack_group(type, group, i / columns, i % columns, columns, packed);
    }
}

float dequantised(ElementType type, const void* packed, size_t columns, size_t n, size_t k) {
    return type == ElementType::kQ8_0 ? dequantised_in<Q8Panel>(packed, columns, n, k)
                                      : dequantised_in<Q4Panel>(packed, columns, n, k);
}

}  // namespace bareflow
