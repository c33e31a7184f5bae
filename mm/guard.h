// What the heap writes behind the user's bytes to notice an overrun: canary bytes up to the end of the block,
// the last eight of which also tell the size that was asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace bareflow {

constexpr uint8_t kCanaryByte = 0xCA;

/// The last bytes of a guarded block. The second half is made of the first and of the block's address, so
/// that no one byte can change unseen.
struct Guard {
    uint32_t size;
    uint32_t check;
};
static_assert(sizeof(Guard) == 8);

inline void fill_canary(void* block, size_t from, size_t to) {
    __builtin_memset(static_cast<uint8_t*>(block) + from, kCanaryByte, to - from);
}
inline bool canary_intact(const void* block, size_t from, size_t to) {
    constexpr uint64_t kCanaryWord = kCanaryByte * (UINT64_MAX / 0xFF);  // the byte eight times
    const auto* bytes = static_cast<const uint8_t*>(block);
    for (; to - from >= sizeof(uint64_t); from += sizeof(uint64_t)) {
        uint64_t word;
        __builtin_memcpy(&word, bytes + from, sizeof(word));
        if (word != kCanaryWord) return false;
    }
    for (; from < to; ++from) {
        if (bytes[from] != kCanaryByte) return false;
    }
    return true;
}

inline uint32_t guard_check(const void* block, uint32_t size) {
    return ~size ^ static_cast<uint32_t>(reinterpret_cast<uintptr_t>(block) >> 4);
}

/// Guards `block` of `capacity` bytes behind its first `size`. size + sizeof(Guard) <= capacity < 4 GiB.
inline void write_guard(void* block, size_t size, size_t capacity) {
    const auto size32 = static_cast<uint32_t>(size);
    const Guard guard{size32, guard_check(block, size32)};
    fill_canary(block, size, capacity - sizeof(Guard));
    __builtin_memcpy(static_cast<uint8_t*>(block) + capacity - sizeof(Guard), &guard, sizeof(Guard));
}

/// The size that `block` was guarded with; nothing if what lies behind it was written to.
inline std::optional<size_t> read_guard(const void* block, size_t capacity) {
    Guard guard;
    __builtin_memcpy(&guard, static_cast<const uint8_t*>(block) + capacity - sizeof(Guard), sizeof(Guard));
    const bool plausible =
        guard.check == guard_check(block, guard.size) && guard.size <= capacity - sizeof(Guard);
    if (!plausible || !canary_intact(block, guard.size, capacity - sizeof(Guard))) return std::nullopt;
    return guard.size;
}

}  // namespace bareflow
