// The KV cache: where new rows go, what is kept of them, and that no row touches another.
#include "model/kv_cache.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/unit/model/compute_support.h"

namespace bareflow {
namespace {

using testing::CountingAllocator;
using testing::random_floats;

constexpr uint32_t kLayers = 3, kContext = 7, kSize = 10, kBlock = 4;

KvCache make(Allocator& allocator, ElementType type) {
    return KvCache::make(
               {.layers = kLayers, .context = kContext, .kv_size = kSize, .block = kBlock, .type = type},
               allocator)
        .take();
}

/// Element i of a layer's keys or values, as a float.
float element(const void* data, ElementType type, size_t i) {
    return type == ElementType::kF32 ? static_cast<const float*>(data)[i]
                                     : f32_from_f16(static_cast<const uint16_t*>(data)[i]);
}

TEST(KvCache, KeepsEachRowAsItsTypeHasItAndTouchesNoOther) {
    for (const ElementType type : {ElementType::kF32, ElementType::kF16}) {
        std::mt19937 random(1);
        CountingAllocator allocator;
        KvCache cache = make(allocator, type);
        const auto kept = [&](float value) {
            return type == ElementType::kF32 ? value : f32_from_f16(f16_from_f32(value));
        };
        std::vector<float> keys[kLayers], values[kLayers];
        for (uint32_t layer = 0; layer < kLayers; ++layer) {
            keys[layer] = random_floats(kContext * kSize, random);
            values[layer] = random_floats(kContext * kSize, random, 100);
        }
        // Blocks of every size, layers in turn, as a prompt and then tokens fill it.
        for (uint32_t position = 0, rows = kBlock; position < kContext; position += rows, rows = 1) {
            for (uint32_t layer = 0; layer < kLayers; ++layer) {
                const KvCache::Rows to = cache.rows_to_fill(layer, position);
                const size_t from = size_t{position} * kSize, bytes = size_t{rows} * kSize * sizeof(float);
                std::memcpy(to.keys, keys[layer].data() + from, bytes);
                std::memcpy(to.values, values[layer].data() + from, bytes);
                cache.store(layer, position, rows);
            }
        }
        for (uint32_t layer = 0; layer < kLayers; ++layer) {
            const KvView view = cache.view(layer, kContext);
            EXPECT_EQ(view.type, type);
            EXPECT_EQ(view.positions, kContext);
            for (size_t i = 0; i < kContext * kSize; ++i) {
                EXPECT_EQ(element(view.keys, type, i), kept(keys[layer][i])) << layer << " " << i;
                EXPECT_EQ(element(view.values, type, i), kept(values[layer][i])) << layer << " " << i;
            }
        }
    }
}

TEST(KvCache, RoundsToNearestEvenKeepsSubnormalsAndOverflowsToInfinity) {
    CountingAllocator allocator;
    KvCache cache = make(allocator, ElementType::kF16);
    const float given[kSize] = {1 + 0x1p-11f, 1 + 0x1.8p-10f, 0x1p-24f, 0x1.8p-25f, 0x1p-25f,
                                65519.0f,     65520.0f,       -1e10f,   -0.0f,      1e-40f};
    const float wanted[kSize] = {1.0f,     1 + 0x1p-9f,      0x1p-24f,          0x1p-24f, 0.0f,
                                 65504.0f, __builtin_inff(), -__builtin_inff(), -0.0f,    0.0f};
    std::memcpy(cache.rows_to_fill(1, 2).keys, given, sizeof given);
    cache.store(1, 2, 1);
    const KvView view = cache.view(1, kContext);
    for (size_t i = 0; i < kSize; ++i) {
        const float got = element(view.keys, ElementType::kF16, 2 * kSize + i);
        EXPECT_EQ(std::bit_cast<uint32_t>(got), std::bit_cast<uint32_t>(wanted[i])) << given[i];
    }
}

TEST(KvCache, TellsItsBytes) {
    CountingAllocator allocator;
    const uint64_t elements = 2ull * kLayers * kContext * kSize;
    EXPECT_EQ(make(allocator, ElementType::kF32).bytes(), elements * 4);
    EXPECT_EQ(make(allocator, ElementType::kF32).staging_bytes(), 0u);
    EXPECT_EQ(make(allocator, ElementType::kF16).bytes(), elements * 2);
    EXPECT_EQ(make(allocator, ElementType::kF16).staging_bytes(), 2u * kBlock * kSize * 4);
    // TinyLlama: 22 layers, 4 key/value heads of 64, 2048 positions.
    const KvCache tinyllama =
        KvCache::make({.layers = 22, .context = 2048, .kv_size = 256, .block = 64, .type = ElementType::kF16},
                      allocator)
            .take();
    EXPECT_EQ(tinyllama.bytes(), 46'137'344u);
}

}  // namespace
}  // namespace bareflow
