// Weights into GGML's Q8_0 and Q4_0 (ggml-quants.c: quantize_row_q8_0_ref, quantize_row_q4_0_ref), in our panels.
#pragma once

#include <cstdint>
#include <span>

#include "arch/base/quantised.h"

namespace bareflow {

/// A group of 32 weights. A scale that f16 cannot hold is infinite, or 0 with all values 0.
struct QuantisedGroup {
    uint16_t scale;         ///< binary16
    int8_t values[kGroup];  ///< times the scale is the weight; -127 to 127 in Q8_0, -8 to 7 in Q4_0
};
QuantisedGroup quantise_q8_0(std::span<const float, kGroup> weights);
QuantisedGroup quantise_q4_0(std::span<const float, kGroup> weights);

/// Writes a group of output `output` (0 to 15) to its place.
void put_group(Q8Panel& panel, size_t output, const QuantisedGroup& group);
void put_group(Q4Panel& panel, size_t output, const QuantisedGroup& group);

/// Writes a group that begins at (row, column) of `packed` panels, `columns` wide.
void pack_group(ElementType type, const QuantisedGroup& group, size_t row, size_t column, size_t columns,
                std::span<uint8_t> packed);

/// Packs row-major `rows` of `columns` weights, a multiple of 32, into panels: `packed` is as large as a TensorView of
/// that type says, and zero.
void pack_quantised(ElementType type, std::span<const float> rows, size_t columns, std::span<uint8_t> packed);

/// Weight (n, k) of packed panels, dequantised.
float dequantised(ElementType type, const void* packed, size_t columns, size_t n, size_t k);

}  // namespace bareflow
