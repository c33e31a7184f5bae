// The host's heap as an Allocator, for the tools and tests.
#pragma once

#include <cstdlib>

#include "arch/base/allocator.h"

namespace bareflow {

class StdAllocator final : public Allocator {
 public:
    void* allocate(size_t size, size_t alignment) override {
        if (alignment < alignof(std::max_align_t)) alignment = alignof(std::max_align_t);
        if (size > SIZE_MAX - alignment) return nullptr;
        return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    }
    void release(void* pointer) override { std::free(pointer); }
};

}  // namespace bareflow
