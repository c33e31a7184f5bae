#include "mm/arena.h"

#include <algorithm>
#include <bit>
#include <new>

#include "arch/base/panic.h"
#include "mm/align.h"

namespace bareflow {
namespace {

uint32_t seal_of(const BlockTag& block) {
    constexpr uint64_t kGoldenRatio = 0x9E3779B97F4A7C15;  // 2^64 / phi: spreads every input bit upwards
    const uint64_t sizes = uint64_t{block.previous_size} << 32 | block.size;
    return static_cast<uint32_t>(
               (reinterpret_cast<uintptr_t>(&block) * kGoldenRatio ^ sizes) * kGoldenRatio >> 32) ^
           block.state;
}

}  // namespace

bool ArenaPool::is_intact(const BlockTag& block) { return block.seal == seal_of(block); }

void ArenaPool::seal(BlockTag& block) { block.seal = seal_of(block); }

/// Sets a block's size, tells the block after it, and seals both.
void ArenaPool::set_size(BlockTag& block, size_t size) {
    block.size = static_cast<uint32_t>(size);
    seal(block);
    block.next()->previous_size = block.size;
    seal(*block.next());
}

bool ArenaPool::is_whole_arena(BlockTag& block) {
    return block.previous_size == 0 && block.next()->size == 0;
}

BlockState ArenaPool::state_of(Arena& arena, void* pointer) {
    const auto address = reinterpret_cast<uintptr_t>(pointer);
    const auto first = reinterpret_cast<uintptr_t>(arena.first_block()->payload());
    if (address < first || !is_aligned(address, kGranule)) return BlockState::kNone;
    BlockTag& block = *(static_cast<BlockTag*>(pointer) - 1);
    if (!is_intact(block) || block.size == 0) return BlockState::kNone;
    if (block.state != BlockTag::kUsed) return BlockState::kFree;
    const bool neighbours_intact =
        is_intact(*block.next()) && (block.previous_size == 0 || is_intact(*block.previous()));
    return neighbours_intact ? BlockState::kLive : BlockState::kDamaged;
}

void* ArenaPool::allocate(size_t size, size_t alignment) {
    const size_t needed = sizeof(BlockTag) + align_up(size, kGranule);
    // Room to move the payload up to its alignment and leave a whole block in front of it.
    const size_t slack = alignment > kGranule ? alignment + kMinBlock : 0;
    FreeBlock* found = find_fit(needed + slack);
    if (found == nullptr && add_arena()) found = find_fit(needed + slack);
    if (found == nullptr) return nullptr;

    BlockTag* block = found;
    remove_free(*block);
    const auto payload = reinterpret_cast<uintptr_t>(block->payload());
    size_t gap = align_up(payload, alignment) - payload;
    if (gap > 0 && gap < kMinBlock) gap += alignment;
    if (gap > 0) {
        BlockTag& front = *block;
        const size_t rest = front.size - gap;
        front.size = static_cast<uint32_t>(gap);
        block = new (front.next()) BlockTag{};
        set_size(front, gap);
        insert_free(front);
        set_size(*block, rest);
    }
    cut(*block, needed);
    block->state = BlockTag::kUsed;
    seal(*block);
    return block->payload();
}

void ArenaPool::release(Arena& arena, void* payload) {
    BlockTag* block = static_cast<BlockTag*>(payload) - 1;
    block->state = BlockTag::kFree;  // also of a tag that is swallowed below: freeing it again must show
    seal(*block);
    if (block->next()->state == BlockTag::kFree) {
        remove_free(*block->next());
        set_size(*block, block->size + block->next()->size);
    }
    if (block->previous_size > 0 && block->previous()->state == BlockTag::kFree) {
        BlockTag& front = *block->previous();
        remove_free(front);
        set_size(front, front.size + block->size);
        block = &front;
    }
    insert_free(*block);
    if (!is_whole_arena(*block)) return;
    if (spare_ == nullptr) {
        spare_ = &arena;
    } else if (spare_ != &arena) {
        give_back(arena);
    }
}

bool ArenaPool::resize(void* payload, size_t size) {
    BlockTag& block = *(static_cast<BlockTag*>(payload) - 1);
    const size_t needed = sizeof(BlockTag) + align_up(size, kGranule);
    if (needed > block.size) {
        BlockTag& next = *block.next();
        if (next.state != BlockTag::kFree || needed > size_t{block.size} + next.size) return false;
        remove_free(next);
        set_size(block, block.size + next.size);
    }
    cut(block, needed);
    return true;
}

/// Frees what `block`, which is in no list, has beyond `block_size`, if that is worth it.
void ArenaPool::cut(BlockTag& block, size_t block_size) {
    size_t rest_size = block.size - block_size;
    if (rest_size < kMinRest) return;
    BlockTag& next = *block.next();
    if (next.state == BlockTag::kFree) {
        remove_free(next);
        rest_size += next.size;
    }
    block.size = static_cast<uint32_t>(block_size);
    BlockTag& rest = *new (block.next()) BlockTag{};
    rest.state = BlockTag::kFree;
    set_size(block, block_size);
    set_size(rest, rest_size);
    insert_free(rest);
}

// ---------------------------------------------------------------- free lists

/// The bin of blocks of `block_size`: its leading bit and the three after it.
size_t ArenaPool::bin_of(size_t block_size) {
    const unsigned leading = static_cast<unsigned>(std::bit_width(block_size)) - 1;
    const size_t step =
        (block_size >> (leading - kBinsPerDoublingBits)) - (size_t{1} << kBinsPerDoublingBits);
    return (size_t{leading - kMinBlockBits} << kBinsPerDoublingBits) + step;
}

/// A free block of at least `block_size`, or nullptr: the head of its own bin if that is large enough, else
/// any of the next bin that is not empty, all of whose blocks are.
ArenaPool::FreeBlock* ArenaPool::find_fit(size_t block_size) {
    const size_t own = bin_of(block_size);
    FreeBlock* found = bins_[own];
    if (found == nullptr || found->size < block_size) {
        const size_t bin = Bitmap(occupied_words_, kBins).find_set(own + 1, kBins);
        found = bin < kBins ? bins_[bin] : nullptr;
    }
    return found;
}

void ArenaPool::insert_free(BlockTag& block) {
    auto& free = static_cast<FreeBlock&>(block);
    FreeBlock*& head = bins_[bin_of(block.size)];
    free.state = BlockTag::kFree;
    seal(free);
    free.previous_free = nullptr;
    free.next_free = head;
    if (head != nullptr) head->previous_free = &free;
    head = &free;
    Bitmap(occupied_words_, kBins).set(bin_of(block.size), 1);
    free_bytes_ += block.size;
}

void ArenaPool::remove_free(BlockTag& block) {
    auto& free = static_cast<FreeBlock&>(block);
    const size_t bin = bin_of(block.size);
    (free.previous_free != nullptr ? free.previous_free->next_free : bins_[bin]) = free.next_free;
    if (free.next_free != nullptr) free.next_free->previous_free = free.previous_free;
    if (bins_[bin] == nullptr) Bitmap(occupied_words_, kBins).clear(bin, 1);
    free_bytes_ -= block.size;
    if (spare_ != nullptr && &block == spare_->first_block()) spare_ = nullptr;
}

size_t ArenaPool::largest_free() const {
    size_t largest = 0;
    for (size_t bin = kBins; bin-- > 0 && largest == 0;) {
        for (const FreeBlock* block = bins_[bin]; block != nullptr; block = block->next_free) {
            largest = std::max<size_t>(largest, block->size);
        }
    }
    return largest;
}

// ---------------------------------------------------------------- arenas

bool ArenaPool::add_arena() {
    void* memory = pages_.take(Arena::kSize, Arena::kSize);
    if (memory == nullptr) memory = pages_.take(Arena::kSize, PageSource::kPageSize);
    if (memory == nullptr) return false;
    Arena& arena = *new (memory) Arena(memory);
    regions_.insert(arena);

    constexpr size_t kRoom = Arena::kSize - sizeof(Arena) - sizeof(BlockTag);
    BlockTag& block = *new (arena.first_block()) BlockTag{};
    block.size = kRoom;
    BlockTag& end = *new (block.next()) BlockTag{};
    end.state = BlockTag::kUsed;  // never joined
    set_size(block, kRoom);
    insert_free(block);
    return true;
}

void ArenaPool::give_back(Arena& arena) {
    remove_free(*arena.first_block());
    regions_.remove(arena);
    pages_.give(&arena, Arena::kSize);
}

void ArenaPool::trim() {
    if (spare_ != nullptr) give_back(*spare_);
}

void ArenaPool::verify(Arena& arena) const {
    size_t previous_size = 0;
    bool previous_free = false;
    const bool intact = for_each_block(arena, [&](BlockTag& block) {
        ASSERT(block.previous_size == previous_size);
        const bool is_free = block.state == BlockTag::kFree;
        ASSERT(!(is_free && previous_free));
        if (is_free) {
            const auto& free = static_cast<const FreeBlock&>(block);
            const FreeBlock* before = free.previous_free;
            ASSERT((before != nullptr ? before->next_free : bins_[bin_of(block.size)]) == &free);
            ASSERT(free.next_free == nullptr || free.next_free->previous_free == &free);
        }
        previous_size = block.size;
        previous_free = is_free;
    });
    ASSERT(intact);
}

}  // namespace bareflow
