#include "arch/base/crc32c.h"

#include <algorithm>
#include <array>
#include <atomic>

namespace bareflow {
namespace {

constexpr size_t kSlices = 8;
using Tables = std::array<std::array<uint32_t, 256>, kSlices>;

/// tables[s][b]: what byte b does to the CRC when s more bytes follow it in the same step ("slicing by 8").
void fill(Tables& tables) {
    constexpr uint32_t kPolynomial = 0x82F63B78;
    for (uint32_t byte = 0; byte < 256; ++byte) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? kPolynomial : 0);
        tables[0][byte] = crc;
    }
    for (size_t slice = 1; slice < kSlices; ++slice) {
        for (uint32_t byte = 0; byte < 256; ++byte) {
            uint32_t previous = tables[slice - 1][byte];
            tables[slice][byte] = (previous >> 8) ^ tables[0][previous & 0xFF];
        }
    }
}

/// Filled at the first use, which takes some 10 µs: 8 KiB less in an image.
const Tables& filled_tables() {
    static constinit Tables tables{};
    static constinit std::atomic<bool> filled = false;
    if (!filled.load(std::memory_order_acquire)) {
        fill(tables);  // two threads that come first both write the same
        filled.store(true, std::memory_order_release);
    }
    return tables;
}

constinit std::atomic<bool> by_instruction = false;

/// On the running CRC's complement, 8 bytes at a time (SDM 2A "CRC32").
[[gnu::target("sse4.2")]] uint32_t add_by_instruction(const uint8_t* p, size_t size, uint32_t crc) {
    uint64_t wide = crc;
    for (; size >= sizeof wide; size -= sizeof wide, p += sizeof wide) {
        uint64_t chunk;
        __builtin_memcpy(&chunk, p, sizeof chunk);
        wide = __builtin_ia32_crc32di(wide, chunk);
    }
    crc = static_cast<uint32_t>(wide);
    for (; size > 0; --size, ++p) crc = __builtin_ia32_crc32qi(crc, *p);
    return crc;
}

}  // namespace

void crc32c_by_instruction(bool use) { by_instruction.store(use, std::memory_order_relaxed); }

bool crc32c_uses_instruction() { return by_instruction.load(std::memory_order_relaxed); }

void crc32c_by_what_is_quicker(Clock& clock) {
    const Tables& sample = filled_tables();
    uint64_t least[2] = {UINT64_MAX, UINT64_MAX};
    for (int i = 0; i < 6; ++i) {
        crc32c_by_instruction(i % 2 != 0);
        const uint64_t began = clock.now_ns();
        const volatile uint32_t crc = crc32c({reinterpret_cast<const uint8_t*>(&sample), sizeof sample});
        static_cast<void>(crc);
        least[i % 2] = std::min(least[i % 2], clock.now_ns() - began);
    }
    crc32c_by_instruction(least[1] < least[0]);
}

uint32_t crc32c(ByteSpan bytes, uint32_t crc) {
    if (crc32c_uses_instruction()) return ~add_by_instruction(bytes.data(), bytes.size(), ~crc);
    const Tables& tables = filled_tables();
    const uint8_t* p = bytes.data();
    size_t left = bytes.size();
    crc = ~crc;
    for (; left >= kSlices; left -= kSlices, p += kSlices) {
        uint64_t chunk;
        __builtin_memcpy(&chunk, p, sizeof chunk);
        chunk ^= crc;
        crc = 0;
        for (size_t i = 0; i < kSlices; ++i) crc ^= tables[kSlices - 1 - i][(chunk >> (8 * i)) & 0xFF];
    }
    for (; left > 0; --left, ++p) crc = (crc >> 8) ^ tables[0][(crc ^ *p) & 0xFF];
    return ~crc;
}

}  // namespace bareflow
