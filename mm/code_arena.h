// Memory for emitted routines under W^X: pages are writable or executable, never both.
//
//     | guard | routine | routine | … free … | guard |
//
// A routine has whole pages of its own, so sealing or releasing one never touches the rights of a page that another
// core may be executing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "arch/base/allocator.h"
#include "arch/base/result.h"

namespace bareflow {

/// How pages change their rights: the page tables in the kernel, mprotect on the host, a recorder in tests.
class CodePages {
 public:
    static constexpr size_t kPageSize = 4096;
    virtual Result<void> make_writable(void* start, size_t bytes) = 0;    ///< rw-
    virtual Result<void> make_executable(void* start, size_t bytes) = 0;  ///< r-x
    virtual Result<void> make_guard(void* start, size_t bytes) = 0;       ///< no access

 protected:
    ~CodePages() = default;
};

/// Told before a routine is thrown out to make room, so that nobody calls it any more.
class EvictionListener {
 public:
    virtual void evicted(const void* entry) = 0;

 protected:
    ~EvictionListener() = default;
};

/// Names the emitted code that an address lies in, for fault reports.
class CodeDirectory {
 public:
    /// False if no routine is there; else its name and the address's offset from its start.
    virtual bool find_code(uint64_t address, FixedString<96>& name, uint64_t& offset) const = 0;

 protected:
    ~CodeDirectory() = default;
};

class CodeArena {
 public:
    /// Takes over `region`: page-aligned, at least three pages. Its first and last page become guards, the rest
    /// read-write. `pages` and `listener` must outlive the arena.
    static Result<CodeArena> make(std::span<uint8_t> region, CodePages& pages, EvictionListener& listener,
                                  Allocator& allocator);

    /// Room for `bytes` of code, writable, aligned to a page. Where none is left the least valuable routines go,
    /// counted in evictions(). One that is being written is never thrown out. Error: more than the arena holds.
    Result<std::span<uint8_t>> open(size_t bytes);
    /// Ends the writing of `room`, of which the first `used` bytes are code: pages beyond them come back, the rest is
    /// filled with int3 and made executable. Returns the entry point.
    Result<const void*> seal(std::span<uint8_t> room, size_t used);
    /// Gives a sealed or open routine's pages back.
    void release(const void* entry);
    /// What a sealed routine is worth, for eviction: higher stays. A new one is worth the most.
    void set_value(const void* entry, uint64_t value);

    /// The entry of the sealed routine whose pages hold `address`, or nullptr: for fault reports.
    const void* routine_at(uint64_t address) const;

    size_t capacity() const { return slots_.size() * CodePages::kPageSize; }
    size_t used() const { return used_pages_ * CodePages::kPageSize; }
    uint64_t evictions() const { return evictions_; }

 private:
    enum class State : uint8_t { kFree, kOpen, kSealed, kLost };
    /// One page; a routine's first page describes it.
    struct Slot {
        State state;
        bool first;
        uint32_t pages;
        uint64_t value;
    };

    CodeArena(std::span<uint8_t> region, CodePages& pages, EvictionListener& listener, Buffer<Slot> slots)
        : region_(region), pages_(&pages), listener_(&listener), slots_(std::move(slots)) {}

    uint8_t* page_at(size_t slot) const { return region_.data() + (slot + 1) * CodePages::kPageSize; }
    size_t slot_of(const void* entry) const;
    size_t find_run(size_t pages) const;
    bool evict_least_valuable();
    void free_slots(size_t first, size_t count);

    std::span<uint8_t> region_;
    CodePages* pages_;
    EvictionListener* listener_;
    Buffer<Slot> slots_;
    size_t used_pages_ = 0;
    uint64_t evictions_ = 0;
};

}  // namespace bareflow
