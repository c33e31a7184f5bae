// Virtio devices on the PCI bus (virtio 1.2, 4.1): by their capabilities where they have them (modern), else by the ports
// of the legacy interface (4.1.4.10).
#pragma once

#include "arch/base/allocator.h"
#include "arch/x86_64/pci.h"
#include "arch/x86_64/virtio_blk.h"

namespace bareflow {

/// Whether the function is a virtio block device, modern or transitional.
bool is_virtio_block(const PciFunction& function);

/// Enables the function and gives the way to it, kept for good. Errors: as map_pci_registers(), kOutOfMemory.
Result<VirtioTransport*> open_virtio(PciConfig& config, PciAddress address, Allocator& allocator);

}  // namespace bareflow
