#include "mm/heap.h"

#include <algorithm>
#include <new>
#include <optional>

#include "arch/base/panic.h"
#include "mm/align.h"
#include "mm/guard.h"

namespace bareflow {
namespace {

/// Anything larger cannot exist, and sums below it do not overflow.
constexpr size_t kMaxRequest = SIZE_MAX / 4;

}  // namespace

/// The descriptor of a big block, itself a small block of the heap: the pages hold nothing but the user's
/// bytes.
struct Heap::Big final : Region {
    Big(void* pages, size_t bytes, size_t asked_size)
        : Region(RegionKind::kBig, pages, bytes), asked(asked_size) {}
    /// The canary does not fill the whole page: whoever runs over runs over its beginning.
    size_t canary_end() const { return std::min(size, asked + kCanarySize); }

    static constexpr size_t kCanarySize = 64;
    size_t asked;
};

const char* describe(HeapFault fault) {
    switch (fault) {
        case HeapFault::kDoubleFree:
            return "double free";
        case HeapFault::kForeignPointer:
            return "free of a pointer that is no live block";
        case HeapFault::kOverrun:
            return "overrun: bytes behind a block were written";
    }
    return "unknown fault";
}

Heap::Heap(PageSource& source, HeapChecks checks, HeapFaultHandler* handler)
    : checks_(checks),
      handler_(handler),
      pages_(source),
      slabs_(pages_, regions_),
      arenas_(pages_, regions_) {}

/// What a block for `size` bytes must hold.
size_t Heap::guarded(size_t size) const {
    return std::max<size_t>(size + (checks_ == HeapChecks::kOn ? sizeof(Guard) : 0), 1);
}

// ---------------------------------------------------------------- allocate

void* Heap::allocate(size_t size, size_t alignment) {
    if (size > kMaxRequest || alignment > kMaxRequest || !is_power_of_two(alignment)) return nullptr;
    alignment = std::max(alignment, kMinAlignment);
    Placed placed = place(size, alignment);
    if (placed.block == nullptr) {
        trim();
        placed = place(size, alignment);
    }
    if (placed.block == nullptr) return nullptr;
    account(0, placed.capacity);
    ++allocations_;
    ++total_allocations_;
    return placed.block;
}

/// Finds room and guards it.
Heap::Placed Heap::place(size_t size, size_t alignment) {
    const size_t needed = guarded(size);
    const size_t small = SlabCache::class_for(needed, alignment);
    Placed placed;
    if (small < SlabCache::kClasses) {
        placed = {slabs_.allocate(small), SlabCache::class_size(small)};
    } else if (size < kBigSize && alignment <= ArenaPool::kMaxAlignment) {
        placed.block = arenas_.allocate(needed, alignment);
        if (placed.block != nullptr) placed.capacity = ArenaPool::capacity(placed.block);
    }
    // A few pages may be left where there is no room for a whole slab or arena.
    if (placed.block == nullptr) return place_big(size, alignment);
    if (checks_ == HeapChecks::kOn) write_guard(placed.block, size, placed.capacity);
    return placed;
}

Heap::Placed Heap::place_big(size_t size, size_t alignment) {
    const size_t bytes = align_up(guarded(size), PageSource::kPageSize);
    alignment = std::max(alignment, PageSource::kPageSize);
    // Its descriptor comes from a slab, or there is no block: a descriptor that is itself big would need
    // another.
    const size_t descriptor_class = SlabCache::class_for(guarded(sizeof(Big)), kMinAlignment);
    void* descriptor = slabs_.allocate(descriptor_class);
    if (descriptor == nullptr) return {};
    void* pages = bytes >= kHugeSize ? pages_.take(bytes, std::max(alignment, kHugeSize)) : nullptr;
    if (pages == nullptr) pages = pages_.take(bytes, alignment);
    if (pages == nullptr) {
        slabs_.release(static_cast<Slab&>(*regions_.find(descriptor)), descriptor);
        return {};
    }
    Big& big = *new (descriptor) Big(pages, bytes, size);
    regions_.insert(big);
    if (checks_ == HeapChecks::kOn) {
        write_guard(&big, sizeof(Big), SlabCache::class_size(descriptor_class));
        fill_canary(pages, size, big.canary_end());
    }
    return {pages, bytes};
}

void Heap::account(size_t old_capacity, size_t new_capacity) {
    in_use_ = in_use_ - old_capacity + new_capacity;
    peak_ = std::max(peak_, in_use_);
}

// ---------------------------------------------------------------- find, release

/// The live block at `pointer`, or why there is none.
Heap::Found Heap::find(void* pointer) const {
    Found found;
    found.region = regions_.find(pointer);
    if (found.region == nullptr) return found;

    BlockState state = BlockState::kNone;
    switch (found.region->kind) {
        case RegionKind::kSlab: {
            auto& slab = static_cast<Slab&>(*found.region);
            state = slab.state_of(pointer);
            found.capacity = slab.object_size;
            break;
        }
        case RegionKind::kArena:
            state = ArenaPool::state_of(static_cast<Arena&>(*found.region), pointer);
            if (state == BlockState::kLive) found.capacity = ArenaPool::capacity(pointer);
            break;
        case RegionKind::kBig:
            if (reinterpret_cast<uintptr_t>(pointer) == found.region->start) state = BlockState::kLive;
            found.capacity = found.region->size;
            break;
    }
    if (state != BlockState::kLive) {
        found.fault = state == BlockState::kFree      ? HeapFault::kDoubleFree
                      : state == BlockState::kDamaged ? HeapFault::kOverrun
                                                      : HeapFault::kForeignPointer;
        return found;
    }

    std::optional<size_t> size = found.capacity;
    if (found.region->kind == RegionKind::kBig) {
        const auto& big = static_cast<const Big&>(*found.region);
        size = big.asked;
        if (checks_ == HeapChecks::kOn && !canary_intact(pointer, big.asked, big.canary_end())) {
            found.fault = HeapFault::kOverrun;
        }
    } else if (checks_ == HeapChecks::kOn) {
        size = read_guard(pointer, found.capacity);
        if (!size) found.fault = HeapFault::kOverrun;
    }
    found.size = size.value_or(0);
    found.ok = found.fault != HeapFault::kOverrun;
    return found;
}

void Heap::release(void* pointer) {
    if (pointer == nullptr) return;
    const Found found = find(pointer);
    if (!found.ok) {
        report(found.fault, pointer, found.size);
        return;
    }
    account(found.capacity, 0);
    --allocations_;
    remove(found, pointer);
}

void Heap::remove(const Found& found, void* pointer) {
    switch (found.region->kind) {
        case RegionKind::kSlab:
            slabs_.release(static_cast<Slab&>(*found.region), pointer);
            break;
        case RegionKind::kArena:
            arenas_.release(static_cast<Arena&>(*found.region), pointer);
            break;
        case RegionKind::kBig: {
            Region& big = *found.region;
            regions_.remove(big);
            pages_.give(pointer, big.size);
            slabs_.release(static_cast<Slab&>(*regions_.find(&big)), &big);
            break;
        }
    }
}

void Heap::report(HeapFault fault, const void* pointer, size_t size) {
    if (handler_ == nullptr) PANIC(describe(fault));
    handler_->heap_fault(fault, pointer, size);
}

// ---------------------------------------------------------------- realloc

void* Heap::realloc(void* pointer, size_t size) {
    if (pointer == nullptr) return malloc(size);
    const Found found = find(pointer);
    if (!found.ok) {
        report(found.fault, pointer, found.size);
        return nullptr;
    }
    if (size > kMaxRequest) return nullptr;
    if (resize_in_place(found, pointer, size)) return pointer;
    void* moved = malloc(size);
    if (moved == nullptr && guarded(size) <= found.capacity) {
        set_size(found, pointer, size);  // it was to move to a smaller block, and there is none
        return pointer;
    }
    if (moved == nullptr) return nullptr;
    __builtin_memcpy(moved, pointer, std::min(size, found.size));
    release(pointer);
    return moved;
}

bool Heap::resize_in_place(const Found& found, void* pointer, size_t size) {
    const size_t needed = guarded(size);
    Found resized = found;
    if (found.region->kind == RegionKind::kArena) {
        if (needed <= SlabCache::kMaxSize || size >= kBigSize || !arenas_.resize(pointer, needed))
            return false;
        resized.capacity = ArenaPool::capacity(pointer);
    } else if (needed > found.capacity ||
               (needed <= found.capacity / 2 && found.capacity > Slab::kMinObject)) {
        return false;  // too large, or so much smaller that a block of its own size is better
    }
    set_size(resized, pointer, size);
    account(found.capacity, resized.capacity);
    return true;
}

/// Notes that `size` bytes of a block are the user's now.
void Heap::set_size(const Found& found, void* pointer, size_t size) {
    if (found.region->kind == RegionKind::kBig) {
        auto& big = static_cast<Big&>(*found.region);
        big.asked = size;
        if (checks_ == HeapChecks::kOn) fill_canary(pointer, size, big.canary_end());
    } else if (checks_ == HeapChecks::kOn) {
        write_guard(pointer, size, found.capacity);
    }
}

// ---------------------------------------------------------------- the whole

HeapStats Heap::stats() const {
    return {in_use_,
            peak_,
            pages_.out(),
            allocations_,
            total_allocations_,
            arenas_.free_bytes(),
            arenas_.largest_free()};
}

void Heap::trim() {
    slabs_.trim();
    arenas_.trim();
}

size_t Heap::verify() {
    size_t faults = 0;
    const auto check = [&](void* pointer) {
        const Found found = find(pointer);
        if (found.ok) return;
        ++faults;
        report(found.fault, pointer, found.size);
    };
    regions_.for_each([&](Region& region) {
        switch (region.kind) {
            case RegionKind::kSlab: {
                auto& slab = static_cast<Slab&>(region);
                for (size_t i = 0; (i = slab.used().find_set(i, slab.object_count)) < slab.object_count;
                     ++i) {
                    check(slab.object(i));
                }
                break;
            }
            case RegionKind::kArena: {
                auto& arena = static_cast<Arena&>(region);
                const size_t faults_before = faults;
                const bool walked = ArenaPool::for_each_block(arena, [&](BlockTag& block) {
                    if (block.state == BlockTag::kUsed) check(block.payload());
                });
                if (walked && faults == faults_before) arenas_.verify(arena);
                break;
            }
            case RegionKind::kBig:
                check(reinterpret_cast<void*>(region.start));
                break;
        }
    });
    return faults;
}

}  // namespace bareflow
