#include "arch/base/allocator.h"

namespace bareflow {

Result<void*> allocate_zeroed(Allocator& allocator, size_t count, size_t size, size_t alignment,
                              std::string_view what) {
    if (count > SIZE_MAX / size) return out_of_memory("{}: {} items overflow", what, count);
    if (count == 0) return static_cast<void*>(nullptr);
    void* const memory = allocator.allocate(count * size, alignment);
    if (memory == nullptr) {
        return out_of_memory(
            "{}: {} bytes do not fit in memory; give the machine more RAM, or a smaller context (-c)", what,
            count * size);
    }
    __builtin_memset(memory, 0, count * size);
    return memory;
}

}  // namespace bareflow
