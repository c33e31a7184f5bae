#include "model/streamed_operators.h"

#include "model/transformer.h"

namespace bareflow {
namespace {

bool same_shape(const TensorView& a, const TensorView& b) {
    return a.rows == b.rows && a.columns == b.columns && a.type == b.type && a.layout == b.layout;
}

/// Blocks of other sizes go row by row: they are for reading weights once, not for routines of their own.
bool has_routines(size_t rows) {
    return rows > 1 && Transformer::prefill_rows(static_cast<uint32_t>(rows)) == rows;
}

}  // namespace

std::span<const TensorView> StreamedOperators::next(std::span<const TensorView* const> wanted) {
    const size_t count = wanted.size();
    const std::span<const TensorView> shapes = stream_.peek(count);
    for (size_t i = 0; i < count; ++i) ASSERT(wanted[i] == nullptr || same_shape(shapes[i], *wanted[i]));
    if (mode_ == Mode::kRun || !was_shown(shapes)) return stream_.take(count);
    stream_.skip(count);
    return {};
}

bool StreamedOperators::was_shown(std::span<const TensorView> views) {
    for (const Shown& shown : std::span(shown_, shown_count_)) {
        bool same = shown.count == views.size();
        for (size_t i = 0; same && i < views.size(); ++i) same = same_shape(shown.views[i], views[i]);
        if (same) return true;
    }
    if (shown_count_ == kMostShown) return true;
    Shown& added = shown_[shown_count_++];
    added.count = views.size();
    for (size_t i = 0; i < views.size(); ++i) added.views[i] = views[i];
    return false;
}

void StreamedOperators::embed(float* row, const TensorView& table, uint32_t token) {
    stream_.rewind();
    if (mode_ == Mode::kShow) return inner_.embed(row, table, token);
    const WeightStream::EmbeddingRow found = stream_.embedding_row(token);
    inner_.embed(row, found.table, found.row);
}

void StreamedOperators::qkv_rows(float* q, float* k, float* v, const float* x, const TensorView& query,
                                 const TensorView& key, const TensorView& value, const RopeRow& rope,
                                 uint32_t head_size, size_t rows) {
    const TensorView* const wanted[] = {&query, &key, &value};
    const std::span<const TensorView> w = next(wanted);
    if (w.empty()) return;
    has_routines(rows) ? inner_.qkv_rows(q, k, v, x, w[0], w[1], w[2], rope, head_size, rows)
                       : inner_.Operators::qkv_rows(q, k, v, x, w[0], w[1], w[2], rope, head_size, rows);
}

void StreamedOperators::project_add_rows(float* y, const TensorView& weights, const float* x, size_t rows) {
    const TensorView* const wanted[] = {&weights};
    const std::span<const TensorView> w = next(wanted);
    if (w.empty()) return;
    has_routines(rows) ? inner_.project_add_rows(y, w[0], x, rows)
                       : inner_.Operators::project_add_rows(y, w[0], x, rows);
}

void StreamedOperators::gate_up_rows(float* h, const TensorView& gate, const TensorView& up, const float* x,
                                     size_t rows) {
    const TensorView* const wanted[] = {&gate, &up};
    const std::span<const TensorView> w = next(wanted);
    if (w.empty()) return;
    has_routines(rows) ? inner_.gate_up_rows(h, w[0], w[1], x, rows)
                       : inner_.Operators::gate_up_rows(h, w[0], w[1], x, rows);
}

uint32_t StreamedOperators::matvec_argmax(float* y, const TensorView&, const float* x) {
    constexpr const TensorView* kAnySlice[] = {nullptr};
    uint32_t best = 0;
    for (size_t slice = 0; slice < stream_.head_slices(); ++slice) {
        const uint32_t first = stream_.slice_row(slice);
        const std::span<const TensorView> w = next(kAnySlice);
        if (w.empty()) continue;
        const uint32_t here = first + inner_.matvec_argmax(y + first, w[0], x);
        if (slice == 0 || y[here] > y[best]) best = here;
    }
    return best;
}

}  // namespace bareflow
