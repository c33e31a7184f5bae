#include "arch/x86_64/local_apic.h"

#include "arch/x86_64/clock.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/interrupts.h"
#include "arch/x86_64/memory.h"

namespace bareflow {
namespace {

// Registers by their xAPIC offset; the x2APIC MSR is 0x800 + offset / 16 (table 10-6).
enum Register : uint32_t {
    kId = 0x020,
    kTaskPriority = 0x080,
    kEndOfInterrupt = 0x0B0,
    kSpuriousVector = 0x0F0,
    kCommandLow = 0x300,
    kCommandHigh = 0x310,
    kTimerEntry = 0x320,
    kThermalEntry = 0x330,
    kPerformanceEntry = 0x340,
    kTimerInitialCount = 0x380,
    kTimerCurrentCount = 0x390,
    kTimerDivide = 0x3E0,
};
constexpr uint64_t kBaseEnabled = 1u << 11, kBaseX2Apic = 1u << 10, kBaseAddressMask = 0xF'FFFF'F000;
constexpr uint32_t kSoftwareEnable = 1u << 8, kMasked = 1u << 16;
constexpr uint32_t kDivideBy16 = 0x3;
constexpr uint32_t kDeliveryPending = 1u << 12, kLevelAssert = 1u << 14, kDeliveryModeShift = 8;
constexpr uint32_t kXApicIdShift = 24, kXApicEverybody = 0xFF;
constexpr uint64_t kApicPageSize = 4096;
constexpr uint64_t kMeasureNs = 1'000'000;
constexpr int kCpuidApicBit = 9;

constinit bool present = false, x2apic = false;
constinit uint64_t page = 0;
constinit uint64_t ticks_per_ms = 0;
constinit TscClock* wall_clock = nullptr;

void write(Register reg, uint32_t value) {
    if (x2apic) {
        cpu::write_msr(cpu::kMsrX2ApicFirst + reg / 16, value);
    } else {
        *reinterpret_cast<volatile uint32_t*>(page + reg) = value;
    }
}
uint32_t read(Register reg) {
    if (x2apic) return static_cast<uint32_t>(cpu::read_msr(cpu::kMsrX2ApicFirst + reg / 16));
    return *reinterpret_cast<const volatile uint32_t*>(page + reg);
}

}  // namespace

void initialise_local_apic(TscClock& clock) {
    wall_clock = &clock;
    if (!(cpu::cpuid(1, 0).edx >> kCpuidApicBit & 1)) return;
    const uint64_t base = cpu::read_msr(cpu::kMsrApicBase);
    if (!(base & kBaseEnabled)) return;
    x2apic = base & kBaseX2Apic;
    page = base & kBaseAddressMask;
    if (!x2apic && !map_device(page, kApicPageSize).ok()) return;

    write(kSpuriousVector, kSoftwareEnable | kVectorSpurious);
    write(kTaskPriority, 0);
    write(kThermalEntry, kMasked);
    write(kPerformanceEntry, kMasked);
    write(kTimerDivide, kDivideBy16);
    write(kTimerEntry, kMasked | kVectorTimer);
    write(kTimerInitialCount, UINT32_MAX);
    const uint64_t begin = clock.now_ns();
    while (clock.now_ns() - begin < kMeasureNs) cpu::pause();
    const uint64_t elapsed = clock.now_ns() - begin;
    const uint64_t ticks = UINT32_MAX - read(kTimerCurrentCount);
    write(kTimerInitialCount, 0);
    ticks_per_ms = ticks * 1'000'000 / elapsed;
    present = ticks_per_ms != 0;
    if (present) write(kTimerEntry, kVectorTimer);
}

void local_apic_sleep(uint64_t ns) {
    if (!present) {
        const uint64_t begin = wall_clock->now_ns();
        while (wall_clock->now_ns() - begin < ns) cpu::pause();
        return;
    }
    const uint64_t ticks = ns * ticks_per_ms / 1'000'000;
    write(kTimerInitialCount, ticks == 0           ? 1
                              : ticks > UINT32_MAX ? UINT32_MAX
                                                   : static_cast<uint32_t>(ticks));
    cpu::enable_interrupts_and_halt();
    write(kTimerInitialCount, 0);
}

bool local_apic_present() { return present; }

uint32_t local_apic_id() {
    if (!present) return 0;
    return x2apic ? read(kId) : read(kId) >> kXApicIdShift;
}

bool local_apic_reaches(uint32_t id) { return x2apic || id < kXApicEverybody; }

void enable_local_apic_of_this_core() {
    if (x2apic) cpu::write_msr(cpu::kMsrApicBase, cpu::read_msr(cpu::kMsrApicBase) | kBaseX2Apic);
    write(kSpuriousVector, kSoftwareEnable | kVectorSpurious);
    write(kTaskPriority, 0);
    write(kThermalEntry, kMasked);
    write(kPerformanceEntry, kMasked);
    write(kTimerEntry, kMasked | kVectorTimer);
}

void local_apic_send(uint32_t id, Ipi mode, uint8_t vector) {
    if (!present) return;
    const uint32_t command = vector | mode << kDeliveryModeShift | kLevelAssert;
    if (x2apic) {  // one write; unlike a store it does not wait for earlier stores (10.12.3)
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        cpu::write_msr(cpu::kMsrX2ApicFirst + kCommandLow / 16, uint64_t{id} << 32 | command);
        return;
    }
    while (read(kCommandLow) & kDeliveryPending) cpu::pause();
    write(kCommandHigh, id << kXApicIdShift);
    write(kCommandLow, command);
}

/// Called from inside an interrupt: integer registers only, which a store or WRMSR of a constant is.
void local_apic_end_of_interrupt() {
    if (present) write(kEndOfInterrupt, 0);
}

}  // namespace bareflow
