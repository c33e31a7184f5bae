// All disks of the machine: virtio block devices and SATA disks behind AHCI, on the PCI bus.
#pragma once

#include <span>

#include "arch/base/log.h"
#include "arch/base/terminal.h"
#include "persist/block_device.h"

namespace bareflow {

/// Finds and starts them; once, when memory and the clock are there. Each has a record in the log, `disk name=virtio0 …`
/// or `disk_refused …` with the reason, and `disks` tells how many there are and what the search took. Names are virtio0,
/// virtio1, … and ahci0, …, in the order of PCI addresses and ports.
void initialise_disks(Clock& clock, LogSink& log);

/// Those that were started; empty before initialise_disks().
std::span<BlockDevice* const> disks();

}  // namespace bareflow
