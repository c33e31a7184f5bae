// Middle-sized blocks: arenas cut into blocks with boundary tags, free ones in lists by size.
#pragma once

#include <cstddef>
#include <cstdint>

#include "mm/page_source.h"
#include "mm/region_map.h"
#include "mm/slab.h"

namespace bareflow {

/// The boundary tag in front of each block. It knows the block's size and that of the one before, so both
/// neighbours are one step away (Knuth, TAOCP 1 2.5). `seal` is a checksum: a pointer to anything else, or a
/// tag that an overrun has hit, does not pass for a block.
struct BlockTag {
    enum State : uint32_t { kUsed = 0x64657375, kFree = 0x65657266 };

    uint32_t previous_size;  ///< bytes, tag included; 0: the first of its arena
    uint32_t size;           ///< bytes, tag included, a multiple of 16; 0: the end of its arena
    uint32_t state;
    uint32_t seal;

    void* payload() { return this + 1; }
    size_t payload_size() const { return size - sizeof(BlockTag); }
    BlockTag* next() { return reinterpret_cast<BlockTag*>(reinterpret_cast<char*>(this) + size); }
    BlockTag* previous() {
        return reinterpret_cast<BlockTag*>(reinterpret_cast<char*>(this) - previous_size);
    }
};
static_assert(sizeof(BlockTag) == 16);

struct alignas(16) Arena final : Region {
    static constexpr size_t kSize = size_t{2} << 20;
    explicit Arena(void* memory) : Region(RegionKind::kArena, memory, kSize) {}
    BlockTag* first_block() { return reinterpret_cast<BlockTag*>(this + 1); }
};
static_assert(sizeof(Arena) % 16 == 0);

class ArenaPool {
 public:
    static constexpr size_t kMaxSize =
        (size_t{1} << 20) + 64;  ///< the heap's largest middle block with its guard
    static constexpr size_t kMaxAlignment = PageSource::kPageSize;

    ArenaPool(PageSource& pages, RegionMap& regions) : pages_(pages), regions_(regions) {}

    /// A block with room for `size` (<= kMaxSize) bytes; nullptr if there are no pages.
    void* allocate(size_t size, size_t alignment);
    /// `payload` is a live block of `arena`. Joins it with free neighbours; an arena that is empty goes back
    /// to its source, but for one spare.
    void release(Arena& arena, void* payload);
    /// Grows or shrinks a live block where it lies; false if there is no room behind it.
    bool resize(void* payload, size_t size);

    static size_t capacity(const void* payload) {
        return (static_cast<const BlockTag*>(payload) - 1)->payload_size();
    }
    /// What `pointer` (somewhere in `arena`) points to; kDamaged if the tag of a block or of a neighbour is
    /// broken.
    static BlockState state_of(Arena& arena, void* pointer);
    /// Calls visitor(BlockTag&) for each block of `arena` in order; false if it came upon a damaged tag.
    template <typename Visitor>
    static bool for_each_block(Arena& arena, Visitor&& visitor) {
        for (BlockTag* block = arena.first_block();; block = block->next()) {
            if (!is_intact(*block)) return false;
            if (block->size == 0) return true;
            visitor(*block);
        }
    }

    size_t free_bytes() const { return free_bytes_; }
    size_t largest_free() const;
    /// Gives the spare back.
    void trim();
    /// Panics unless the tags and lists of `arena` fit together and no two free blocks touch.
    void verify(Arena& arena) const;

 private:
    /// A free block keeps its place in a list where its payload was.
    struct FreeBlock : BlockTag {
        FreeBlock* previous_free;
        FreeBlock* next_free;
    };
    static_assert(sizeof(FreeBlock) == 32);

    static constexpr size_t kGranule = 16;
    static constexpr size_t kMinBlock = sizeof(FreeBlock);
    /// A rest below this is left to the block: no request of the arenas' sizes could use it.
    static constexpr size_t kMinRest = SlabCache::kMaxSize;
    /// Bins: 8 to a doubling of the size, from kMinBlock to Arena::kSize.
    static constexpr unsigned kBinsPerDoublingBits = 3;
    static constexpr unsigned kMinBlockBits = 5;
    static constexpr unsigned kArenaBits = 21;
    static constexpr size_t kBins = size_t{kArenaBits - kMinBlockBits} << kBinsPerDoublingBits;
    static_assert(kMinBlock == size_t{1} << kMinBlockBits && Arena::kSize == size_t{1} << kArenaBits);

    static size_t bin_of(size_t block_size);
    static bool is_intact(const BlockTag& block);
    static void seal(BlockTag& block);
    static bool is_whole_arena(BlockTag& block);
    static void set_size(BlockTag& block, size_t size);

    FreeBlock* find_fit(size_t block_size);
    bool add_arena();
    void give_back(Arena& arena);
    void insert_free(BlockTag& block);
    void remove_free(BlockTag& block);
    void cut(BlockTag& block, size_t block_size);

    PageSource& pages_;
    RegionMap& regions_;
    FreeBlock* bins_[kBins] = {};
    uint64_t occupied_words_[Bitmap::words_for(kBins)] = {};  ///< which bins are not empty
    Arena* spare_ = nullptr;                                  ///< the one arena that may be empty
    size_t free_bytes_ = 0;
};

}  // namespace bareflow
