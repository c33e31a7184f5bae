// GGML's tensor types as a GGUF holds them, and what their blocks are worth (ggml-org/ggml: docs/gguf.md "ggml_type",
// src/ggml-common.h block_*; F16 scales since quantization version 2). Everything is little-endian.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "arch/base/bytes.h"
#include "model/tools/quantise.h"

namespace bareflow::gguf {

/// As numbered in the file.
enum class TensorType : uint32_t {
    kF32 = 0,
    kF16 = 1,
    kQ4_0 = 2,
    kQ4_1 = 3,
    kQ5_0 = 6,
    kQ5_1 = 7,
    kQ8_0 = 8,
    kQ2_K = 10,
    kQ3_K = 11,
    kQ4_K = 12,
    kQ5_K = 13,
    kQ6_K = 14,
    kBF16 = 30,
};

/// How values of a type lie: consecutive ones of a row share a block, whose bytes follow one another without gaps.
struct BlockShape {
    TensorType type;
    std::string_view name;
    uint32_t values;  ///< in a block
    uint32_t bytes;   ///< of a block
};

constexpr BlockShape kBlockShapes[] = {
    {TensorType::kF32, "F32", 1, 4},       {TensorType::kF16, "F16", 1, 2},
    {TensorType::kBF16, "BF16", 1, 2},     {TensorType::kQ4_0, "Q4_0", 32, 18},
    {TensorType::kQ4_1, "Q4_1", 32, 20},   {TensorType::kQ5_0, "Q5_0", 32, 22},
    {TensorType::kQ5_1, "Q5_1", 32, 24},   {TensorType::kQ8_0, "Q8_0", 32, 34},
    {TensorType::kQ2_K, "Q2_K", 256, 84},  {TensorType::kQ3_K, "Q3_K", 256, 110},
    {TensorType::kQ4_K, "Q4_K", 256, 144}, {TensorType::kQ5_K, "Q5_K", 256, 176},
    {TensorType::kQ6_K, "Q6_K", 256, 210},
};

/// nullptr for a type that is not read here.
const BlockShape* block_shape(TensorType type);
/// What people call a type, also one that is not read here.
std::string_view name_of(TensorType type);

/// `blocks` of the type as f32: `out` has as many values as they hold.
void dequantise(TensorType type, ByteSpan blocks, std::span<float> out);

/// A block of Q8_0 or Q4_0 as it is. Our Q8_0 has no -128: a group that does is quantised anew.
QuantisedGroup group_of(TensorType type, ByteSpan block);

}  // namespace bareflow::gguf
