#include "arch/x86_64/pci_map.h"

#include "arch/x86_64/memory.h"
#include "mm/align.h"

namespace bareflow {
namespace {

/// More than any register file here has; each page of it is a page table entry.
constexpr uint64_t kMostRegisters = 1 << 20;
/// Identity-mapped, so that the address must be a canonical one of the lower half (Intel SDM 1, 3.3.7.1).
constexpr uint64_t kIdentityLimit = uint64_t{1} << 47;

}  // namespace

Result<uint64_t> map_pci_registers(PciAddress address, const PciBar& bar, uint64_t offset, uint64_t size) {
    auto refuse = [&](std::string_view why) {
        return Error::make(ErrorCode::kUnsupported, "PCI {}: its register file at {:x} {}",
                           describe(address).view(), bar.base, why);
    };
    if (bar.io) return refuse("is not in memory");
    if (bar.base == 0) return refuse("has no place: the firmware did not give it one");
    if (size == 0 || size > kMostRegisters || !fits(offset, size, bar.size)) return refuse("is too small");
    if (!fits(bar.base, bar.size, kIdentityLimit)) return refuse("lies beyond what can be mapped");

    const uint64_t start = bar.base + offset;
    TRY(map_device(start, size));
    // What was mapped before stays as it was: RAM, cached, if a device claims to be there.
    for (uint64_t page = align_down(start, kFrameSize); page < start + size; page += kFrameSize) {
        const std::optional<Mapping> mapping = address_space().lookup(page);
        if (!mapping || mapping->rights != kDevice) return refuse("lies where RAM is");
    }
    return start;
}

}  // namespace bareflow
