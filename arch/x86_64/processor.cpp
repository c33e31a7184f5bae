#include "arch/x86_64/processor.h"

#include "arch/x86_64/cpu.h"
#include "arch/x86_64/image.h"

namespace bareflow {
namespace {

// XSAVE state components (Intel SDM 1 13.1), and CPUID leaf 0DH that lists the supported ones.
constexpr uint64_t kXcr0Sse = 0x3, kXcr0Avx = 0x4, kXcr0Avx512 = 0xE0;
constexpr uint32_t kCpuidXsaveLeaf = 0xD;

// Page attribute table (Intel SDM 3A 11.12): a byte an entry, of which entry 1 becomes write-combining, for video memory
// (mm/page_table.h). The others stay as from reset; nothing is mapped by entry 1 yet.
constexpr int kCpuidPatBit = 16;  // leaf 1, EDX
constexpr uint64_t kPatEntry1 = 0xFF00, kPatEntry1WriteCombining = 0x0100;

/// What %fs points to: musl's libm reads a canary at offset 0x28, as the x86-64 ABI for TLS lays it out.
struct ThreadBlock {
    uint64_t unused[5];
    uint64_t stack_canary;
};
static_assert(offsetof(ThreadBlock, stack_canary) == 0x28);
constinit ThreadBlock thread_block{{}, 0x5AFEC0DE'0BADF00D};  // only read: one for all cores
constinit uint64_t enabled_state = 0;                         ///< XCR0; 0: there is none

void set_page_attributes() {
    if (!(cpu::cpuid(1, 0).edx >> kCpuidPatBit & 1)) return;
    cpu::write_msr(cpu::kMsrPat, (cpu::read_msr(cpu::kMsrPat) & ~kPatEntry1) | kPatEntry1WriteCombining);
}

}  // namespace

CpuidRegisters RunningCpu::cpuid(uint32_t leaf, uint32_t subleaf) const { return cpu::cpuid(leaf, subleaf); }
uint64_t RunningCpu::xcr0() const { return cpu::read_xcr0(); }

CpuFeatures cpu_detect_features() {
    const RunningCpu reader;
    const CpuFeatures supported = cpu_detect_features(reader);
    cpu::write_cr0((cpu::read_cr0() & ~cpu::kCr0Emulation) | cpu::kCr0MonitorCoprocessor |
                   cpu::kCr0WriteProtect);
    uint64_t cr4 = cpu::read_cr4() | cpu::kCr4MachineCheck | cpu::kCr4OsFxsr | cpu::kCr4OsXmmExceptions;
    if (supported.xsave) cr4 |= cpu::kCr4OsXsave;
    if (supported.smep) cr4 |= cpu::kCr4Smep;
    if (supported.umip) cr4 |= cpu::kCr4Umip;
    cpu::write_cr4(cr4);
    if (supported.xsave) {
        const uint64_t offered = cpu::cpuid(kCpuidXsaveLeaf, 0).eax;
        uint64_t enabled = kXcr0Sse | (offered & kXcr0Avx);
        if ((enabled & kXcr0Avx) && (offered & kXcr0Avx512) == kXcr0Avx512) enabled |= kXcr0Avx512;
        cpu::write_xcr0(enabled);
        enabled_state = enabled;
    }
    if (supported.nx) cpu::write_msr(cpu::kMsrEfer, cpu::read_msr(cpu::kMsrEfer) | cpu::kEferNoExecute);
    cpu::write_mxcsr(cpu::kMxcsr);
    cpu::write_msr(cpu::kMsrFsBase, address_of(&thread_block));
    set_page_attributes();
    return cpu_detect_features(reader);
}

void prepare_other_core() {
    if (enabled_state != 0) cpu::write_xcr0(enabled_state);
    cpu::write_mxcsr(cpu::kMxcsr);
    cpu::write_msr(cpu::kMsrFsBase, address_of(&thread_block));
    set_page_attributes();
}

}  // namespace bareflow
