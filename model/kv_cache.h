// The keys and values of all positions so far, as attention reads them: floats, or halves that take half the memory and
// are read in half the time.
#pragma once

#include "arch/base/allocator.h"
#include "arch/base/result.h"
#include "model/operators.h"

namespace bareflow {

class KvCache {
 public:
    struct Shape {
        uint32_t layers, context, kv_size;
        uint32_t block;    ///< rows that are filled at once, at most
        ElementType type;  ///< kF32 or kF16
    };
    static Result<KvCache> make(const Shape& shape, Allocator& allocator);

    /// Where `rows` new rows, from `position` on, are computed; then store() takes them over.
    struct Rows {
        float* keys;    // (rows, kv_size)
        float* values;  // (rows, kv_size)
    };
    Rows rows_to_fill(uint32_t layer, uint32_t position);
    /// Into f16 each number is rounded to nearest even, from 65520 up to infinity; in a cache of f32 they lie there already.
    void store(uint32_t layer, uint32_t position, size_t rows);
    /// One layer's first `positions` rows.
    KvView view(uint32_t layer, size_t positions) const;

    /// One layer's first `positions` rows as the bytes that they are.
    struct Kept {
        std::span<uint8_t> keys, values;  // (positions, row_bytes)
    };
    Kept kept(uint32_t layer, size_t positions) const {
        const size_t at = offset(layer, 0), bytes = positions * row_bytes();
        return {keys_.span().subspan(at, bytes), values_.span().subspan(at, bytes)};
    }
    size_t row_bytes() const { return shape_.kv_size * size_of(shape_.type); }

    ElementType type() const { return shape_.type; }
    uint64_t bytes() const { return keys_.size() + values_.size(); }
    /// Of the rows that wait to be stored.
    uint64_t staging_bytes() const { return (new_keys_.size() + new_values_.size()) * sizeof(float); }

 private:
    size_t offset(uint32_t layer, uint32_t position) const {
        return (size_t{layer} * shape_.context + position) * row_bytes();
    }

    Shape shape_{};
    Buffer<uint8_t> keys_, values_;        // (layers, context, kv_size) of the type
    Buffer<float> new_keys_, new_values_;  // (block, kv_size), where the type is not f32
};

}  // namespace bareflow
