// A file whose parts are read while the reader computes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "arch/base/result.h"

namespace bareflow {

/// Not for several cores at once.
class AsyncFile {
 public:
    /// Offsets, sizes and addresses of reads are multiples of this, which disks that are read past the cache ask for; those of
    /// what is left of a read that was cut short, multiples of 512.
    static constexpr size_t kUnit = 4096;
    /// Memory for reads comes in these.
    struct alignas(kUnit) Unit {
        uint8_t bytes[kUnit];
    };

    /// The caller owns it and its memory, and leaves both alone until `done`.
    struct Read {
        uint64_t offset = 0;  ///< in the file; below its size
        std::span<uint8_t> out;
        bool done = false;
        Result<void> outcome;  ///< once done: kDevice for what the disk failed at
    };

    virtual uint64_t size() const = 0;
    /// Starts a read of the first bytes of `read.out` and makes that as short as what was taken. False, and nothing happens,
    /// while as many are under way as can be. What of `out` lies behind the file's end is undefined.
    virtual bool start(Read& read) = 0;
    /// Marks what has ended since as done. Never blocks.
    virtual void poll() = 0;

    /// Waits for any range: `out` may have any address, offset and size; `scratch` is a multiple of kUnit
    /// bytes at such an address. kOutOfRange: it is not in the file.
    Result<void> read_now(uint64_t offset, std::span<uint8_t> out, std::span<uint8_t> scratch);

 protected:
    ~AsyncFile() = default;
};

}  // namespace bareflow
