// A file whose size stands and whose bytes are rewritten in place: a preallocated, contiguous file on a disk; memory in
// tests. No directory or allocation table changes when it is written, so that a power cut can hurt its bytes only.
#pragma once

#include <cstdint>
#include <span>

#include "arch/base/bytes.h"
#include "arch/base/result.h"

namespace bareflow {

class FixedFile {
 public:
    virtual ~FixedFile() = default;
    /// Bytes; a multiple of 512.
    virtual uint64_t size() const = 0;
    /// Offsets and lengths are multiples of 512. kOutOfRange: beyond the end. kDevice: the disk failed.
    virtual Result<void> read(uint64_t offset, std::span<uint8_t> out) = 0;
    virtual Result<void> write(uint64_t offset, ByteSpan bytes) = 0;
    /// What was written is on the medium when it returns; writes before it are never reordered with those behind it.
    virtual Result<void> flush() = 0;
};

}  // namespace bareflow
