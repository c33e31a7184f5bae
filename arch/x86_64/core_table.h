// What belongs to each core: its stacks, its descriptor tables, its number. Core 0 is the one that booted; the others are
// numbered as they come up (cores.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "arch/x86_64/image.h"

namespace bareflow {

constexpr unsigned kMaxCores = 64;

// The stacks of one more core, from one run of frames: guard page, stack, then for each slot of the IST guard page and stack.
constexpr size_t kCoreStackSize = 32 * 1024;
constexpr size_t kIstSlotSize = kStackGuardSize + kIstStackSize;
constexpr size_t kCoreStacksSize = kStackGuardSize + kCoreStackSize + kIstCount * kIstSlotSize;

/// The number of the core that runs this.
unsigned core_number();
/// Cores that came up, the first one included; each has its number below.
unsigned core_count();
uint32_t apic_id_of_core(unsigned core);
/// Core number core_count() is up: it has this APIC id.
void add_core(uint32_t apic_id);
/// Core 0 is the running one.
void name_first_core(uint32_t apic_id);

/// Where the stacks of a core other than 0 lie; to be set before it starts.
void set_core_stacks(unsigned core, uint64_t start);
uint64_t core_stack_top(unsigned core);
/// The top of a core's interrupt stack, for any core.
uint64_t core_ist_top(unsigned core, size_t slot);
enum class StackPlace : uint8_t { kElsewhere, kGuard, kStack };
/// Whether the address is in the stacks of a core other than 0.
StackPlace core_stack_place(uint64_t address);

}  // namespace bareflow
