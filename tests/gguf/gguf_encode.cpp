#include "tests/gguf/gguf_encode.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "arch/base/float16.h"
#include "arch/base/panic.h"

namespace bareflow::gguf {
namespace {

using Bytes = std::vector<uint8_t>;

template <typename T>
void put(Bytes& bytes, const T& item) {
    const auto* begin = reinterpret_cast<const uint8_t*>(&item);
    bytes.insert(bytes.end(), begin, begin + sizeof item);
}
/// Puts `value` as an f16; returns what a reader will see.
float put_half(Bytes& bytes, float value) {
    const uint16_t half = f16_from_f32(value);
    put(bytes, half);
    return f32_from_f16(half);
}

int nearest(float value, float scale, int least, int most) {
    const float steps = scale == 0 ? 0.0f : std::round(value / scale);
    return static_cast<int>(std::clamp(steps, static_cast<float>(least), static_cast<float>(most)));
}
float farthest(std::span<const float> values) {
    return *std::max_element(values.begin(), values.end(),
                             [](float a, float b) { return std::fabs(a) < std::fabs(b); });
}

uint16_t bf16_of(float value) {
    const auto bits = std::bit_cast<uint32_t>(value);
    return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

/// Values 0 to 15 as 16 bytes, the first half in the low nibbles.
void put_nibbles(Bytes& bytes, const int* values) {
    for (size_t k = 0; k < 16; ++k)
        bytes.push_back(static_cast<uint8_t>((values[k] & 0xF) | (values[k + 16] & 0xF) << 4));
}
void put_fifth_bits(Bytes& bytes, const int* values) {
    uint32_t bits = 0;
    for (size_t k = 0; k < 32; ++k) bits |= static_cast<uint32_t>(values[k] >> 4 & 1) << k;
    put(bytes, bits);
}

void put_q8_0(Bytes& bytes, std::span<const float> values) {
    const QuantisedGroup group = quantise_q8_0(values.first<kGroup>());
    put(bytes, group.scale);
    for (const int8_t value : group.values) put(bytes, value);
}
void put_q4_0(Bytes& bytes, std::span<const float> values) {
    const QuantisedGroup group = quantise_q4_0(values.first<kGroup>());
    put(bytes, group.scale);
    int nibbles[kGroup];
    for (size_t k = 0; k < kGroup; ++k) nibbles[k] = group.values[k] + 8;
    put_nibbles(bytes, nibbles);
}
void put_q5_0(Bytes& bytes, std::span<const float> values) {
    const float scale = put_half(bytes, farthest(values) / -16);
    int steps[kGroup];
    for (size_t k = 0; k < kGroup; ++k) steps[k] = nearest(values[k], scale, -16, 15) + 16;
    put_fifth_bits(bytes, steps);
    put_nibbles(bytes, steps);
}
/// Q4_1 (15 steps) and Q5_1 (31).
void put_from_minimum(Bytes& bytes, std::span<const float> values, int most) {
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    const float scale = put_half(bytes, (*high - *low) / static_cast<float>(most));
    const float minimum = put_half(bytes, *low);
    int steps[kGroup];
    for (size_t k = 0; k < kGroup; ++k) steps[k] = nearest(values[k] - minimum, scale, 0, most);
    if (most > 15) put_fifth_bits(bytes, steps);
    put_nibbles(bytes, steps);
}

/// Runs of a block of 256 with a scale and a minimum each, both as whole multiples of the block's factors.
struct Runs {
    std::vector<int> scales, minimums;
    float scale_factor, minimum_factor;
    std::vector<int> steps;  // of the 256 values
};
/// Each run from its minimum (0 at most) in `most` steps; scales and minimums up to `largest`.
Runs runs_from_minimum(std::span<const float> values, size_t size, int most, int largest) {
    std::vector<float> scales, minimums;
    for (size_t run = 0; run < values.size(); run += size) {
        const auto part = values.subspan(run, size);
        const float low = std::min(0.0f, *std::min_element(part.begin(), part.end()));
        scales.push_back((*std::max_element(part.begin(), part.end()) - low) / static_cast<float>(most));
        minimums.push_back(-low);
    }
    const auto factor = [&](const std::vector<float>& all) {
        return f32_from_f16(f16_from_f32(std::max(0.0f, farthest(all)) / static_cast<float>(largest)));
    };
    Runs runs{{}, {}, factor(scales), factor(minimums), {}};
    for (size_t run = 0; run < scales.size(); ++run) {
        runs.scales.push_back(nearest(scales[run], runs.scale_factor, 0, largest));
        runs.minimums.push_back(nearest(minimums[run], runs.minimum_factor, 0, largest));
    }
    for (size_t k = 0; k < values.size(); ++k) {
        const float scale = runs.scale_factor * static_cast<float>(runs.scales[k / size]);
        const float minimum = runs.minimum_factor * static_cast<float>(runs.minimums[k / size]);
        runs.steps.push_back(nearest(values[k] + minimum, scale, 0, most));
    }
    return runs;
}
/// Each run of 16 from -`half` to half - 1 steps; scales with a sign, up to `largest`.
Runs runs_around_zero(std::span<const float> values, int half, int largest) {
    constexpr size_t kRun = 16;
    std::vector<float> scales;
    for (size_t run = 0; run < values.size(); run += kRun)
        scales.push_back(farthest(values.subspan(run, kRun)) / static_cast<float>(-half));
    Runs runs{
        {}, {}, f32_from_f16(f16_from_f32(std::fabs(farthest(scales)) / static_cast<float>(largest))), 0, {}};
    for (const float scale : scales)
        runs.scales.push_back(nearest(scale, runs.scale_factor, -largest, largest));
    for (size_t k = 0; k < values.size(); ++k) {
        const float scale = runs.scale_factor * static_cast<float>(runs.scales[k / kRun]);
        runs.steps.push_back(nearest(values[k], scale, -half, half - 1));
    }
    return runs;
}

/// Two bits of each value: byte 32 h + i has values 128 h + i, + 32, + 64 and + 96.
void put_two_bits(Bytes& bytes, const std::vector<int>& steps) {
    for (size_t half = 0; half < 256; half += 128) {
        for (size_t i = 0; i < 32; ++i) {
            int byte = 0;
            for (size_t j = 0; j < 4; ++j) byte |= (steps[half + 32 * j + i] & 3) << (2 * j);
            bytes.push_back(static_cast<uint8_t>(byte));
        }
    }
}

void put_q2_k(Bytes& bytes, std::span<const float> values) {
    const Runs runs = runs_from_minimum(values, 16, 3, 15);
    for (size_t run = 0; run < 16; ++run)
        bytes.push_back(static_cast<uint8_t>(runs.scales[run] | runs.minimums[run] << 4));
    put_two_bits(bytes, runs.steps);
    put_half(bytes, runs.scale_factor);
    put_half(bytes, runs.minimum_factor);
}

void put_q3_k(Bytes& bytes, std::span<const float> values) {
    Runs runs = runs_around_zero(values, 4, 31);
    for (int& step : runs.steps) step += 4;  // 0 to 7: bit 2 in its own place, the others as in Q2_K
    for (size_t i = 0; i < 32; ++i) {
        int byte = 0;
        for (size_t j = 0; j < 8; ++j) byte |= (runs.steps[32 * j + i] >> 2) << j;
        bytes.push_back(static_cast<uint8_t>(byte));
    }
    put_two_bits(bytes, runs.steps);
    uint8_t packed[12] = {};
    for (size_t run = 0; run < 16; ++run) {
        const int scale = runs.scales[run] + 32;
        packed[run % 8] |= static_cast<uint8_t>((scale & 0xF) << (run < 8 ? 0 : 4));
        packed[8 + run % 4] |= static_cast<uint8_t>((scale >> 4) << (2 * (run / 4)));
    }
    put(bytes, packed);
    put_half(bytes, runs.scale_factor);
}

/// Q4_K (15 steps) and Q5_K (31).
void put_q4_or_5_k(Bytes& bytes, std::span<const float> values, int most) {
    const Runs runs = runs_from_minimum(values, 32, most, 63);
    put_half(bytes, runs.scale_factor);
    put_half(bytes, runs.minimum_factor);
    uint8_t packed[12] = {};
    for (size_t run = 0; run < 4; ++run) {
        const int scale = runs.scales[run], minimum = runs.minimums[run];
        const int scale_after = runs.scales[run + 4], minimum_after = runs.minimums[run + 4];
        packed[run] = static_cast<uint8_t>(scale | (scale_after >> 4) << 6);
        packed[run + 4] = static_cast<uint8_t>(minimum | (minimum_after >> 4) << 6);
        packed[run + 8] = static_cast<uint8_t>((scale_after & 0xF) | (minimum_after & 0xF) << 4);
    }
    put(bytes, packed);
    for (size_t i = 0; most > 15 && i < 32; ++i) {
        int byte = 0;
        for (size_t run = 0; run < 8; ++run) byte |= (runs.steps[32 * run + i] >> 4) << run;
        bytes.push_back(static_cast<uint8_t>(byte));
    }
    for (size_t pair = 0; pair < 256; pair += 64) {
        for (size_t i = 0; i < 32; ++i) {
            const int low = runs.steps[pair + i] & 0xF, high = runs.steps[pair + 32 + i] & 0xF;
            bytes.push_back(static_cast<uint8_t>(low | high << 4));
        }
    }
}

void put_q6_k(Bytes& bytes, std::span<const float> values) {
    Runs runs = runs_around_zero(values, 32, 127);
    for (int& step : runs.steps) step += 32;
    for (size_t half = 0; half < 256; half += 128) {
        for (size_t i = 0; i < 64; ++i) {
            const int low = runs.steps[half + i] & 0xF, high = runs.steps[half + 64 + i] & 0xF;
            bytes.push_back(static_cast<uint8_t>(low | high << 4));
        }
    }
    for (size_t half = 0; half < 256; half += 128) {
        for (size_t i = 0; i < 32; ++i) {
            int byte = 0;
            for (size_t j = 0; j < 4; ++j) byte |= (runs.steps[half + 32 * j + i] >> 4) << (2 * j);
            bytes.push_back(static_cast<uint8_t>(byte));
        }
    }
    for (const int scale : runs.scales) bytes.push_back(static_cast<uint8_t>(static_cast<int8_t>(scale)));
    put_half(bytes, runs.scale_factor);
}

void put_block(Bytes& bytes, TensorType type, std::span<const float> values) {
    switch (type) {
        case TensorType::kF32:
            return put(bytes, values[0]);
        case TensorType::kF16:
            return put(bytes, f16_from_f32(values[0]));
        case TensorType::kBF16:
            return put(bytes, bf16_of(values[0]));
        case TensorType::kQ4_0:
            return put_q4_0(bytes, values);
        case TensorType::kQ4_1:
            return put_from_minimum(bytes, values, 15);
        case TensorType::kQ5_0:
            return put_q5_0(bytes, values);
        case TensorType::kQ5_1:
            return put_from_minimum(bytes, values, 31);
        case TensorType::kQ8_0:
            return put_q8_0(bytes, values);
        case TensorType::kQ2_K:
            return put_q2_k(bytes, values);
        case TensorType::kQ3_K:
            return put_q3_k(bytes, values);
        case TensorType::kQ4_K:
            return put_q4_or_5_k(bytes, values, 15);
        case TensorType::kQ5_K:
            return put_q4_or_5_k(bytes, values, 31);
        case TensorType::kQ6_K:
            return put_q6_k(bytes, values);
    }
}

}  // namespace

std::vector<uint8_t> encoded(TensorType type, std::span<const float> values) {
    const BlockShape& shape = *block_shape(type);
    ASSERT(values.size() % shape.values == 0);
    Bytes bytes;
    bytes.reserve(values.size() / shape.values * shape.bytes);
    for (size_t i = 0; i < values.size(); i += shape.values)
        put_block(bytes, type, values.subspan(i, shape.values));
    return bytes;
}

}  // namespace bareflow::gguf
