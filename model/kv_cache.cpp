#include "model/kv_cache.h"

#include "arch/base/float16.h"

namespace bareflow {

Result<KvCache> KvCache::make(const Shape& shape, Allocator& allocator) {
    ASSERT(!is_quantised(shape.type));
    KvCache cache;
    cache.shape_ = shape;
    const size_t bytes = cache.offset(shape.layers, 0);
    cache.keys_ = TRY(Buffer<uint8_t>::make(allocator, bytes, "KV cache, keys"));
    cache.values_ = TRY(Buffer<uint8_t>::make(allocator, bytes, "KV cache, values"));
    if (shape.type == ElementType::kF32) return cache;
    const size_t block = size_t{shape.block} * shape.kv_size;
    cache.new_keys_ = TRY(Buffer<float>::make(allocator, block, "new keys"));
    cache.new_values_ = TRY(Buffer<float>::make(allocator, block, "new values"));
    return cache;
}

KvCache::Rows KvCache::rows_to_fill(uint32_t layer, uint32_t position) {
    if (shape_.type != ElementType::kF32) return {new_keys_.data(), new_values_.data()};
    const size_t at = offset(layer, position);
    return {reinterpret_cast<float*>(keys_.data() + at), reinterpret_cast<float*>(values_.data() + at)};
}

void KvCache::store(uint32_t layer, uint32_t position, size_t rows) {
    if (shape_.type == ElementType::kF32) return;
    const size_t at = offset(layer, position), count = rows * shape_.kv_size;
    f16_from_f32(reinterpret_cast<uint16_t*>(keys_.data() + at), new_keys_.data(), count);
    f16_from_f32(reinterpret_cast<uint16_t*>(values_.data() + at), new_values_.data(), count);
}

KvView KvCache::view(uint32_t layer, size_t positions) const {
    const size_t at = offset(layer, 0);
    return {keys_.data() + at, values_.data() + at, positions, shape_.type};
}

}  // namespace bareflow
