// An Allocator over the host's malloc for tests: counts, and fails on demand.
#pragma once

#include <cstdlib>

#include "arch/base/allocator.h"

namespace bareflow {

struct TestAllocator : Allocator {
    size_t live = 0;               ///< allocations not released yet
    size_t made = 0;               ///< allocations ever made
    size_t fail_after = SIZE_MAX;  ///< how many more succeed

    void* allocate(size_t size, size_t alignment) override {
        if (made >= fail_after) return nullptr;
        ++live;
        ++made;
        return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    }
    void release(void* pointer) override {
        if (pointer != nullptr) --live;
        std::free(pointer);
    }
};

}  // namespace bareflow
