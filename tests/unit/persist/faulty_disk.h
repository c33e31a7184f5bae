// A disk in front of another that fails when told to, ends requests late and in another order, and records what was
// written, so that a power cut can be replayed.
#pragma once

#include <deque>
#include <vector>

#include "persist/block_device.h"

namespace bareflow {

class FaultyDisk final : public BlockDevice {
 public:
    enum class Fault {
        kError,     ///< nothing is transferred
        kShort,     ///< the first half of the sectors is, then it fails
        kTimeOut,   ///< never answered; the driver gives up after a while
        kTimeLate,  ///< the same, though the device has done its work
    };
    struct Record {
        bool flush = false;
        uint64_t sector = 0;
        std::vector<uint8_t> bytes;
    };

    explicit FaultyDisk(BlockDevice& disk) : disk_(disk) {}

    // ---- which requests fail: the n-th from now, 0 the next; then `times` in a row (SIZE_MAX: for ever)
    void fail(size_t nth, Fault fault = Fault::kError, size_t times = 1) {
        first_ = seen_ + nth;
        times_ = times;
        fault_ = fault;
    }
    void heal() { times_ = 0; }
    /// Which kinds count and fail; all by default.
    bool reads = true, writes = true, flushes = true;
    /// Requests that counted so far, and faults that came to be.
    size_t seen() const { return seen_; }
    size_t failed() const { return failed_; }

    // ---- what was written, in order
    bool recording = false;
    std::vector<Record> records;
    /// Requests of any kind, by what they were.
    size_t writes_seen = 0, flushes_seen = 0;

    std::string_view name() const override { return "faulty"; }
    Limits limits() const override { return disk_.limits(); }
    void start(BlockRequest& request) override { waiting_.push_back(&request); }
    /// One request a call, the youngest first.
    void poll() override {
        if (waiting_.empty()) return;
        BlockRequest& request = *waiting_.back();
        waiting_.pop_back();
        run(request);
        request.done = true;
    }

 private:
    void run(BlockRequest& request) {
        const bool write = request.kind == BlockRequest::Kind::kWrite;
        const bool flush = request.kind == BlockRequest::Kind::kFlush;
        writes_seen += write;
        flushes_seen += flush;
        const bool counts = write ? writes : flush ? flushes : reads;
        const bool fails = counts && seen_ >= first_ && seen_ - first_ < times_;
        seen_ += counts;
        size_t bytes = request.data.size();
        if (fails) {
            ++failed_;
            if (fault_ == Fault::kError || fault_ == Fault::kTimeOut) bytes = 0;
            if (fault_ == Fault::kShort) bytes = bytes / kSectorBytes / 2 * kSectorBytes;
            request.outcome = Error::make(ErrorCode::kDevice, "faulty: {} at sector {}",
                                          fault_ == Fault::kError   ? "error"
                                          : fault_ == Fault::kShort ? "short transfer"
                                                                    : "time-out",
                                          request.sector);
        }
        if (recording && flush) records.push_back({true, 0, {}});
        if (bytes == 0 || flush) return;
        if (recording && write) {
            records.push_back({false,
                               request.sector,
                               {request.data.begin(), request.data.begin() + static_cast<ptrdiff_t>(bytes)}});
        }
        BlockRequest inner{request.kind, request.sector, request.data.first(bytes), false, {}};
        disk_.start(inner);
        while (!inner.done) disk_.poll();
        if (!inner.outcome.ok()) request.outcome = inner.outcome;
    }

    BlockDevice& disk_;
    std::deque<BlockRequest*> waiting_;
    Fault fault_ = Fault::kError;
    size_t first_ = 0, times_ = 0, seen_ = 0, failed_ = 0;
};

}  // namespace bareflow
