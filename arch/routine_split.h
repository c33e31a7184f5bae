// How the outputs of one operator are shared among cores: by whole rows of weights or whole heads, so that every output is
// summed by one core in the same order as ever, and its bits never depend on the number of cores.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "arch/base/tensor.h"
#include "model/operators.h"

namespace bareflow {

/// A part smaller than this is not worth waking a core for: 32 KiB take a core 1 µs out of its cache, and a fork and join
/// 0.1 to 0.3 µs.
constexpr size_t kMinPartBytes = 32 * 1024;

/// Units (panels, groups of heads) in parts of equal size, only the last may be smaller: so that a shape needs two routines
/// at most. It takes as long as the fairest sharing out, whose largest part is just as large.
struct Split {
    uint32_t units = 1;
    uint32_t each = 1;  ///< units of a part

    /// At most `cores` parts, and of `bytes` at least `min_bytes` for each.
    static Split make(uint32_t units, size_t bytes, unsigned cores, size_t min_bytes) {
        const size_t worth = std::max<size_t>(1, bytes / std::max<size_t>(1, min_bytes));
        const auto parts = static_cast<uint32_t>(std::min({size_t{units}, size_t{cores}, worth}));
        return {units, parts == 0 ? std::max(1u, units) : (units + parts - 1) / parts};
    }
    uint32_t parts() const { return (units + each - 1) / each; }
};

/// Outputs [first, first + count) of an operator, or heads.
struct OutputRange {
    uint32_t first, count;

    /// Of `total` in units of `unit`.
    static OutputRange of(const Split& split, uint32_t part, uint32_t unit, uint32_t total) {
        const uint32_t first = part * split.each * unit;
        return {first, std::min(split.each * unit, total - first)};
    }
};

/// Panels of a matrix; the last one may be partial.
inline uint32_t panels_of(const TensorView& w) {
    return (w.rows + static_cast<uint32_t>(kPanelRows) - 1) / static_cast<uint32_t>(kPanelRows);
}
/// These rows of a matrix; the first one begins a panel.
inline TensorView rows_of(const TensorView& w, const OutputRange& range) {
    const TensorView panel{nullptr, kPanelRows, w.columns, w.type, w.layout};
    TensorView rows = w;
    rows.data = static_cast<const uint8_t*>(w.data) + range.first / kPanelRows * panel.bytes();
    rows.rows = range.count;
    return rows;
}

/// Heads by which query, key and value are split: key/value heads whose rows fill whole panels, and the query heads that
/// share them, so that each part rotates its heads itself.
struct HeadGroups {
    uint32_t kv_heads = 0,
             queries = 0;  ///< queries: query heads that share a key/value head; 0: cannot be split
    uint32_t unit = 1;     ///< key/value heads at a time

    static HeadGroups make(uint32_t query_rows, uint32_t kv_rows, uint32_t head_size) {
        if (head_size == 0 || kv_rows == 0 || kv_rows % head_size != 0 || query_rows % kv_rows != 0)
            return {};
        HeadGroups groups{kv_rows / head_size, query_rows / kv_rows, 1};
        while (groups.unit * head_size % kPanelRows != 0) ++groups.unit;
        return groups;
    }
    uint32_t units() const { return queries == 0 ? 1 : (kv_heads + unit - 1) / unit; }
};

/// The index of the largest value, given that of each part, in order: ties go to the lowest index, NaN never wins.
class ArgmaxJoin {
 public:
    explicit ArgmaxJoin(const float* values) : values_(values) {}
    void include(uint64_t index) {
        const float value = values_[index];
        if (value != value || (found_ && !(value > values_[best_]))) return;
        best_ = index;
        found_ = true;
    }
    uint32_t best() const { return static_cast<uint32_t>(best_); }

 private:
    const float* values_;
    uint64_t best_ = 0;
    bool found_ = false;
};

}  // namespace bareflow
