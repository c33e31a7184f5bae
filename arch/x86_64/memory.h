// The kernel's memory: frames, page tables and heap of mm, put together from what the boot loader said.
#pragma once

#include <cstdint>

#include "arch/base/cpu_features.h"
#include "arch/base/result.h"
#include "arch/x86_64/fault.h"
#include "arch/x86_64/multiboot2.h"
#include "mm/heap.h"
#include "mm/page_table.h"

namespace bareflow {

/// Builds the frame allocator, the final page tables and the heap, and switches to them.
///
/// All RAM is identity-mapped, read-write and not executable, with the largest pages that fit; inside it the kernel's
/// sections and the boot modules get their own rights, and page 0 and the stacks' guard pages are unmapped. No frame
/// is mapped twice, so no other mapping can undo those rights.
Result<void> initialise_memory(const BootInformation& boot, const CpuFeatures& cpu);

FrameAllocator& frames();
AddressSpace& address_space();
Heap& heap();

/// Identity-maps registers of a device, uncached. Mapping the same page again is fine.
Result<void> map_device(uint64_t physical, uint64_t size);
/// Identity-maps video memory, write-combining (write-through without PAT). kInvalid: some of it is mapped already, or not
/// within the lower half of the address space; such as RAM, which a firmware would then have given out twice.
Result<void> map_video(uint64_t physical, uint64_t size);
/// Identity-maps tables that the firmware left (ACPI), read-only, where they are not in mapped RAM already.
Result<void> map_firmware(uint64_t physical, uint64_t size);

/// Counts changes of the page tables: another core that has seen fewer must forget its translations.
uint32_t page_table_changes();

/// A page of RAM below 1 MiB that nobody uses, for cores that start in real mode; 0 if there is none.
uint64_t low_page();

/// place_of for what lies outside the kernel's image: heap (RAM), device, or unmapped.
Place memory_place_of(uint64_t address);

}  // namespace bareflow
