// The matrices of a model that is larger than memory: read ahead, in the order in which a token needs them, into a ring of
// memory, while the cores compute on those that came before.
//
// A token needs q, k, v, output, gate, up and down of each layer, then the head. The head is the largest, so it comes in
// slices of rows. When all of it fits, the ring keeps everything, and each matrix is read once.
#pragma once

#include <cstdint>
#include <span>

#include "arch/base/allocator.h"
#include "arch/base/async_file.h"
#include "arch/base/result.h"
#include "arch/base/terminal.h"
#include "model/weights.h"

namespace bareflow {

class WeightStream {
 public:
    /// What is taken of the ring at a time: a matrix, or a slice of the head.
    struct Item {
        TensorView view;      ///< its data only while it is held
        uint64_t offset = 0;  ///< of its first byte in the file
        uint32_t place = 0;   ///< of its tensor, by place_index()
        uint32_t first_row = 0;
        bool checked = false;  ///< its bytes were once compared with what the directory vouches for
    };
    struct Statistics {
        uint64_t bytes = 0;    ///< read
        uint64_t wait_ns = 0;  ///< that somebody waited for them
    };

    /// `weights` by load_weight_table(); reads its norms. All must outlive the stream, which does not move.
    WeightStream(const Weights& weights, AsyncFile& file, Clock& clock)
        : weights_(weights), file_(file), clock_(clock) {}
    WeightStream(const WeightStream&) = delete;
    ~WeightStream();

    /// Reads the norms, and makes a ring of at most `ring_bytes` (0: as much as there is, but for kSpareBytes). kOutOfMemory: less
    /// than the largest step of a token needs; says how much that is.
    Result<void> open(uint64_t ring_bytes, Allocator& allocator);

    /// A new token, or block of them, begins with the first layer.
    void rewind() { next_ = 0; }
    /// The next `count` items in order; waits for them. They stay until the next call. When reading fails, or bytes are not
    /// what they should be, what they hold is undefined and failure() says why.
    std::span<const TensorView> take(size_t count);
    /// Slices of the head.
    size_t head_slices() const { return items_.size() - first_head_; }
    uint32_t slice_row(size_t slice) const { return items_[first_head_ + slice].first_row; }
    /// What take() would give, without data.
    std::span<const TensorView> peek(size_t count);
    /// Goes on behind them, and reads nothing.
    void skip(size_t count) { next_ += count; }
    /// A row of the embedding: `row` is where to look in `table`, of few rows. Waits.
    struct EmbeddingRow {
        TensorView table;
        uint32_t row;
    };
    EmbeddingRow embedding_row(uint32_t token);

    /// ok, or the first thing that went wrong; the weights cannot be trusted from there on.
    const Result<void>& failure() const { return failure_; }
    bool resident() const { return resident_; }
    uint64_t ring_bytes() const { return ring_bytes_; }
    uint64_t cycle_bytes() const { return cycle_bytes_; }  ///< that one token reads
    Statistics statistics() const { return statistics_; }

    static constexpr uint64_t kSpareBytes = 24 << 20;

 private:
    static constexpr size_t kMostTaken = 3;
    static constexpr size_t kRequests = 24;
    static constexpr uint64_t kSliceBytes = 4 << 20;
    static constexpr uint64_t kNowhere = UINT64_MAX;

    /// An item in the ring, wholly or partly there.
    struct Held {
        uint32_t item = 0;
        uint64_t place = 0;   ///< in the ring
        uint64_t issued = 0;  ///< bytes asked for
        uint64_t read = 0;    ///< bytes that came
    };
    struct Request {
        AsyncFile::Read read;
        uint64_t held = kNowhere;  ///< the Held's number; kNowhere: free
    };

    Result<void> list_items(Allocator& allocator);
    Result<void> read_norms();
    std::span<uint8_t> scratch() const { return {scratch_[0].bytes, scratch_.size() * AsyncFile::kUnit}; }
    Result<void> make_ring(uint64_t most, Allocator& allocator);
    uint64_t largest_step() const;
    uint64_t all_items() const;
    /// Bytes of the ring that an item takes: whole units of the file, from the one that its first byte is in.
    uint64_t ring_bytes_of(const Item& item) const;
    uint64_t file_start(const Item& item) const { return item.offset / AsyncFile::kUnit * AsyncFile::kUnit; }

    Held& held(uint64_t number) { return held_[number % held_.size()]; }
    /// Looks what came, and asks for more as far as there is room.
    void pump();
    void ask();
    /// Puts the next item into the ring; false if there is no room, or everything is there.
    bool hold_next();
    uint64_t room_for(uint64_t bytes) const;
    /// Waits for those of what is held before number `end`, and forgets them.
    void finish_requests(uint64_t end);
    void drop_to_next();
    void wait_for(uint64_t number);
    void check(Item& item, ByteSpan bytes);
    void fail(Error error) {
        if (failure_.ok()) failure_ = error;
    }

    const Weights& weights_;
    AsyncFile& file_;
    Clock& clock_;
    Buffer<Item> items_;
    size_t first_head_ = 0;
    uint64_t cycle_bytes_ = 0;
    Allocator* allocator_ = nullptr;  ///< of the ring
    uint8_t* ring_ = nullptr;
    uint64_t ring_bytes_ = 0;
    bool resident_ = false;
    Buffer<Held> held_;  ///< a queue: numbers first_ up to end_
    uint64_t first_ = 0, end_ = 0;
    uint64_t taken_ = 0;         ///< of the first ones, by the last take()
    uint64_t filling_ = 0;       ///< number of the one whose bytes are asked for next
    uint64_t ring_end_ = 0;      ///< where in the ring the newest item ends
    uint32_t next_fetched_ = 0;  ///< the item to be put into the ring next
    size_t next_ = 0;            ///< the item that is taken next
    Request requests_[kRequests];
    TensorView views_[kMostTaken];
    Buffer<AsyncFile::Unit> scratch_;
    Buffer<uint8_t> embedding_;  ///< one row of it, or one panel
    uint32_t head_crc32c_ = 0;   ///< of the slices checked so far
    size_t head_checked_ = 0;
    Result<void> failure_;
    Statistics statistics_;
};

}  // namespace bareflow
