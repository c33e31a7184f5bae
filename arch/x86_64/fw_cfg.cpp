#include "arch/x86_64/fw_cfg.h"

#include <atomic>

#include "arch/x86_64/cpu.h"

namespace bareflow {
namespace {

constexpr uint16_t kSelectorPort = 0x510, kDataPort = 0x511;
constexpr uint16_t kDmaHighPort = 0x514, kDmaLowPort = 0x518;  ///< big-endian; writing the low half starts
constexpr uint16_t kSignature = 0x0000, kIdentity = 0x0001, kFileDirectory = 0x0019;
constexpr uint32_t kIdentityHasDma = 1 << 1;

/// A directory entry; numbers are big-endian.
struct File {
    uint32_t size;
    uint16_t select, reserved;
    char name[56];
};
static_assert(sizeof(File) == 64);
constexpr uint32_t kMaxFiles = 1024;

/// What the device is told to do; numbers are big-endian. It is done when nothing of `control` but an error is left.
struct DmaAccess {
    static constexpr uint32_t kError = 1 << 0, kRead = 1 << 1, kSelect = 1 << 3;
    static constexpr unsigned kSelectorShift = 16;

    uint32_t control, length;
    uint64_t address;
};

void select(uint16_t item) { cpu::out16(kSelectorPort, item); }
void read_bytes(void* out, size_t size) {
    for (size_t i = 0; i < size; ++i) static_cast<uint8_t*>(out)[i] = cpu::in8(kDataPort);
}
bool has_dma() {
    uint32_t identity;
    select(kIdentity);
    read_bytes(&identity, sizeof identity);
    return (identity & kIdentityHasDma) != 0;
}

/// Memory is mapped by identity, so a pointer is a physical address.
bool read_by_dma(const FwCfgFile& file, uint8_t* out, size_t size) {
    const uint32_t command =
        uint32_t{file.select} << DmaAccess::kSelectorShift | DmaAccess::kSelect | DmaAccess::kRead;
    volatile DmaAccess access = {__builtin_bswap32(command), __builtin_bswap32(static_cast<uint32_t>(size)),
                                 __builtin_bswap64(reinterpret_cast<uintptr_t>(out))};
    const auto place = reinterpret_cast<uintptr_t>(&access);
    cpu::out32(kDmaHighPort, __builtin_bswap32(static_cast<uint32_t>(place >> 32)));
    std::atomic_signal_fence(std::memory_order_seq_cst);  // the command is in memory
    cpu::out32(kDmaLowPort, __builtin_bswap32(static_cast<uint32_t>(place)));
    uint32_t left;
    do {
        left = __builtin_bswap32(access.control);
    } while ((left & ~DmaAccess::kError) != 0);
    std::atomic_signal_fence(std::memory_order_seq_cst);  // the device has written to `out`
    return (left & DmaAccess::kError) == 0;
}

}  // namespace

bool fw_cfg_present() {
    char signature[4];
    select(kSignature);
    read_bytes(signature, sizeof signature);
    return std::string_view(signature, sizeof signature) == "QEMU";
}

std::optional<FwCfgFile> fw_cfg_find(std::string_view name) {
    if (!fw_cfg_present()) return {};
    uint32_t count;
    select(kFileDirectory);
    read_bytes(&count, sizeof count);
    count = __builtin_bswap32(count);
    for (uint32_t i = 0; i < count && i < kMaxFiles; ++i) {
        File file;
        read_bytes(&file, sizeof file);
        const std::string_view file_name(file.name, sizeof file.name);
        if (file_name.substr(0, file_name.find('\0')) == name)
            return FwCfgFile{__builtin_bswap32(file.size), __builtin_bswap16(file.select)};
    }
    return {};
}

size_t fw_cfg_read(const FwCfgFile& file, std::span<uint8_t> out) {
    const size_t size = file.size < out.size() ? file.size : out.size();
    if (has_dma() && read_by_dma(file, out.data(), size)) return size;
    select(file.select);
    read_bytes(out.data(), size);
    return size;
}

}  // namespace bareflow
