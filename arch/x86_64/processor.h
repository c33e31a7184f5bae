// Brings the boot processor into the state that the rest relies on, and tells what it can do.
#pragma once

#include "arch/base/cpu_features.h"

namespace bareflow {

/// The running processor's CPUID and XCR0.
class RunningCpu final : public CpuidReader {
 public:
    CpuidRegisters cpuid(uint32_t leaf, uint32_t subleaf) const override;
    uint64_t xcr0() const override;
};

/// Enables SSE, and AVX and AVX-512 state where supported; NX, write protection, SMEP, UMIP; sets MXCSR; gives musl's
/// libm its stack canary. Returns the features that are usable afterwards.
CpuFeatures cpu_detect_features();

/// The same on another core, which runs this, once its control registers are those of the first one.
void prepare_other_core();

}  // namespace bareflow
