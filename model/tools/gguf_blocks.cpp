#include "model/tools/gguf_blocks.h"

#include <algorithm>
#include <bit>

#include "arch/base/float16.h"
#include "arch/base/panic.h"

namespace bareflow::gguf {
namespace {

constexpr size_t kSuper = 256;  ///< values in a block of a K-quant
constexpr size_t kHalf = kGroup / 2;

uint16_t word_at(const uint8_t* bytes) { return static_cast<uint16_t>(bytes[0] | bytes[1] << 8); }
float half_at(const uint8_t* bytes) { return f32_from_f16(word_at(bytes)); }
int nibble(const uint8_t* bytes, size_t k) { return k < kHalf ? bytes[k] & 0xF : bytes[k - kHalf] >> 4; }
/// The fifth bit of value k of a block of Q5_0 or Q5_1: bit k of four bytes.
int fifth_bit(const uint8_t* bytes, size_t k) { return (bytes[k / 8] >> (k % 8) & 1) << 4; }

void f32(const uint8_t* block, float* out) { __builtin_memcpy(out, block, sizeof *out); }
void f16(const uint8_t* block, float* out) { *out = half_at(block); }
/// The upper half of a binary32.
void bf16(const uint8_t* block, float* out) { *out = std::bit_cast<float>(uint32_t{word_at(block)} << 16); }

/// Scale, then 32 signed bytes.
void q8_0(const uint8_t* block, float* out) {
    const float scale = half_at(block);
    for (size_t k = 0; k < kGroup; ++k)
        out[k] = static_cast<float>(static_cast<int8_t>(block[2 + k])) * scale;
}

/// Scale, then 16 bytes whose low nibbles are the first half of the block.
void q4_0(const uint8_t* block, float* out) {
    const float scale = half_at(block);
    for (size_t k = 0; k < kGroup; ++k) out[k] = static_cast<float>(nibble(block + 2, k) - 8) * scale;
}

/// Scale, minimum, nibbles.
void q4_1(const uint8_t* block, float* out) {
    const float scale = half_at(block), minimum = half_at(block + 2);
    for (size_t k = 0; k < kGroup; ++k) out[k] = static_cast<float>(nibble(block + 4, k)) * scale + minimum;
}

/// Scale, fifth bits, nibbles.
void q5_0(const uint8_t* block, float* out) {
    const float scale = half_at(block);
    for (size_t k = 0; k < kGroup; ++k) {
        const int value = nibble(block + 6, k) | fifth_bit(block + 2, k);
        out[k] = static_cast<float>(value - 16) * scale;
    }
}

/// Scale, minimum, fifth bits, nibbles.
void q5_1(const uint8_t* block, float* out) {
    const float scale = half_at(block), minimum = half_at(block + 2);
    for (size_t k = 0; k < kGroup; ++k) {
        const int value = nibble(block + 8, k) | fifth_bit(block + 4, k);
        out[k] = static_cast<float>(value) * scale + minimum;
    }
}

/// The two bits of value k of Q2_K and Q3_K: 32 bytes hold four runs of 32 values, one above the other.
int two_bits(const uint8_t* bytes, size_t k) {
    constexpr size_t kRun = 32, kPerPart = 128;
    return bytes[k / kPerPart * kRun + k % kRun] >> (k % kPerPart / kRun * 2) & 3;
}

/// 16 bytes of a scale (low nibble) and a minimum for 16 values each, two bits a value, f16 factors of both.
void q2_k(const uint8_t* block, float* out) {
    constexpr size_t kValues = 16, kScales = kValues + 64, kMinimums = kScales + 2, kRun = 16;
    const float scales = half_at(block + kScales), minimums = half_at(block + kMinimums);
    for (size_t k = 0; k < kSuper; ++k) {
        const uint8_t both = block[k / kRun];
        const float scale = scales * static_cast<float>(both & 0xF);
        const float minimum = minimums * static_cast<float>(both >> 4);
        out[k] = scale * static_cast<float>(two_bits(block + kValues, k)) - minimum;
    }
}

/// 32 bytes of third bits (where it is 0, 4 is taken off), two bits a value, 16 scales of six bits, f16 factor.
void q3_k(const uint8_t* block, float* out) {
    constexpr size_t kValues = 32, kScales = kValues + 64, kFactor = kScales + 12, kRun = 16, kBitRun = 32;
    const uint8_t* packed = block + kScales;
    const float factor = half_at(block + kFactor);
    for (size_t k = 0; k < kSuper; ++k) {
        const size_t run = k / kRun;
        // Four bits in the first eight bytes, as in a block of nibbles; two in the four bytes after them.
        const int low = run < 8 ? packed[run] & 0xF : packed[run - 8] >> 4;
        const int high = packed[8 + run % 4] >> (run / 4 * 2) & 3;
        const float scale = factor * static_cast<float>((low | high << 4) - 32);
        const bool third = (block[k % kBitRun] >> (k / kBitRun) & 1) != 0;
        out[k] = scale * static_cast<float>(two_bits(block + kValues, k) - (third ? 0 : 4));
    }
}

/// Scale and minimum of run `run` (0 to 7) of Q4_K and Q5_K: six bits each, in twelve bytes.
struct ScaleAndMinimum {
    int scale, minimum;
};
ScaleAndMinimum six_bits(const uint8_t* packed, size_t run) {
    constexpr size_t kHalfOfRuns = 4;
    if (run < kHalfOfRuns) return {packed[run] & 0x3F, packed[run + kHalfOfRuns] & 0x3F};
    const uint8_t low = packed[run + kHalfOfRuns];
    return {(low & 0xF) | packed[run - kHalfOfRuns] >> 6 << 4, low >> 4 | packed[run] >> 6 << 4};
}

/// Q4_K and, with fifth bits, Q5_K: f16 factors of scales and minimums, the twelve bytes of these, nibbles; 32 bytes hold
/// two runs of 32 values, the low nibbles first.
void four_bits_k(const uint8_t* block, const uint8_t* fifth, const uint8_t* values, float* out) {
    constexpr size_t kPacked = 4, kRun = 32;
    const float scales = half_at(block), minimums = half_at(block + 2);
    for (size_t k = 0; k < kSuper; ++k) {
        const size_t run = k / kRun;
        const ScaleAndMinimum own = six_bits(block + kPacked, run);
        int value = values[run / 2 * kRun + k % kRun] >> (run % 2 * 4) & 0xF;
        if (fifth != nullptr) value |= (fifth[k % kRun] >> run & 1) << 4;
        const float scale = scales * static_cast<float>(own.scale);
        out[k] = scale * static_cast<float>(value) - minimums * static_cast<float>(own.minimum);
    }
}
void q4_k(const uint8_t* block, float* out) { four_bits_k(block, nullptr, block + 16, out); }
void q5_k(const uint8_t* block, float* out) { four_bits_k(block, block + 16, block + 48, out); }

/// Low nibbles, two upper bits, a signed byte of scale for 16 values each, f16 factor. Half a block at a time: 64 bytes of
/// nibbles are runs 0 and 1 below, 2 and 3 above; 32 bytes hold the upper bits of the four runs.
void q6_k(const uint8_t* block, float* out) {
    constexpr size_t kUpper = 128, kScales = kUpper + 64, kFactor = kScales + 16;
    constexpr size_t kPart = 128, kRun = 32, kScaleRun = 16;
    const float factor = half_at(block + kFactor);
    for (size_t k = 0; k < kSuper; ++k) {
        const size_t part = k / kPart, run = k % kPart / kRun, at = k % kRun;
        const int low = block[part * 64 + run % 2 * kRun + at] >> (run / 2 * 4) & 0xF;
        const int high = block[kUpper + part * kRun + at] >> (run * 2) & 3;
        const auto own = static_cast<int8_t>(block[kScales + k / kScaleRun]);
        out[k] = factor * static_cast<float>(own) * static_cast<float>((low | high << 4) - 32);
    }
}

using Dequantise = void (*)(const uint8_t* block, float* out);
Dequantise dequantiser_of(TensorType type) {
    switch (type) {
        case TensorType::kF32:
            return f32;
        case TensorType::kF16:
            return f16;
        case TensorType::kBF16:
            return bf16;
        case TensorType::kQ4_0:
            return q4_0;
        case TensorType::kQ4_1:
            return q4_1;
        case TensorType::kQ5_0:
            return q5_0;
        case TensorType::kQ5_1:
            return q5_1;
        case TensorType::kQ8_0:
            return q8_0;
        case TensorType::kQ2_K:
            return q2_k;
        case TensorType::kQ3_K:
            return q3_k;
        case TensorType::kQ4_K:
            return q4_k;
        case TensorType::kQ5_K:
            return q5_k;
        case TensorType::kQ6_K:
            return q6_k;
    }
    return nullptr;
}

/// Types that are not read here, by their numbers; some were taken out of GGML.
constexpr std::string_view kOtherNames[] = {
    {},       {},         {},         {},         "Q4_2",  "Q4_3",  {},        {},       {},        "Q8_1",
    {},       {},         {},         {},         {},      "Q8_K",  "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S",
    "IQ4_NL", "IQ3_S",    "IQ2_S",    "IQ4_XS",   "I8",    "I16",   "I32",     "I64",    "F64",     "IQ1_M",
    {},       "Q4_0_4_4", "Q4_0_4_8", "Q4_0_8_8", "TQ1_0", "TQ2_0", {},        {},       {},        "MXFP4",
};

}  // namespace

const BlockShape* block_shape(TensorType type) {
    const auto* found = std::find_if(std::begin(kBlockShapes), std::end(kBlockShapes),
                                     [type](const BlockShape& shape) { return shape.type == type; });
    return found == std::end(kBlockShapes) ? nullptr : found;
}

std::string_view name_of(TensorType type) {
    if (const BlockShape* shape = block_shape(type); shape != nullptr) return shape->name;
    const auto index = static_cast<uint32_t>(type);
    if (index < std::size(kOtherNames) && !kOtherNames[index].empty()) return kOtherNames[index];
    return "unknown";
}

void dequantise(TensorType type, ByteSpan blocks, std::span<float> out) {
    const BlockShape& shape = *block_shape(type);
    ASSERT(blocks.size() / shape.bytes * shape.values == out.size());
    const Dequantise block_to = dequantiser_of(type);
    for (size_t i = 0; i < out.size() / shape.values; ++i)
        block_to(blocks.data() + i * shape.bytes, out.data() + i * shape.values);
}

QuantisedGroup group_of(TensorType type, ByteSpan block) {
    ASSERT(type == TensorType::kQ8_0 || type == TensorType::kQ4_0);
    const uint8_t* values = block.data() + 2;
    QuantisedGroup group{.scale = word_at(block.data()), .values = {}};
    for (size_t k = 0; k < kGroup; ++k) {
        group.values[k] = static_cast<int8_t>(type == TensorType::kQ8_0 ? static_cast<int8_t>(values[k])
                                                                        : nibble(values, k) - kNibbleZero);
    }
    const bool finite =
        (group.scale & float16::kInfinity) != float16::kInfinity;  // else whoever takes it refuses it
    int8_t* const end = group.values + kGroup;
    if (type == TensorType::kQ8_0 && finite && std::find(group.values, end, INT8_MIN) != end) {
        float weights[kGroup];
        q8_0(block.data(), weights);
        group = quantise_q8_0(weights);
    }
    return group;
}

}  // namespace bareflow::gguf
