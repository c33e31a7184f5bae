// Compiled with -mgeneral-regs-only: interrupts ask for their core's number.
#include "arch/x86_64/core_table.h"

#include <atomic>

#include "arch/x86_64/local_apic.h"

namespace bareflow {
namespace {

constinit uint32_t apic_ids[kMaxCores] = {};
constinit std::atomic<unsigned> count = 1;

}  // namespace

/// Read by the other cores' entry, ap_entry.S: the tops of their stacks.
extern "C" {
extern uint64_t ap_stack_tops[kMaxCores];
constinit uint64_t ap_stack_tops[kMaxCores] = {};
}

unsigned core_number() {
    const unsigned cores = count.load(std::memory_order_acquire);
    if (cores == 1) return 0;
    const uint32_t id = local_apic_id();
    for (unsigned core = 0; core < cores; ++core) {
        if (apic_ids[core] == id) return core;
    }
    return 0;
}
unsigned core_count() { return count.load(std::memory_order_acquire); }
uint32_t apic_id_of_core(unsigned core) { return apic_ids[core]; }
void add_core(uint32_t apic_id) {
    const unsigned core = count.load(std::memory_order_relaxed);
    apic_ids[core] = apic_id;
    count.store(core + 1, std::memory_order_release);
}
void name_first_core(uint32_t apic_id) { apic_ids[0] = apic_id; }

void set_core_stacks(unsigned core, uint64_t start) {
    ap_stack_tops[core] = start + kStackGuardSize + kCoreStackSize;
}
uint64_t core_stack_top(unsigned core) { return ap_stack_tops[core]; }
uint64_t core_ist_top(unsigned core, size_t slot) {
    return core == 0 ? ist_top(slot) : ap_stack_tops[core] + (slot + 1) * kIstSlotSize;
}

StackPlace core_stack_place(uint64_t address) {
    for (unsigned core = 1; core < kMaxCores; ++core) {
        const uint64_t top = ap_stack_tops[core];
        const uint64_t offset = address - (top - kCoreStackSize - kStackGuardSize);
        if (top == 0 || offset >= kCoreStacksSize) continue;
        if (offset < kStackGuardSize) return StackPlace::kGuard;
        if (address < top) return StackPlace::kStack;
        return (address - top) % kIstSlotSize < kStackGuardSize ? StackPlace::kGuard : StackPlace::kStack;
    }
    return StackPlace::kElsewhere;
}

}  // namespace bareflow
