// Every instruction that C++ cannot say, one function each, over named constants. Nothing else in the kernel's
// C++ sources contains inline assembly; longer sequences stand in .S files.
#pragma once

#include <cstdint>

#include "arch/base/cpu_features.h"

namespace bareflow::cpu {

// Control registers (Intel SDM 3A 2.5).
constexpr uint64_t kCr0MonitorCoprocessor = 1u << 1;
constexpr uint64_t kCr0Emulation = 1u << 2;
constexpr uint64_t kCr0WriteProtect = 1u << 16;
constexpr uint64_t kCr4MachineCheck = 1u << 6;
constexpr uint64_t kCr4OsFxsr = 1u << 9;
constexpr uint64_t kCr4OsXmmExceptions = 1u << 10;
constexpr uint64_t kCr4Umip = 1u << 11;
constexpr uint64_t kCr4OsXsave = 1u << 18;
constexpr uint64_t kCr4Smep = 1u << 20;

// Model-specific registers (Intel SDM 4).
constexpr uint32_t kMsrApicBase = 0x1B;
constexpr uint32_t kMsrPat = 0x277;
constexpr uint32_t kMsrX2ApicFirst = 0x800;
constexpr uint32_t kMsrEfer = 0xC0000080;
constexpr uint32_t kMsrFsBase = 0xC0000100;
constexpr uint64_t kEferNoExecute = 1u << 11;

/// Round to nearest even, no flushing, all exceptions masked: the numbers' contract (DESIGN.md).
constexpr uint32_t kMxcsr = 0x1F80;

inline uint64_t read_cr0() {
    uint64_t v;
    asm volatile("mov %%cr0, %0" : "=r"(v));
    return v;
}
inline uint64_t read_cr2() {
    uint64_t v;
    asm volatile("mov %%cr2, %0" : "=r"(v));
    return v;
}
inline uint64_t read_cr3() {
    uint64_t v;
    asm volatile("mov %%cr3, %0" : "=r"(v));
    return v;
}
inline uint64_t read_cr4() {
    uint64_t v;
    asm volatile("mov %%cr4, %0" : "=r"(v));
    return v;
}
inline void write_cr0(uint64_t v) { asm volatile("mov %0, %%cr0" ::"r"(v) : "memory"); }
inline void write_cr3(uint64_t v) { asm volatile("mov %0, %%cr3" ::"r"(v) : "memory"); }
inline void write_cr4(uint64_t v) { asm volatile("mov %0, %%cr4" ::"r"(v) : "memory"); }
inline void invalidate_page(uint64_t address) { asm volatile("invlpg (%0)" ::"r"(address) : "memory"); }

inline uint64_t read_msr(uint32_t msr) {
    uint32_t low, high;
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (uint64_t{high} << 32) | low;
}
inline void write_msr(uint32_t msr, uint64_t value) {
    asm volatile("wrmsr" ::"c"(msr), "a"(static_cast<uint32_t>(value)),
                 "d"(static_cast<uint32_t>(value >> 32))
                 : "memory");
}
inline uint64_t read_xcr0() {
    uint32_t low, high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t{high} << 32) | low;
}
inline void write_xcr0(uint64_t value) {
    asm volatile("xsetbv" ::"c"(0), "a"(static_cast<uint32_t>(value)), "d"(static_cast<uint32_t>(value >> 32))
                 : "memory");
}
inline void write_mxcsr(uint32_t value) { asm volatile("ldmxcsr %0" ::"m"(value)); }

inline CpuidRegisters cpuid(uint32_t leaf, uint32_t subleaf) {
    CpuidRegisters r;
    asm volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
    return r;
}
inline uint64_t read_tsc() {
    uint32_t low, high;
    asm volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t{high} << 32) | low;
}
/// One hardware random number; false if the CPU had none ready. Only where CPUID says RDRAND (leaf 1, ECX bit 30).
inline bool read_random(uint64_t& value) {
    bool ok;
    asm volatile("rdrand %0" : "=r"(value), "=@ccc"(ok));
    return ok;
}

inline uint8_t in8(uint16_t port) {
    uint8_t v;
    asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
inline uint16_t in16(uint16_t port) {
    uint16_t v;
    asm volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
inline uint32_t in32(uint16_t port) {
    uint32_t v;
    asm volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
inline void out8(uint16_t port, uint8_t v) { asm volatile("outb %0, %1" ::"a"(v), "Nd"(port)); }
inline void out16(uint16_t port, uint16_t v) { asm volatile("outw %0, %1" ::"a"(v), "Nd"(port)); }
inline void out32(uint16_t port, uint32_t v) { asm volatile("outl %0, %1" ::"a"(v), "Nd"(port)); }

inline void pause() { asm volatile("pause"); }
/// Lets one interrupt in while halted. STI takes effect after HLT has begun, so a wake-up cannot be missed.
inline void enable_interrupts_and_halt() { asm volatile("sti; hlt; cli" ::: "memory"); }
[[noreturn]] inline void halt_forever() {
    for (;;) asm volatile("cli; hlt");
}

/// Operand of LGDT and LIDT (Intel SDM 3A 2.4.1).
struct [[gnu::packed]] DescriptorTablePointer {
    uint16_t limit;
    uint64_t base;
};
inline void load_gdt(const DescriptorTablePointer& gdt) { asm volatile("lgdt %0" ::"m"(gdt) : "memory"); }
inline void load_idt(const DescriptorTablePointer& idt) { asm volatile("lidt %0" ::"m"(idt) : "memory"); }
inline void load_task_register(uint16_t selector) { asm volatile("ltr %0" ::"r"(selector) : "memory"); }

}  // namespace bareflow::cpu
