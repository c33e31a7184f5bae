// What a disk is to the rest: sectors that are read, written and flushed, several requests at a time. The drivers
// (arch/x86_64), the host's file (arch/host) and the tests' faulty disk implement start() and poll().
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "arch/base/bytes.h"
#include "arch/base/result.h"

namespace bareflow {

/// Bytes of a sector, everywhere: disks with other logical sectors are refused by their drivers.
inline constexpr size_t kSectorBytes = 512;

/// One piece of work for a disk. The caller owns it and its data, and leaves both alone until `done`.
struct BlockRequest {
    enum class Kind : uint8_t { kRead, kWrite, kFlush };

    Kind kind = Kind::kRead;
    uint64_t sector = 0;      ///< the first one
    std::span<uint8_t> data;  ///< whole sectors, at an even address; empty for a flush. A write only reads it
    bool done = false;
    Result<void> outcome;  ///< once done: kDevice for what the disk failed at, with sector and reason
};

class BlockDevice {
 public:
    struct Limits {
        uint64_t sectors = 0;      ///< of the whole device
        size_t request_bytes = 0;  ///< most of one request, a multiple of kSectorBytes
        unsigned in_flight = 1;    ///< most requests started and not yet done
        bool read_only = false;
    };

    virtual ~BlockDevice() = default;

    /// For messages and the log: "virtio0", "ahci1", a path.
    virtual std::string_view name() const = 0;
    virtual Limits limits() const = 0;

    /// Gives the device a request within its limits; fewer than `in_flight` are under way. Requests may end in any
    /// order. A flush covers the writes that were done before it started.
    virtual void start(BlockRequest& request) = 0;

    /// Marks requests that ended since, or ran out of time (kDevice), as done. Never blocks.
    virtual void poll() = 0;

    /// Whole sectors, at once: split by the limits, several pieces under way, waits for all. The first failure's error;
    /// then bytes of `out` are undefined, and which sectors were written is not known.
    /// kOutOfRange: beyond the device's end, or no whole sectors. kUnsupported: a write, and the device is read-only.
    Result<void> read(uint64_t sector, std::span<uint8_t> out);
    Result<void> write(uint64_t sector, ByteSpan bytes);
    /// What was written is on the medium when it returns.
    Result<void> flush();

 private:
    Result<void> transfer(BlockRequest::Kind kind, uint64_t sector, std::span<uint8_t> data);
};

}  // namespace bareflow
