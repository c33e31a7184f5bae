// The stub's part in C++: 32 bits, no paging, on the stack of enter.S.
#include "arch/x86_64/loaded_model.h"
#include "arch/x86_64/packed/unpack.h"

namespace bareflow {
namespace {

constinit LzmaModel stub_model{};

uint8_t* at(uint32_t address) { return reinterpret_cast<uint8_t*>(static_cast<uintptr_t>(address)); }

}  // namespace

extern "C" {
// packed.mk and stub.ld
extern const PackedHeader packed_header;
extern const uint8_t packed_kernel[], packed_kernel_end[];
extern const uint32_t unpacked_crc32;
extern uint8_t unpacked_kernel[], unpacked_kernel_end[];

/// Puts the kernel where it belongs, and what it is to know of its model. The address to go on at; 0, with *reason: it is damaged.
uint32_t unpack_and_place(const char** reason) {
    *reason = unpack_kernel(stub_model, packed_kernel, static_cast<size_t>(packed_kernel_end - packed_kernel),
                            unpacked_kernel, static_cast<size_t>(unpacked_kernel_end - unpacked_kernel),
                            unpacked_crc32);
    if (*reason != nullptr) return 0;
    UnpackedHeader header;
    __builtin_memcpy(&header, unpacked_kernel, sizeof header);
    const uint8_t* from = unpacked_kernel + sizeof header;
    for (const UnpackedHeader::Part& part : header.parts) {
        uint8_t* to = at(part.address);
        for (uint32_t i = 0; i < part.bytes; ++i) to[i] = *from++;
    }
    auto* const model = reinterpret_cast<LoadedModel*>(at(header.loaded_model));
    if (packed_header.model_bytes != 0) *model = {packed_header.model_address, packed_header.model_bytes};
    return header.entry;
}
}

}  // namespace bareflow
