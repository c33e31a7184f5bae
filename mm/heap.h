// malloc and its kin over a source of pages: slabs for small sizes, arenas for middle ones, whole pages for
// big ones.
#pragma once

#include <cstddef>
#include <cstdint>

#include "arch/base/allocator.h"
#include "mm/arena.h"
#include "mm/page_source.h"
#include "mm/region_map.h"
#include "mm/slab.h"

namespace bareflow {

/// A misuse that the heap noticed.
enum class HeapFault : uint8_t {
    kDoubleFree,      ///< the block is free already
    kForeignPointer,  ///< no block starts here: from elsewhere, inside one, or freed with its pages
    kOverrun,         ///< bytes behind the end of the block were written
};
/// "double free" and so on.
const char* describe(HeapFault fault);

/// Told of each fault. If it returns, the heap leaves the block alone and goes on: better a leak than a
/// wreck.
class HeapFaultHandler {
 public:
    /// `size` is what was asked for the block, 0 if that is not known.
    virtual void heap_fault(HeapFault fault, const void* pointer, size_t size) = 0;

 protected:
    ~HeapFaultHandler() = default;
};

/// kOn puts a canary behind each block (8 bytes and the rounding) and looks at it when the block is freed or
/// resized: cheap enough to be on in the kernel too (mm/README.md has figures). Double free and foreign
/// pointers are noticed always.
enum class HeapChecks : bool { kOff, kOn };

struct HeapStats {
    size_t in_use = 0;               ///< bytes of live blocks, rounded up to what they occupy
    size_t peak = 0;                 ///< the most that in_use ever was
    size_t reserved = 0;             ///< bytes taken from the PageSource
    size_t allocations = 0;          ///< live blocks
    uint64_t total_allocations = 0;  ///< blocks ever handed out
    size_t free_bytes = 0;           ///< free in arenas
    size_t largest_free = 0;         ///< the largest free piece of an arena

    /// 0: all that is free is one piece; towards 1: it is scattered.
    double fragmentation() const {
        return free_bytes == 0 ? 0 : 1 - static_cast<double>(largest_free) / static_cast<double>(free_bytes);
    }
};

/// Not for two cores at a time. Every pointer is aligned to 16 bytes at least. Has no destructor: a kernel's
/// heap ends with the machine; who wants all pages back frees all blocks and calls trim().
class Heap final : public Allocator {
 public:
    static constexpr size_t kMinAlignment = 16;
    static constexpr size_t kBigSize = size_t{1} << 20;  ///< from here on blocks are whole pages
    static constexpr size_t kHugeSize = 2 * kBigSize;    ///< from here on aligned to 2 MiB, where possible

    /// Takes nothing yet. `source` must outlive the heap; a fault without a `handler` is a panic.
    explicit Heap(PageSource& source, HeapChecks checks = HeapChecks::kOn,
                  HeapFaultHandler* handler = nullptr);
    Heap(const Heap&) = delete;
    Heap& operator=(const Heap&) = delete;

    void* allocate(size_t size, size_t alignment) override;
    void release(void* pointer) override;

    /// `size` bytes, uninitialised; nullptr when they do not fit. malloc(0) is a block of its own.
    void* malloc(size_t size) { return allocate(size, kMinAlignment); }
    void free(void* pointer) { release(pointer); }
    /// C's argument order. An alignment that is not a power of two gives nullptr.
    void* aligned_alloc(size_t alignment, size_t size) { return allocate(size, alignment); }
    /// Resizes in place where it can, else moves the contents to a new block of kMinAlignment. nullptr: no
    /// room, and the old block is as it was. A null pointer is malloc; size 0 leaves the smallest block, and
    /// does not free.
    void* realloc(void* pointer, size_t size);

    HeapStats stats() const;
    /// Gives the spare slab and arena back to the PageSource; done by itself when the source runs dry.
    void trim();
    /// Looks at every block and free list, reports each canary that was overwritten, and returns how many
    /// there were. A free list that does not fit the blocks is a panic.
    size_t verify();

 private:
    struct Big;
    /// A live block, wherever it lies.
    struct Found {
        Region* region = nullptr;
        size_t capacity = 0;  ///< bytes that it occupies, canary included
        size_t size = 0;      ///< what was asked for; capacity if there is no canary to say
        HeapFault fault = HeapFault::kForeignPointer;
        bool ok = false;
    };

    struct Placed {
        void* block = nullptr;
        size_t capacity = 0;
    };

    size_t guarded(size_t size) const;
    Placed place(size_t size, size_t alignment);
    Placed place_big(size_t size, size_t alignment);
    void remove(const Found& found, void* pointer);
    Found find(void* pointer) const;
    bool resize_in_place(const Found& found, void* pointer, size_t size);
    void set_size(const Found& found, void* pointer, size_t size);
    void account(size_t old_capacity, size_t new_capacity);
    void report(HeapFault fault, const void* pointer, size_t size);

    HeapChecks checks_;
    HeapFaultHandler* handler_;
    CountedPages pages_;
    RegionMap regions_;
    SlabCache slabs_;
    ArenaPool arenas_;
    size_t in_use_ = 0;
    size_t peak_ = 0;
    size_t allocations_ = 0;
    uint64_t total_allocations_ = 0;
};

}  // namespace bareflow
