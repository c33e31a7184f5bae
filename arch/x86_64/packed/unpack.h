// What a packed kernel is made of (README.md "Packed kernels"). One segment behind the kernel's end carries, from its first byte:
//
//     PackedHeader | the stub: enter.S, unpack | the kernel, packed
//
// Unpacked, the kernel is an UnpackedHeader and then its parts, each of which goes to its own address.
#pragma once

#include "arch/x86_64/packed/lzma.h"

namespace bareflow {

/// What a tool may change in a packed image's file: a model is put behind it, as a program segment at model_address.
struct PackedHeader {
    uint8_t magic[8];        ///< kPackedMagic
    uint32_t model_address;  ///< where a model goes, a multiple of a page: all memory from there on is free
    uint32_t model_bytes;    ///< 0: there is none
};
static_assert(sizeof(PackedHeader) == 16 && offsetof(PackedHeader, model_bytes) == 12);
constexpr uint8_t kPackedMagic[8] = {'B', 'F', 'P', 'A', 'C', 'K', 'E', 'D'};

struct UnpackedHeader {
    uint32_t entry;         ///< the kernel's, in 32 bits
    uint32_t loaded_model;  ///< address of its LoadedModel
    struct Part {
        uint32_t address, bytes;
    } parts[3];
};
static_assert(sizeof(UnpackedHeader) == 32);

/// Why a kernel cannot be unpacked; nullptr: it was. `out` has `out_bytes`, whose CRC-32 (as in gzip, RFC 1952) is `crc32`.
const char* unpack_kernel(LzmaModel& model, const uint8_t* packed, size_t packed_bytes, uint8_t* out,
                          size_t out_bytes, uint32_t crc32);

}  // namespace bareflow
