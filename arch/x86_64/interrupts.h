// Descriptor tables, and what happens on an exception or interrupt.
#pragma once

#include <cstdint>

namespace bareflow {

/// What interrupt_entry.S leaves on the stack, lowest address first.
struct InterruptFrame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
    uint64_t vector, error_code;
    uint64_t rip, cs, rflags, rsp, ss;  ///< pushed by the processor (Intel SDM 3A 6.14.2)
};
static_assert(sizeof(InterruptFrame) == 22 * 8);

enum Vector : uint8_t {
    kVectorDivide = 0,
    kVectorNmi = 2,
    kVectorInvalidOpcode = 6,
    kVectorDoubleFault = 8,
    kVectorGeneralProtection = 13,
    kVectorPageFault = 14,
    kVectorMachineCheck = 18,
    kFirstDeviceVector = 32,
    kVectorTimer = 0x40,
    kVectorWake = 0x41,  ///< from core to core
    kVectorSpurious = 0xFF,
};

/// Loads GDT, TSS and IDT; masks the two legacy interrupt controllers. Interrupts stay disabled.
void initialise_interrupts();

/// GDT, TSS and IDT of another core, which runs this; its stacks are known to core_table.h.
void load_tables_of_core(unsigned core);

/// Runs function(argument). If it faults, the fault is not reported but returned: false, with the frame in `fault`
/// and, for a page fault, its address. Recovery points nest; a machine check or NMI is never recovered from. On core 0
/// only.
bool run_recoverable(void (*function)(void*), void* argument, InterruptFrame& fault, uint64_t& fault_address);

}  // namespace bareflow
