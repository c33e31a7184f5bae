#include "arch/x86_64/fw_cfg.h"

#include <cstdint>

#include "arch/x86_64/cpu.h"

namespace bareflow {
namespace {

constexpr uint16_t kSelectorPort = 0x510, kDataPort = 0x511;
constexpr uint16_t kSignature = 0x0000, kFileDirectory = 0x0019;

/// A directory entry; numbers are big-endian.
struct File {
    uint32_t size;
    uint16_t select, reserved;
    char name[56];
};
static_assert(sizeof(File) == 64);
constexpr uint32_t kMaxFiles = 1024;

void read_bytes(void* out, size_t size) {
    for (size_t i = 0; i < size; ++i) static_cast<uint8_t*>(out)[i] = cpu::in8(kDataPort);
}

}  // namespace

bool fw_cfg_present() {
    char signature[4];
    cpu::out16(kSelectorPort, kSignature);
    read_bytes(signature, sizeof signature);
    return std::string_view(signature, sizeof signature) == "QEMU";
}

size_t fw_cfg_read(std::string_view name, std::span<char> out) {
    if (!fw_cfg_present()) return 0;
    uint32_t count;
    cpu::out16(kSelectorPort, kFileDirectory);
    read_bytes(&count, sizeof count);
    count = __builtin_bswap32(count);
    for (uint32_t i = 0; i < count && i < kMaxFiles; ++i) {
        File file;
        read_bytes(&file, sizeof file);
        std::string_view file_name(file.name, sizeof file.name);
        if (file_name.substr(0, file_name.find('\0')) != name) continue;
        const size_t size = __builtin_bswap32(file.size);
        cpu::out16(kSelectorPort, __builtin_bswap16(file.select));
        read_bytes(out.data(), size < out.size() ? size : out.size());
        return size;
    }
    return 0;
}

}  // namespace bareflow
