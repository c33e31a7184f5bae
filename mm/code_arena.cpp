#include "mm/code_arena.h"

namespace bareflow {
namespace {

constexpr size_t kPage = CodePages::kPageSize;
/// int3: a jump into what is no code is a report, not an adventure.
constexpr int kTrap = 0xCC;

}  // namespace

Result<CodeArena> CodeArena::make(std::span<uint8_t> region, CodePages& pages, EvictionListener& listener,
                                  Allocator& allocator) {
    const bool aligned =
        reinterpret_cast<uintptr_t>(region.data()) % kPage == 0 && region.size() % kPage == 0;
    if (!aligned || region.size() < 3 * kPage) {
        return invalid("code arena: a region of {} bytes is not page-aligned or too small", region.size());
    }
    const size_t count = region.size() / kPage - 2;
    Buffer<Slot> slots = TRY(Buffer<Slot>::make(allocator, count, "code arena's page list"));
    TRY(pages.make_guard(region.data(), kPage));
    TRY(pages.make_guard(region.data() + region.size() - kPage, kPage));
    TRY(pages.make_writable(region.data() + kPage, count * kPage));
    return CodeArena(region, pages, listener, std::move(slots));
}

Result<std::span<uint8_t>> CodeArena::open(size_t bytes) {
    const size_t pages = (bytes + kPage - 1) / kPage;
    if (pages == 0 || pages > slots_.size()) {
        return out_of_memory("code arena: a routine of {} bytes does not fit in {} bytes", bytes, capacity());
    }
    size_t first = find_run(pages);
    while (first == slots_.size()) {
        if (!evict_least_valuable()) {
            return out_of_memory("code arena: {} bytes are all being written; nothing can go", used());
        }
        first = find_run(pages);
    }
    for (size_t i = 0; i < pages; ++i)
        slots_[first + i] = {State::kOpen, i == 0, static_cast<uint32_t>(pages), 0};
    used_pages_ += pages;
    return std::span<uint8_t>(page_at(first), pages * kPage);
}

Result<const void*> CodeArena::seal(std::span<uint8_t> room, size_t used) {
    const size_t first = slot_of(room.data());
    ASSERT(slots_[first].state == State::kOpen && used > 0 && used <= room.size());
    const size_t kept = (used + kPage - 1) / kPage;
    const size_t had = slots_[first].pages;
    __builtin_memset(room.data() + used, kTrap, kept * kPage - used);
    if (Result<void> sealed = pages_->make_executable(room.data(), kept * kPage); !sealed) {
        free_slots(first, had);
        return sealed.error();
    }
    free_slots(first + kept, had - kept);
    for (size_t i = 0; i < kept; ++i) {
        slots_[first + i] = {State::kSealed, i == 0, static_cast<uint32_t>(kept), UINT64_MAX};
    }
    return static_cast<const void*>(room.data());
}

void CodeArena::release(const void* entry) {
    const size_t first = slot_of(entry);
    const Slot slot = slots_[first];
    ASSERT(slot.state != State::kFree && slot.first);
    // Pages that cannot be made writable again are lost, not reused with the wrong rights.
    if (slot.state == State::kSealed && !pages_->make_writable(page_at(first), slot.pages * kPage)) {
        for (size_t i = 0; i < slot.pages; ++i) slots_[first + i].state = State::kLost;
        return;
    }
    free_slots(first, slot.pages);
}

void CodeArena::set_value(const void* entry, uint64_t value) { slots_[slot_of(entry)].value = value; }

const void* CodeArena::routine_at(uint64_t address) const {
    const uint64_t start = reinterpret_cast<uintptr_t>(region_.data()) + kPage;
    if (address < start || address - start >= capacity()) return nullptr;
    size_t slot = (address - start) / kPage;
    if (slots_[slot].state != State::kSealed) return nullptr;
    while (!slots_[slot].first) --slot;
    return page_at(slot);
}

size_t CodeArena::slot_of(const void* entry) const {
    const uint64_t offset = static_cast<uint64_t>(static_cast<const uint8_t*>(entry) - page_at(0));
    ASSERT(offset % kPage == 0 && offset / kPage < slots_.size());
    return offset / kPage;
}

/// The first of `pages` free slots in a row (first fit), or slots_.size().
size_t CodeArena::find_run(size_t pages) const {
    size_t run = 0;
    for (size_t slot = 0; slot < slots_.size(); ++slot) {
        run = slots_[slot].state == State::kFree ? run + 1 : 0;
        if (run == pages) return slot + 1 - pages;
    }
    return slots_.size();
}

bool CodeArena::evict_least_valuable() {
    size_t victim = slots_.size();
    for (size_t slot = 0; slot < slots_.size(); ++slot) {
        if (slots_[slot].state != State::kSealed || !slots_[slot].first) continue;
        if (victim == slots_.size() || slots_[slot].value < slots_[victim].value) victim = slot;
    }
    if (victim == slots_.size()) return false;
    listener_->evicted(page_at(victim));
    ++evictions_;
    release(page_at(victim));
    return true;
}

void CodeArena::free_slots(size_t first, size_t count) {
    for (size_t i = 0; i < count; ++i) slots_[first + i] = {};
    used_pages_ -= count;
}

}  // namespace bareflow
