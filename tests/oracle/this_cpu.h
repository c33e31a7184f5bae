// What this CPU can do, without the host's platform.
#pragma once

#include <cpuid.h>

#include "arch/base/cpu_features.h"

namespace bareflow {

/// This machine's own processor.
struct RealCpu final : CpuidReader {
    CpuidRegisters cpuid(uint32_t leaf, uint32_t subleaf) const override {
        CpuidRegisters r;
        __cpuid_count(leaf, subleaf, r.eax, r.ebx, r.ecx, r.edx);
        return r;
    }
    uint64_t xcr0() const override {
        uint32_t low, high;
        asm("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        return uint64_t{high} << 32 | low;
    }
};

inline const CpuFeatures& this_cpu() {
    static const CpuFeatures features = cpu_detect_features(RealCpu());
    return features;
}

}  // namespace bareflow
