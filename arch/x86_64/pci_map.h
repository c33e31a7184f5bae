// Registers of PCI devices in memory: mapped uncached, and never over anything else.
#pragma once

#include "arch/x86_64/pci.h"

namespace bareflow {

/// The address of [offset, offset + size) of what a base address register locates, mapped uncached. kUnsupported: no
/// memory, too small, without a place (the firmware gave it none), or where RAM is.
Result<uint64_t> map_pci_registers(PciAddress address, const PciBar& bar, uint64_t offset, uint64_t size);

}  // namespace bareflow
