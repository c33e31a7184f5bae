// What blocks of each type are worth, by hand from their definitions (ggml-org/ggml, src/ggml-common.h and ggml-quants.c),
// and what the writer of the tests makes of values.
#include "model/tools/gguf_blocks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>

#include "arch/base/float16.h"
#include "tests/gguf/gguf_encode.h"
#include "tests/gguf/gguf_writer.h"

namespace bareflow::gguf {
namespace {

using Bytes = std::vector<uint8_t>;

// f16: 1 is 0x3C00, 2 is 0x4000, 0.5 is 0x3800, -1 is 0xBC00, 0.25 is 0x3400.
constexpr uint8_t kOne = 0x3C, kTwo = 0x40, kHalf = 0x38, kMinusOne = 0xBC;

/// A block of zero bytes but for some, by their offsets.
Bytes block(TensorType type, const std::map<size_t, uint8_t>& bytes) {
    Bytes made(block_shape(type)->bytes);
    for (const auto& [offset, byte] : bytes) made.at(offset) = byte;
    return made;
}

/// Values of a block: those named, all others `other`.
void expect_values(TensorType type, const Bytes& block, const std::map<size_t, float>& named, float other) {
    std::vector<float> values(block_shape(type)->values);
    dequantise(type, block, values);
    for (size_t k = 0; k < values.size(); ++k) {
        const auto found = named.find(k);
        EXPECT_EQ(values[k], found == named.end() ? other : found->second) << name_of(type) << " " << k;
    }
}

TEST(GgufBlocks, SingleNumbers) {
    expect_values(TensorType::kF32, {0, 0, 0x20, 0xC0}, {}, -2.5f);
    expect_values(TensorType::kF16, {0, kMinusOne}, {}, -1);
    expect_values(TensorType::kBF16, {0x49, 0x40}, {}, 3.140625f);
}

TEST(GgufBlocks, Q8_0IsAScaleAndSignedBytes) {
    const Bytes bytes = block(TensorType::kQ8_0, {{1, kHalf}, {2, 127}, {3, 0x80}, {33, 0xFF}});
    expect_values(TensorType::kQ8_0, bytes, {{0, 63.5f}, {1, -64.0f}, {31, -0.5f}}, 0);
}

TEST(GgufBlocks, Q4_0HasItsFirstHalfInTheLowNibbles) {
    // Byte 2: value 0 is 1 - 8, value 16 is 15 - 8; byte 17: 15 is 8 - 8, 31 is 2 - 8.
    const Bytes bytes = block(TensorType::kQ4_0, {{1, kTwo}, {2, 0xF1}, {17, 0x28}});
    expect_values(TensorType::kQ4_0, bytes, {{0, -14}, {16, 14}, {15, 0}, {31, -12}}, -16);
}

TEST(GgufBlocks, Q4_1AddsAMinimum) {
    const Bytes bytes = block(TensorType::kQ4_1, {{1, kTwo}, {3, kMinusOne}, {4, 0x5F}, {19, 0x10}});
    expect_values(TensorType::kQ4_1, bytes, {{0, 29}, {16, 9}, {31, 1}}, -1);
}

TEST(GgufBlocks, Q5_0HasItsFifthBitsInFourBytes) {
    // Bits 0, 16 and 31 are set.
    const Bytes bytes =
        block(TensorType::kQ5_0, {{1, kOne}, {2, 0x01}, {4, 0x01}, {5, 0x80}, {6, 0x23}, {21, 0xF0}});
    expect_values(TensorType::kQ5_0, bytes, {{0, 3}, {16, 2}, {31, 15}}, -16);
}

TEST(GgufBlocks, Q5_1HasScaleMinimumAndFifthBits) {
    const Bytes bytes =
        block(TensorType::kQ5_1, {{1, kHalf}, {3, kOne}, {5, 0x02}, {6, 0x04}, {8 + 9, 0x0C}, {8 + 2, 0xD0}});
    // Bit 9: value 9 is 16 + 12. Bit 18: value 18 is 16 + 13, the high nibble of byte 2.
    expect_values(TensorType::kQ5_1, bytes, {{9, 15}, {18, 15.5f}}, 1);
}

TEST(GgufBlocks, Q2_KHasRunsOf16WithAScaleAndAMinimumEach) {
    // Runs 0 and 13: scale 3 and minimum 1, scale 2 and minimum 15. d at 80, dmin at 82.
    const Bytes bytes =
        block(TensorType::kQ2_K,
              {{0, 0x13}, {13, 0xF2}, {16 + 5, 0x02}, {16 + 32 + 20, 0x30}, {81, kOne}, {83, kHalf}});
    std::map<size_t, float> named;
    for (size_t k = 0; k < 16; ++k) named[k] = -0.5f;
    for (size_t k = 208; k < 224; ++k) named[k] = -7.5f;
    named[5] = 3 * 2 - 0.5f;
    // Byte 32 + 20 is of the second half, place 20; bits 4 and 5 are its third 32 values: 128 + 64 + 20 = 212, run 13.
    named[212] = 2 * 3 - 7.5f;
    expect_values(TensorType::kQ2_K, bytes, named, 0);
}

TEST(GgufBlocks, Q3_KHasThirdBitsAndScalesOfSixBits) {
    // Scales: run 0 is 32 + 5 (low nibble 5 of byte 0, upper bits 2 of byte 8, bits 0-1); run 9 is 32 - 17 = 15 (high nibble
    // of byte 1; upper bits of run 9, byte 9, bits 4-5, are 0). All others are 0 - 32.
    const Bytes bytes = block(TensorType::kQ3_K, {{0, 0x01},             // third bit of value 0
                                                  {17, 0x10},            // of value 4 * 32 + 17 = 145, run 9
                                                  {32, 0x03},            // value 0: 3
                                                  {32 + 32 + 17, 0x01},  // value 145: 1
                                                  {96, 0x05},
                                                  {96 + 1, 0xF0},
                                                  {96 + 8, 0x02},
                                                  {109, kOne}});
    std::map<size_t, float> named;
    for (size_t k = 0; k < 16; ++k) named[k] = -4 * 5;
    for (size_t k = 144; k < 160; ++k) named[k] = -4 * -17;
    named[0] = 3 * 5;
    named[145] = 1 * -17;
    expect_values(TensorType::kQ3_K, bytes, named, -4 * -32);
}

/// Scales and minimums of Q4_K and Q5_K begin at byte 4: runs 0 to 3 in six bits of bytes 0 to 3 and 4 to 7, whose upper two
/// belong to runs 4 to 7, whose lower four share bytes 8 to 11.
const std::map<size_t, uint8_t> kSixBits = {
    {1, kOne},           // d
    {3, kTwo},           // dmin
    {4 + 1, 0x7F},       // run 1: scale 63; upper bits of run 5's: 1
    {4 + 4 + 1, 0xC2},   // run 1: minimum 2; upper bits of run 5's: 3
    {4 + 8 + 1, 0x94}};  // run 5: scale 4 | 16 = 20, minimum 9 | 48 = 57

TEST(GgufBlocks, Q4_KHasRunsOf32WithSixBitsOfScaleAndMinimum) {
    std::map<size_t, uint8_t> bytes = kSixBits;
    bytes[16 + 7] = 0x5A;            // values 7 (run 0) and 32 + 7 (run 1)
    bytes[16 + 2 * 32 + 31] = 0xF1;  // values 128 + 31 (run 4) and 160 + 31 (run 5)
    std::map<size_t, float> named;
    for (size_t k = 32; k < 64; ++k) named[k] = -4;
    for (size_t k = 160; k < 192; ++k) named[k] = -114;
    named[39] = 63 * 5 - 4;
    named[191] = 20 * 15 - 114;
    expect_values(TensorType::kQ4_K, block(TensorType::kQ4_K, bytes), named, 0);
}

TEST(GgufBlocks, Q5_KHasFifthBitsAboveThat) {
    std::map<size_t, uint8_t> bytes = kSixBits;
    bytes[16 + 7] = 0x02;   // fifth bit of value 7 in run 1: 39
    bytes[16 + 31] = 0x20;  // of value 31 in run 5: 191
    bytes[48 + 7] = 0x5A;
    bytes[48 + 2 * 32 + 31] = 0xF1;
    std::map<size_t, float> named;
    for (size_t k = 32; k < 64; ++k) named[k] = -4;
    for (size_t k = 160; k < 192; ++k) named[k] = -114;
    named[39] = 63 * 21 - 4;
    named[191] = 20 * 31 - 114;
    expect_values(TensorType::kQ5_K, block(TensorType::kQ5_K, bytes), named, 0);
}

TEST(GgufBlocks, Q6_KHasSignedScalesAndTwoUpperBits) {
    // Byte 64 + 40: second half, low nibble value 128 + 40 (run 10), high nibble 128 + 64 + 40 (run 14).
    // Upper bits in byte 128 + 32 + 8: bits 2-3 are of 128 + 32 + 8, bits 6-7 of 128 + 96 + 8.
    const Bytes bytes =
        block(TensorType::kQ6_K,
              {{64 + 40, 0x7C}, {128 + 32 + 8, 0xC8}, {192 + 10, 3}, {192 + 14, 0xFE}, {209, kHalf}});
    std::map<size_t, float> named;
    for (size_t k = 160; k < 176; ++k) named[k] = 0.5f * 3 * -32;
    for (size_t k = 224; k < 240; ++k) named[k] = 0.5f * -2 * -32;
    named[168] = 0.5f * 3 * (12 + 32 - 32);
    named[232] = 0.5f * -2 * (7 + 48 - 32);
    expect_values(TensorType::kQ6_K, bytes, named, 0);
}

TEST(GgufBlocks, GroupsKeepTheirBits) {
    Bytes q8 = block(TensorType::kQ8_0, {{0, 0x12}, {1, 0xB4}, {2, 0x81}, {33, 0x7F}});
    QuantisedGroup group = group_of(TensorType::kQ8_0, q8);
    EXPECT_EQ(group.scale, 0xB412);
    EXPECT_EQ(group.values[0], -127);
    EXPECT_EQ(group.values[31], 127);
    group = group_of(TensorType::kQ4_0, block(TensorType::kQ4_0, {{1, kTwo}, {2, 0xF1}, {17, 0x28}}));
    EXPECT_EQ(group.scale, 0x4000);
    const std::map<size_t, int> expected = {{0, -7}, {16, 7}, {15, 0}, {31, -6}, {1, -8}};
    for (const auto& [k, value] : expected) EXPECT_EQ(group.values[k], value) << k;
}

TEST(GgufBlocks, AGroupWithMinus128IsQuantisedAnewForOursHasNone) {
    const QuantisedGroup group =
        group_of(TensorType::kQ8_0, block(TensorType::kQ8_0, {{1, kOne}, {2, 0x80}, {3, 64}}));
    EXPECT_EQ(group.values[0], -127);
    EXPECT_EQ(group.values[1], 64);  // 63.5 steps of 128 / 127, away from zero
    EXPECT_NEAR(f32_from_f16(group.scale), 128.0 / 127, 1e-3);
}

TEST(GgufBlocks, NamesTypesThatAreNotReadToo) {
    EXPECT_EQ(name_of(TensorType::kQ4_K), "Q4_K");
    EXPECT_EQ(name_of(TensorType{23}), "IQ4_XS");
    EXPECT_EQ(name_of(TensorType{39}), "MXFP4");
    EXPECT_EQ(name_of(TensorType{1000}), "unknown");
    EXPECT_EQ(block_shape(TensorType{23}), nullptr);
}

TEST(GgufBlocks, WhatTheTestsWriteIsNearWhatTheyWrote) {
    // Root of the mean square error relative to the values': half a step's, more or less.
    const std::map<std::string_view, double> bounds = {
        {"F32", 0},      {"F16", 3e-4},   {"BF16", 3e-3},  {"Q4_0", 0.11}, {"Q4_1", 0.09},
        {"Q5_0", 0.055}, {"Q5_1", 0.045}, {"Q8_0", 0.008}, {"Q2_K", 0.35}, {"Q3_K", 0.25},
        {"Q4_K", 0.1},   {"Q5_K", 0.05},  {"Q6_K", 0.025}};
    std::mt19937 random(3);
    std::normal_distribution<float> normal(0, 0.02f);
    std::vector<float> values(4096), read(4096);
    for (float& value : values) value = normal(random);
    for (const BlockShape& shape : kBlockShapes) {
        const Bytes bytes = encoded(shape.type, values);
        ASSERT_EQ(bytes.size(), values.size() / shape.values * shape.bytes);
        dequantise(shape.type, bytes, read);
        double error = 0, squares = 0;
        for (size_t i = 0; i < values.size(); ++i) {
            error += std::pow(double{read[i]} - double{values[i]}, 2);
            squares += std::pow(double{values[i]}, 2);
        }
        EXPECT_LE(std::sqrt(error / squares), bounds.at(shape.name)) << shape.name;
    }
}

}  // namespace
}  // namespace bareflow::gguf
