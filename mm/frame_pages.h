// The heap's pages from physical frames: a PageSource over a FrameAllocator, for memory that is
// identity-mapped.
#pragma once

#include "mm/frames.h"
#include "mm/page_source.h"

namespace bareflow {

static_assert(PageSource::kPageSize == kFrameSize);

class FramePages final : public PageSource {
 public:
    /// Both must outlive it; `memory` reaches every frame that `frames` hands out, and at(0) is where frame 0
    /// would be.
    FramePages(FrameAllocator& frames, PhysicalMemory& memory) : frames_(frames), memory_(memory) {}

    void* take(size_t bytes, size_t alignment) override {
        Result<PhysicalAddress> start = frames_.allocate(bytes / kFrameSize, alignment);
        return start.ok() ? memory_.at(start.value()) : nullptr;
    }
    void give(void* pages, size_t bytes) override {
        const char* base = static_cast<const char*>(memory_.at(0));
        frames_.release(static_cast<PhysicalAddress>(static_cast<const char*>(pages) - base),
                        bytes / kFrameSize);
    }

 private:
    FrameAllocator& frames_;
    PhysicalMemory& memory_;
};

}  // namespace bareflow
