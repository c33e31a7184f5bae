#include "model/weight_stream.h"

#include <algorithm>

#include "arch/base/crc32c.h"
#include "model/llama_shapes.h"

namespace bareflow {
namespace {

using wllm::TensorKind;

constexpr uint64_t kUnit = AsyncFile::kUnit;

/// Rows of a slice of the head: as many slices as its size asks for, all of the same shape where that can be.
uint32_t slice_rows(const TensorView& head, uint64_t slice_bytes) {
    const uint64_t least = (head.bytes() + slice_bytes - 1) / slice_bytes;
    for (uint64_t slices = least; slices < 2 * least; ++slices) {
        if (head.rows % slices == 0 && head.rows / slices % kPanelRows == 0)
            return static_cast<uint32_t>(head.rows / slices);
    }
    const uint64_t rows = (head.rows + least - 1) / least;
    return static_cast<uint32_t>((rows + kPanelRows - 1) / kPanelRows * kPanelRows);
}

}  // namespace

WeightStream::~WeightStream() {
    finish_requests(end_);
    if (allocator_ != nullptr) allocator_->release(ring_);
}

Result<void> WeightStream::open(uint64_t ring_bytes, Allocator& allocator) {
    TRY(list_items(allocator));
    const TensorView& embedding = weights_.embedding;
    const size_t row = row_bytes(embedding.type, embedding.columns);
    const size_t panel = embedding.layout == Layout::kRowMajor ? row : row * kPanelRows;
    embedding_ = TRY(Buffer<uint8_t>::make(allocator, panel, "a row of the embedding"));
    scratch_ = TRY(Buffer<AsyncFile::Unit>::make(allocator, panel / kUnit + 2, "room for a read"));
    TRY(read_norms());
    return make_ring(ring_bytes, allocator);
}

Result<void> WeightStream::list_items(Allocator& allocator) {
    const ModelConfig& config = weights_.config;
    const TensorView& head = weights_.lm_head;
    constexpr size_t kMatricesPerLayer = 7;
    const uint32_t rows = slice_rows(head, kSliceBytes);
    const size_t slices = (head.rows + rows - 1) / rows;
    first_head_ = config.num_layers * kMatricesPerLayer;
    items_ = TRY(Buffer<Item>::make(allocator, first_head_ + slices, "list of what is streamed"));
    held_ = TRY(Buffer<Held>::make(allocator, items_.size(), "list of what is in the ring"));

    size_t count = 0;
    const auto add = [&](const TensorView& view, uint32_t place, uint32_t first_row) {
        const uint64_t start = first_row * row_bytes(view.type, view.columns);
        items_[count] = {view, weights_.places[place].offset + start, place, first_row, false};
        cycle_bytes_ += view.bytes();
        ++count;
    };
    for (uint32_t layer = 0; layer < config.num_layers; ++layer) {
        const LayerWeights& w = weights_.layers[layer];
        const auto matrix = [&](const TensorView& view, TensorKind kind) {
            add(view, place_index(config, {kind, layer}), 0);
        };
        matrix(w.query, TensorKind::kQuery);
        matrix(w.key, TensorKind::kKey);
        matrix(w.value, TensorKind::kValue);
        matrix(w.output, TensorKind::kOutput);
        matrix(w.gate, TensorKind::kGate);
        matrix(w.up, TensorKind::kUp);
        matrix(w.down, TensorKind::kDown);
    }
    const TensorKind kind = config.tied_embedding ? TensorKind::kEmbedding : TensorKind::kLmHead;
    for (uint32_t first = 0; first < head.rows; first += rows) {
        TensorView slice = head;
        slice.rows = std::min(rows, head.rows - first);
        add(slice, place_index(config, {kind, wllm::kNoLayer}), first);
    }
    return {};
}

Result<void> WeightStream::read_norms() {
    const ModelConfig& config = weights_.config;
    const auto read = [&](const float* norm, TensorName name) -> Result<void> {
        const TensorPlace& place = weights_.places[place_index(config, name)];
        const std::span<uint8_t> bytes(reinterpret_cast<uint8_t*>(const_cast<float*>(norm)), place.size);
        TRY(file_.read_now(place.offset, bytes, scratch()));
        return check_tensor(wllm::name_of(name.kind), place, ElementType::kF32, bytes);
    };
    for (uint32_t layer = 0; layer < config.num_layers; ++layer) {
        TRY(read(weights_.layers[layer].attention_norm, {TensorKind::kAttentionNorm, layer}));
        TRY(read(weights_.layers[layer].ffn_norm, {TensorKind::kFfnNorm, layer}));
    }
    return read(weights_.final_norm, {TensorKind::kFinalNorm, wllm::kNoLayer});
}

// ---------------------------------------------------------------- the ring
uint64_t WeightStream::ring_bytes_of(const Item& item) const {
    const uint64_t end = item.offset + item.view.bytes();
    return (end + kUnit - 1) / kUnit * kUnit - file_start(item);
}

uint64_t WeightStream::all_items() const {
    uint64_t sum = 0;
    for (const Item& item : items_) sum += ring_bytes_of(item);
    return sum;
}

/// What is taken at a time, twice: the next is read meanwhile, wherever in the ring the first one lies.
uint64_t WeightStream::largest_step() const {
    uint64_t largest = 0;
    for (size_t i = 0; i < items_.size(); ++i) {
        uint64_t step = 0;
        for (size_t j = i; j < std::min(i + kMostTaken, items_.size()); ++j) step += ring_bytes_of(items_[j]);
        largest = std::max(largest, step);
    }
    return 2 * largest;
}

Result<void> WeightStream::make_ring(uint64_t most, Allocator& allocator) {
    const uint64_t all = all_items(), least = std::min(all, largest_step());
    if (most != 0 && most < least) {
        return out_of_memory("a ring of {} MiB is too small to stream this model: give at least {}",
                             most >> 20, (least >> 20) + 1);
    }
    void* const spare = most == 0 ? allocator.allocate(kSpareBytes, kUnit) : nullptr;
    uint64_t size = most == 0 ? all : std::min(most, all);
    for (; ring_ == nullptr && size >= least; size = size > least ? std::max(least, size - size / 8) : 0) {
        ring_bytes_ = size / kUnit * kUnit;
        ring_ = static_cast<uint8_t*>(allocator.allocate(ring_bytes_, kUnit));
        if (size == least) break;
    }
    allocator.release(spare);
    if (ring_ == nullptr) {
        ring_bytes_ = 0;
        return out_of_memory("there is no room for the {} MiB in which this model can be streamed",
                             (least >> 20) + 1);
    }
    allocator_ = &allocator;
    resident_ = ring_bytes_ >= all;
    return {};
}

/// Where in the ring so much is free behind its newest item; kNowhere if nowhere.
uint64_t WeightStream::room_for(uint64_t bytes) const {
    if (first_ == end_) return bytes <= ring_bytes_ ? 0 : kNowhere;
    const uint64_t oldest = held_[first_ % held_.size()].place;
    if (ring_end_ <= oldest) return oldest - ring_end_ >= bytes ? ring_end_ : kNowhere;
    if (ring_bytes_ - ring_end_ >= bytes) return ring_end_;
    return oldest >= bytes ? 0 : kNowhere;
}

bool WeightStream::hold_next() {
    if (end_ - first_ == items_.size()) return false;
    const uint64_t bytes = ring_bytes_of(items_[next_fetched_]);
    const uint64_t place = room_for(bytes);
    if (place == kNowhere) return false;
    held(end_) = {next_fetched_, place, 0, 0};
    ++end_;
    ring_end_ = place + bytes;
    next_fetched_ = next_fetched_ + 1 == items_.size() ? 0 : next_fetched_ + 1;
    return true;
}

void WeightStream::pump() {
    file_.poll();
    for (Request& request : requests_) {
        if (request.held == kNowhere || !request.read.done) continue;
        if (!request.read.outcome.ok()) fail(request.read.outcome.error());
        held(request.held).read += request.read.out.size();
        statistics_.bytes += request.read.out.size();
        request.held = kNowhere;
    }
    ask();
}

void WeightStream::ask() {
    for (Request& request : requests_) {
        if (request.held != kNowhere) continue;
        while (filling_ < end_ && held(filling_).issued == ring_bytes_of(items_[held(filling_).item]))
            ++filling_;
        if (filling_ == end_ && !hold_next()) return;
        Held& filled = held(filling_);
        const Item& item = items_[filled.item];
        request.read = {file_start(item) + filled.issued,
                        {ring_ + filled.place + filled.issued, ring_bytes_of(item) - filled.issued},
                        false,
                        {}};
        if (!file_.start(request.read)) return;
        filled.issued += request.read.out.size();
        request.held = filling_;
    }
}

void WeightStream::finish_requests(uint64_t end) {
    for (Request& request : requests_) {
        if (request.held >= end) continue;  // kNowhere, too
        while (!request.read.done) file_.poll();
        request.held = kNowhere;
    }
}

/// What is held goes, up to the item that is taken next, or all of it where that is not there.
void WeightStream::drop_to_next() {
    uint64_t next = first_;
    while (next < end_ && held(next).item != next_) ++next;
    finish_requests(next);
    first_ = next;
    filling_ = std::max(filling_, first_);
}

void WeightStream::wait_for(uint64_t number) {
    const auto is_there = [&] {
        return !failure_.ok() ||
               (number < end_ && held(number).read == ring_bytes_of(items_[held(number).item]));
    };
    if (is_there()) return;
    const uint64_t began = clock_.now_ns();
    while (!is_there()) pump();
    statistics_.wait_ns += clock_.now_ns() - began;
}

std::span<const TensorView> WeightStream::take(size_t count) {
    ASSERT(count <= kMostTaken && next_ + count <= items_.size());
    if (!resident_ && failure_.ok()) {
        first_ += taken_;
        drop_to_next();
        if (first_ == end_) next_fetched_ = static_cast<uint32_t>(next_);
        taken_ = count;
    }
    pump();
    const uint64_t number = resident_ ? next_ : first_;
    for (size_t i = 0; i < count; ++i) {
        wait_for(number + i);
        Item& item = items_[next_ + i];
        views_[i] = item.view;
        const uint8_t* const start = failure_.ok() ? ring_ + held(number + i).place : ring_;
        views_[i].data = start + (item.offset - file_start(item));
        if (!item.checked && failure_.ok())
            check(item, {static_cast<const uint8_t*>(views_[i].data), item.view.bytes()});
    }
    next_ += count;
    return {views_, count};
}

std::span<const TensorView> WeightStream::peek(size_t count) {
    ASSERT(count <= kMostTaken && next_ + count <= items_.size());
    for (size_t i = 0; i < count; ++i) views_[i] = items_[next_ + i].view;
    return {views_, count};
}

void WeightStream::check(Item& item, ByteSpan bytes) {
    const TensorPlace& place = weights_.places[item.place];
    if (bytes.size() == place.size) {
        item.checked = true;
        if (Result<void> checked = check_tensor("a matrix", place, item.view.type, bytes); !checked)
            fail(checked.error());
        return;
    }
    // Slices of the head: their checksum is known when the last one was seen, each in turn.
    const auto slice = static_cast<size_t>(&item - items_.data()) - first_head_;
    if (slice != head_checked_) return;
    item.checked = true;
    ++head_checked_;
    head_crc32c_ = crc32c(bytes, head_crc32c_);
    const bool lowest = item.view.type == ElementType::kQ8_0 && holds_lowest(bytes);
    if (head_checked_ != head_slices() && !lowest) return;
    const uint32_t crc = head_checked_ == head_slices() ? head_crc32c_ : place.crc32c;
    if (Result<void> judged = judge_tensor("the head", place, crc, lowest); !judged) fail(judged.error());
}

WeightStream::EmbeddingRow WeightStream::embedding_row(uint32_t token) {
    const TensorView& whole = weights_.embedding;
    const bool panels = whole.layout == Layout::kPanels16;
    const uint32_t rows = panels ? kPanelRows : 1, first = token / rows * rows;
    const TensorPlace& place =
        weights_.places[place_index(weights_.config, {TensorKind::kEmbedding, wllm::kNoLayer})];
    const uint64_t offset = place.offset + first * row_bytes(whole.type, whole.columns);
    const uint64_t began = clock_.now_ns();
    if (Result<void> read = file_.read_now(offset, embedding_.span(), scratch()); !read) fail(read.error());
    statistics_.wait_ns += clock_.now_ns() - began;
    statistics_.bytes += embedding_.size();
    return {{embedding_.data(), rows, whole.columns, whole.type, whole.layout}, token - first};
}

}  // namespace bareflow
