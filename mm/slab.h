// Small blocks: slabs of equal objects, one bit an object.
#pragma once

#include <cstddef>
#include <cstdint>

#include "mm/bitmap.h"
#include "mm/page_source.h"
#include "mm/region_map.h"

namespace bareflow {

/// What the heap finds where a pointer points.
enum class BlockState : uint8_t { kLive, kFree, kNone, kDamaged };

/// A slab's header; its objects follow. Which are used stands in a bitmap here, not in a list through the
/// objects: writing past an object cannot derail the slab, and freeing twice shows.
struct Slab final : Region {
    static constexpr size_t kSize = 32 << 10;
    static constexpr size_t kMinObject = 16;
    static constexpr size_t kMaxObjects = kSize / kMinObject;

    Slab(void* memory, size_t size_class, size_t object_bytes);

    Bitmap used() { return {used_words, object_count}; }
    void* object(size_t index) const { return reinterpret_cast<void*>(first_object + index * object_size); }
    BlockState state_of(const void* pointer);

    size_t class_index;
    size_t object_size;
    size_t object_count;
    uintptr_t first_object;
    size_t used_count = 0;
    Slab* previous = nullptr;  ///< in the list of slabs of its class that have a free object
    Slab* next = nullptr;
    uint64_t used_words[Bitmap::words_for(kMaxObjects)] = {};
};

class SlabCache {
 public:
    static constexpr size_t kMaxSize = 1024;

    SlabCache(PageSource& pages, RegionMap& regions) : pages_(pages), regions_(regions) {}

    /// Four sizes to a doubling, so that at most a fifth of a block is rounding.
    static constexpr size_t kClassSizes[] = {16,  32,  48,  64,  80,  96,  112, 128, 160, 192,
                                             224, 256, 320, 384, 448, 512, 640, 768, 896, kMaxSize};
    static constexpr size_t kClasses = sizeof(kClassSizes) / sizeof(kClassSizes[0]);

    /// The smallest class that holds `size` bytes and whose objects are all aligned to `alignment` (a power
    /// of two); kClasses if there is none.
    static size_t class_for(size_t size, size_t alignment);
    static size_t class_size(size_t index) { return kClassSizes[index]; }

    /// nullptr if there are no pages.
    void* allocate(size_t class_index);
    /// `object` is a used object of `slab`. The slab goes back to its source if it was the last one, but for
    /// one spare.
    void release(Slab& slab, void* object);
    /// Gives the spare back.
    void trim();

 private:
    Slab* make_slab(size_t class_index);
    void link(Slab& slab, Slab*& head);
    void unlink(Slab& slab, Slab*& head);

    PageSource& pages_;
    RegionMap& regions_;
    Slab* with_room_[kClasses] = {};
    void* spare_ = nullptr;
};

}  // namespace bareflow
