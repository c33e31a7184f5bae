#include "mm/frames.h"

#include <algorithm>
#include <optional>

#include "mm/align.h"

namespace bareflow {
namespace {

constexpr uint64_t frames_up(uint64_t bytes) { return bytes / kFrameSize + (bytes % kFrameSize != 0); }

/// Whole frames, by number: [first, end).
struct Frames {
    uint64_t first, end;
    bool empty() const { return first >= end; }
    uint64_t count() const { return end - first; }
};

Frames frames_inside(const MemoryRange& range) {
    return {frames_up(range.start), std::min(range.end(), kPhysicalLimit) / kFrameSize};
}
Frames frames_touched(const MemoryRange& range) {
    if (range.size == 0) return {0, 0};
    return {range.start / kFrameSize, frames_up(std::min(range.end(), kPhysicalLimit))};
}

constexpr Frames kNullFrame = {0, 1};

/// Whether some frames are all usable and unreserved; if something reserved is in the way, where it ends.
struct Probe {
    bool free;
    std::optional<uint64_t> retry;
};
Probe probe(Frames wanted, std::span<const MemoryRange> usable, std::span<const MemoryRange> reserved) {
    for (const MemoryRange& range : reserved) {
        const Frames taken = frames_touched(range);
        if (!taken.empty() && taken.first < wanted.end && wanted.first < taken.end) return {false, taken.end};
    }
    // Usable ranges may touch or overlap: step from one into the next until the end is reached.
    uint64_t reached = wanted.first;
    for (bool stepped = true; stepped && reached < wanted.end;) {
        stepped = false;
        for (const MemoryRange& range : usable) {
            const Frames here = frames_inside(range);
            if (here.first <= reached && reached < here.end) {
                reached = here.end;
                stepped = true;
            }
        }
    }
    return {reached >= wanted.end, std::nullopt};
}

/// The lowest place for `count` frames; frame 0, which is none, if there is no such place.
uint64_t find_place(uint64_t count, std::span<const MemoryRange> usable,
                    std::span<const MemoryRange> reserved) {
    uint64_t best = 0;
    for (const MemoryRange& range : usable) {
        uint64_t first = std::max(frames_inside(range).first, kNullFrame.end);
        while (first < frames_inside(range).end && (best == 0 || first < best)) {
            const Probe result = probe({first, first + count}, usable, reserved);
            if (result.free) best = first;
            if (!result.retry) break;
            first = *result.retry;
        }
    }
    return best;
}

}  // namespace

Result<FrameAllocator> FrameAllocator::make(std::span<const MemoryRange> usable,
                                            std::span<const MemoryRange> reserved, PhysicalMemory& memory) {
    uint64_t frame_count = 0;
    for (const MemoryRange& range : usable) {
        const Frames frames = frames_inside(range);
        if (!frames.empty()) frame_count = std::max(frame_count, frames.end);
    }
    if (frame_count == 0)
        return out_of_memory("frames: the memory map has no usable RAM; check the firmware's map");

    const size_t words = Bitmap::words_for(frame_count);
    const uint64_t bitmap_bytes = 2 * words * sizeof(uint64_t);
    const uint64_t bitmap_frames = frames_up(bitmap_bytes);
    const uint64_t place = find_place(bitmap_frames, usable, reserved);
    if (place == 0) {
        return out_of_memory(
            "frames: no room for {} bytes of bitmaps for RAM up to {:x}; give the machine more RAM",
            bitmap_bytes, frame_count * kFrameSize);
    }

    auto* bits = static_cast<uint64_t*>(memory.at(place * kFrameSize));
    __builtin_memset(bits, 0xFF, bitmap_bytes);
    FrameAllocator frames(Bitmap(bits, frame_count), Bitmap(bits + words, frame_count));
    for (const MemoryRange& range : usable) {
        const Frames whole = frames_inside(range);
        if (whole.empty()) continue;
        frames.taken_.clear(whole.first, whole.count());
        frames.reserved_.clear(whole.first, whole.count());
    }
    for (size_t first = 0; (first = frames.taken_.find_clear(first, frame_count)) < frame_count;) {
        const size_t end = frames.taken_.find_set(first, frame_count);
        frames.total_frames_ += end - first;
        first = end;
    }
    frames.free_frames_ = frames.total_frames_;

    for (const MemoryRange& range : reserved) TRY(frames.reserve(range));
    TRY(frames.reserve({kNullFrame.first, kFrameSize}));
    TRY(frames.reserve({place * kFrameSize, bitmap_bytes}));
    return frames;
}

Result<PhysicalAddress> FrameAllocator::allocate(size_t frames, uint64_t alignment) {
    if (frames == 0 || alignment < kFrameSize || !is_power_of_two(alignment)) {
        return invalid(
            "frames: cannot allocate {} frames aligned to {:x}; ask for at least one, aligned to a power of "
            "two from 1000 (hexadecimal) on",
            frames, alignment);
    }
    const uint64_t step = alignment / kFrameSize;
    hint_ = taken_.find_clear(hint_, taken_.size());
    uint64_t first = align_up(hint_, step);
    while (first < taken_.size() && frames <= taken_.size() - first) {
        const size_t obstacle = taken_.find_set(first, first + frames);
        if (obstacle == first + frames) {
            taken_.set(first, frames);
            free_frames_ -= frames;
            return first * kFrameSize;
        }
        first = align_up(taken_.find_clear(obstacle, taken_.size()), step);
    }
    return out_of_memory(
        "frames: no run of {} bytes aligned to {:x}; {} bytes are free, the largest run has {}",
        frames * kFrameSize, alignment, free_bytes(), largest_free_run());
}

void FrameAllocator::release(PhysicalAddress start, size_t frames) {
    const size_t first = start / kFrameSize;
    ASSERT(is_aligned(start, kFrameSize) && first <= taken_.size() && frames <= taken_.size() - first);
    const size_t end = first + frames;
    if (taken_.find_clear(first, end) != end) PANIC("frames: released a frame that is free");
    if (reserved_.find_set(first, end) != end) PANIC("frames: released a frame that is reserved");
    taken_.clear(first, frames);
    free_frames_ += frames;
    hint_ = std::min(hint_, first);
}

Result<void> FrameAllocator::reserve(MemoryRange range) {
    const Frames touched = frames_touched(range);
    const Frames ours = {touched.first, std::min<uint64_t>(touched.end, taken_.size())};
    if (ours.empty()) return {};
    uint64_t newly_taken = 0;
    for (uint64_t frame = ours.first; frame < ours.end; ++frame) {
        if (!taken_.test(frame)) {
            ++newly_taken;
        } else if (!reserved_.test(frame)) {
            return invalid(
                "frames: cannot reserve {:x}-{:x}: the frame at {:x} is allocated; reserve before "
                "allocating",
                range.start, range.end(), frame * kFrameSize);
        }
    }
    taken_.set(ours.first, ours.count());
    reserved_.set(ours.first, ours.count());
    free_frames_ -= newly_taken;
    return {};
}

uint64_t FrameAllocator::largest_free_run() const {
    size_t largest = 0;
    for (size_t first = hint_; (first = taken_.find_clear(first, taken_.size())) < taken_.size();) {
        const size_t end = taken_.find_set(first, taken_.size());
        largest = std::max(largest, end - first);
        first = end;
    }
    return largest * kFrameSize;
}

}  // namespace bareflow
