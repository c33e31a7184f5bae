#include "arch/x86_64/packed/unpack.h"

#include "arch/x86_64/packed/x86_filter.h"

namespace bareflow {
namespace {

/// CRC-32 with the polynomial of RFC 1952 section 8, four bits at a time.
uint32_t crc32_of(const uint8_t* bytes, size_t size) {
    constexpr uint32_t kPolynomial = 0xEDB88320;
    uint32_t table[16];
    for (uint32_t i = 0; i < 16; ++i) {
        table[i] = i;
        for (int bit = 0; bit < 4; ++bit) table[i] = table[i] >> 1 ^ (table[i] & 1 ? kPolynomial : 0);
    }
    uint32_t crc = ~0u;
    for (size_t i = 0; i < size; ++i) {
        crc ^= bytes[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

}  // namespace

const char* unpack_kernel(LzmaModel& model, const uint8_t* packed, size_t packed_bytes, uint8_t* out,
                          size_t out_bytes, uint32_t crc32) {
    if (!lzma_unpack(model, packed, packed_bytes, out, out_bytes)) return "it does not unpack";
    undo_x86_filter(out, out_bytes);
    return crc32_of(out, out_bytes) == crc32 ? nullptr : "its CRC is wrong";
}

}  // namespace bareflow
