#include "mm/slab.h"

#include <new>

#include "mm/align.h"

namespace bareflow {
namespace {

/// The largest power of two that divides `size`: what every object of that size can be aligned to.
constexpr size_t natural_alignment(size_t size) { return size & (~size + 1); }

}  // namespace

Slab::Slab(void* memory, size_t size_class, size_t object_bytes)
    : Region(RegionKind::kSlab, memory, kSize),
      class_index(size_class),
      object_size(object_bytes),
      first_object(align_up(start + sizeof(Slab), natural_alignment(object_bytes))) {
    object_count = (start + kSize - first_object) / object_size;
}

BlockState Slab::state_of(const void* pointer) {
    const auto address = reinterpret_cast<uintptr_t>(pointer);
    if (address < first_object || (address - first_object) % object_size != 0) return BlockState::kNone;
    const size_t index = (address - first_object) / object_size;
    if (index >= object_count) return BlockState::kNone;
    return used().test(index) ? BlockState::kLive : BlockState::kFree;
}

size_t SlabCache::class_for(size_t size, size_t alignment) {
    size_t index = 0;
    while (index < kClasses && (kClassSizes[index] < size || !is_aligned(kClassSizes[index], alignment)))
        ++index;
    return index;
}

void* SlabCache::allocate(size_t class_index) {
    Slab*& head = with_room_[class_index];
    if (head == nullptr) {
        Slab* fresh = make_slab(class_index);
        if (fresh == nullptr) return nullptr;
        link(*fresh, head);
    }
    Slab& slab = *head;
    const size_t index = slab.used().find_clear(0, slab.object_count);
    slab.used().set(index, 1);
    if (++slab.used_count == slab.object_count) unlink(slab, head);
    return slab.object(index);
}

void SlabCache::release(Slab& slab, void* object) {
    Slab*& head = with_room_[slab.class_index];
    slab.used().clear((reinterpret_cast<uintptr_t>(object) - slab.first_object) / slab.object_size, 1);
    if (slab.used_count-- == slab.object_count) link(slab, head);
    if (slab.used_count > 0) return;

    unlink(slab, head);
    regions_.remove(slab);
    if (spare_ == nullptr) {
        spare_ = &slab;
    } else {
        pages_.give(&slab, Slab::kSize);
    }
}

Slab* SlabCache::make_slab(size_t class_index) {
    void* memory = spare_ != nullptr ? spare_ : pages_.take(Slab::kSize, PageSource::kPageSize);
    if (memory == nullptr) return nullptr;
    spare_ = nullptr;
    Slab* slab = new (memory) Slab(memory, class_index, class_size(class_index));
    regions_.insert(*slab);
    return slab;
}

void SlabCache::trim() {
    if (spare_ != nullptr) pages_.give(spare_, Slab::kSize);
    spare_ = nullptr;
}

void SlabCache::link(Slab& slab, Slab*& head) {
    slab.previous = nullptr;
    slab.next = head;
    if (head != nullptr) head->previous = &slab;
    head = &slab;
}

void SlabCache::unlink(Slab& slab, Slab*& head) {
    (slab.previous != nullptr ? slab.previous->next : head) = slab.next;
    if (slab.next != nullptr) slab.next->previous = slab.previous;
}

}  // namespace bareflow
