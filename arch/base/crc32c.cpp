#include "arch/base/crc32c.h"

#include <array>

namespace bareflow {
namespace {

constexpr size_t kSlices = 8;
using Tables = std::array<std::array<uint32_t, 256>, kSlices>;

/// kTables[s][b]: what byte b does to the CRC when s more bytes follow it in the same step ("slicing by 8").
constexpr Tables make_tables() {
    constexpr uint32_t kPolynomial = 0x82F63B78;
    Tables tables{};
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
    return tables;
}

constexpr Tables kTables = make_tables();

}  // namespace

uint32_t crc32c(ByteSpan bytes, uint32_t crc) {
    const uint8_t* p = bytes.data();
    size_t left = bytes.size();
    crc = ~crc;
    for (; left >= kSlices; left -= kSlices, p += kSlices) {
        uint64_t chunk;
        __builtin_memcpy(&chunk, p, sizeof chunk);
        chunk ^= crc;
        crc = 0;
        for (size_t i = 0; i < kSlices; ++i) crc ^= kTables[kSlices - 1 - i][(chunk >> (8 * i)) & 0xFF];
    }
    for (; left > 0; --left, ++p) crc = (crc >> 8) ^ kTables[0][(crc ^ *p) & 0xFF];
    return ~crc;
}

}  // namespace bareflow
