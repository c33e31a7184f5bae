// Physical memory by the frame: which 4 KiB frames of RAM are free, and who may have the next ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "arch/base/result.h"
#include "mm/bitmap.h"

namespace bareflow {

using PhysicalAddress = uint64_t;

constexpr uint64_t kFrameSize = 4096;
/// The widest physical address of the architecture (Intel SDM 3A 4.1.4, MAXPHYADDR <= 52).
constexpr uint64_t kPhysicalLimit = uint64_t{1} << 52;

/// Bytes [start, start + size) of physical memory. A size that runs over the end of the address space stops
/// there.
struct MemoryRange {
    uint64_t start, size;
    uint64_t end() const { return size <= UINT64_MAX - start ? start + size : UINT64_MAX; }
};

/// How to reach physical memory by pointer: identity in the kernel, an arena of bytes in tests. Neighbouring
/// frames of RAM have neighbouring pointers.
class PhysicalMemory {
 public:
    virtual void* at(PhysicalAddress address) = 0;

 protected:
    ~PhysicalMemory() = default;
};

/// Hands out frames of usable RAM from bitmaps of one bit a frame. Not for two cores at a time.
class FrameAllocator {
 public:
    /// Takes over the RAM in `usable` (firmware's map) without what is in `reserved` (kernel, modules, ACPI).
    /// Both may be unsorted, overlapping and unaligned: usable ranges shrink to whole frames, reserved ones
    /// grow; reserved wins. Frame 0 is always reserved: its identity address is the null pointer.
    ///
    /// The bitmaps (2 bits a frame up to the highest usable address: 64 KiB a GiB) lie at the lowest usable
    /// place where they fit, which `memory` must already reach. Nothing fits: kOutOfMemory.
    static Result<FrameAllocator> make(std::span<const MemoryRange> usable,
                                       std::span<const MemoryRange> reserved, PhysicalMemory& memory);

    FrameAllocator(FrameAllocator&&) = default;
    FrameAllocator(const FrameAllocator&) = delete;
    FrameAllocator& operator=(const FrameAllocator&) = delete;

    /// The lowest run of `frames` free frames that starts at a multiple of `alignment` (bytes, a power of two
    /// not below kFrameSize). Contents are whatever was there. Errors: kOutOfMemory, kInvalid.
    Result<PhysicalAddress> allocate(size_t frames = 1, uint64_t alignment = kFrameSize);
    /// Gives back `frames` frames from `start`: a whole allocation or any part of it. A frame that is free,
    /// reserved, or not RAM is a panic.
    void release(PhysicalAddress start, size_t frames);
    /// Reserves every frame that `range` touches, for good. A frame that is allocated now is an error, and
    /// nothing is reserved then; one that is reserved already, or is not RAM, is fine.
    Result<void> reserve(MemoryRange range);

    /// Usable RAM in whole frames, reserved or not.
    uint64_t total_bytes() const { return total_frames_ * kFrameSize; }
    /// What allocate() could still hand out, frame by frame.
    uint64_t free_bytes() const { return free_frames_ * kFrameSize; }
    /// The most that one allocate() could hand out. Scans the bitmap.
    uint64_t largest_free_run() const;
    /// One past the highest usable address: what an identity map of all RAM has to reach.
    PhysicalAddress end() const { return taken_.size() * kFrameSize; }

 private:
    FrameAllocator(Bitmap taken, Bitmap reserved) : taken_(taken), reserved_(reserved) {}

    Bitmap taken_;     ///< allocated, reserved, or not RAM
    Bitmap reserved_;  ///< never to be released; a subset of taken_
    uint64_t total_frames_ = 0;
    uint64_t free_frames_ = 0;
    size_t hint_ = 0;  ///< no frame below it is free
};

}  // namespace bareflow
