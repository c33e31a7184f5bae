// Compiled with -mgeneral-regs-only: what runs here may return to code whose vector registers are not saved.
#include "arch/x86_64/interrupts.h"

#include "arch/x86_64/core_table.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/fault.h"
#include "arch/x86_64/image.h"
#include "arch/x86_64/local_apic.h"

namespace bareflow {

/// A place to go on from when a probe faults. The layout is known to interrupt_entry.S.
struct RecoveryPoint {
    uint64_t stack_pointer;
    RecoveryPoint* outer;
    InterruptFrame fault;
    uint64_t fault_address;
};

extern "C" {
extern const uint8_t interrupt_stubs[], recovery_landing[];
bool call_with_recovery_point(RecoveryPoint* point, void (*function)(void*), void* argument);
void interrupt_dispatch(InterruptFrame* frame);
}

namespace {

constexpr size_t kStubSize = 16;
constexpr uint16_t kKernelCode = 0x08, kKernelData = 0x10, kTaskState = 0x18;

// Interrupt stack table slots (1-based in a gate). Each class of fault has its own stack.
enum IstSlot : uint8_t {
    kIstDoubleFault = 1,
    kIstNmi,
    kIstMachineCheck,
    kIstPageFault,
    kIstOtherFault,
    kIstDevice
};

/// Intel SDM 3A 7.7.
struct [[gnu::packed]] TaskStateSegment {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[kIstCount];
    uint64_t reserved2;
    uint16_t reserved3, io_map_base;
};
static_assert(sizeof(TaskStateSegment) == 104);

/// Intel SDM 3A 6.14.1.
struct IdtGate {
    uint16_t offset_low, selector;
    uint8_t ist, type;
    uint16_t offset_middle;
    uint32_t offset_high, reserved;
};
static_assert(sizeof(IdtGate) == 16);
constexpr uint8_t kInterruptGate = 0x8E;

constexpr size_t kVectors = 256;
alignas(16) constinit IdtGate idt[kVectors]{};  // for all cores

/// What each core has of its own: a TSS names the stacks, and a GDT the TSS.
struct CoreTables {
    TaskStateSegment task_state;
    uint64_t gdt[5];
};
constinit CoreTables core_tables[kMaxCores]{};
constinit RecoveryPoint* recovery = nullptr;

constexpr uint8_t ist_of(size_t vector) {
    switch (vector) {
        case kVectorDoubleFault:
            return kIstDoubleFault;
        case kVectorNmi:
            return kIstNmi;
        case kVectorMachineCheck:
            return kIstMachineCheck;
        case kVectorPageFault:
            return kIstPageFault;
        default:
            return vector < kFirstDeviceVector ? kIstOtherFault : kIstDevice;
    }
}

void load_gdt_and_task(unsigned core) {
    constexpr uint64_t kCode64 = 0x00209A0000000000, kData = 0x0000920000000000,
                       kAvailableTss = 0x0000890000000000;
    auto& [task_state, gdt] = core_tables[core];
    const uint64_t base = address_of(&task_state), limit = sizeof task_state - 1;
    gdt[1] = kCode64;
    gdt[2] = kData;
    gdt[3] = limit | ((base & 0xFFFFFF) << 16) | kAvailableTss | ((base >> 24 & 0xFF) << 56);
    gdt[4] = base >> 32;
    for (size_t i = 0; i < kIstCount; ++i) task_state.ist[i] = core_ist_top(core, i);
    task_state.io_map_base = sizeof task_state;
    cpu::load_gdt({sizeof gdt - 1, address_of(gdt)});
    cpu::load_task_register(kTaskState);
}

void load_idt() {
    for (size_t vector = 0; vector < kVectors; ++vector) {
        const uint64_t stub = address_of(interrupt_stubs) + vector * kStubSize;
        idt[vector] = {static_cast<uint16_t>(stub),
                       kKernelCode,
                       ist_of(vector),
                       kInterruptGate,
                       static_cast<uint16_t>(stub >> 16),
                       static_cast<uint32_t>(stub >> 32),
                       0};
    }
    cpu::load_idt({sizeof idt - 1, address_of(idt)});
}

/// The 8259s are moved off the exceptions' vectors and masked: the local APIC's timer is all that interrupts.
void mask_legacy_controllers() {
    constexpr uint16_t kMasterCommand = 0x20, kMasterData = 0x21, kSlaveCommand = 0xA0, kSlaveData = 0xA1;
    constexpr uint8_t kInitialise = 0x11, kMode8086 = 0x01, kAllMasked = 0xFF;
    cpu::out8(kMasterCommand, kInitialise);
    cpu::out8(kSlaveCommand, kInitialise);
    cpu::out8(kMasterData, kFirstDeviceVector);
    cpu::out8(kSlaveData, kFirstDeviceVector + 8);
    cpu::out8(kMasterData, 4);  // the slave hangs on input 2
    cpu::out8(kSlaveData, 2);
    cpu::out8(kMasterData, kMode8086);
    cpu::out8(kSlaveData, kMode8086);
    cpu::out8(kMasterData, kAllMasked);
    cpu::out8(kSlaveData, kAllMasked);
}

bool recoverable(uint64_t vector) {
    return vector < kFirstDeviceVector && vector != kVectorNmi && vector != kVectorMachineCheck &&
           vector != kVectorDoubleFault;
}

}  // namespace

void initialise_interrupts() {
    load_gdt_and_task(0);
    load_idt();
    mask_legacy_controllers();
}

void load_tables_of_core(unsigned core) {
    load_gdt_and_task(core);
    cpu::load_idt({sizeof idt - 1, address_of(idt)});
}

bool run_recoverable(void (*function)(void*), void* argument, InterruptFrame& fault,
                     uint64_t& fault_address) {
    RecoveryPoint point{};
    point.outer = recovery;
    recovery = &point;
    const bool finished = call_with_recovery_point(&point, function, argument);
    recovery = point.outer;
    if (!finished) {
        fault = point.fault;
        fault_address = point.fault_address;
    }
    return finished;
}

extern "C" void interrupt_dispatch(InterruptFrame* frame) {
    if (frame->vector >= kFirstDeviceVector) {
        // The timer, or another core, has done its work by waking the processor; anything else the firmware left armed. Only a spurious
        // interrupt is not in service.
        if (frame->vector != kVectorSpurious) local_apic_end_of_interrupt();
        return;
    }
    if (recovery != nullptr && recoverable(frame->vector) && core_number() == 0) {
        recovery->fault = *frame;
        recovery->fault_address = cpu::read_cr2();
        frame->rdi = reinterpret_cast<uint64_t>(recovery);
        frame->rip = address_of(recovery_landing);
        frame->rsp = recovery->stack_pointer;
        return;
    }
    report_fault_and_stop(*frame);
}

}  // namespace bareflow
