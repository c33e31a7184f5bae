// What the processor can do, and what the system has enabled: CPUID and XCR0 together (Intel SDM 2A "CPUID", 1 13.3).
#pragma once

#include <cstdint>
#include <string_view>

#include "arch/base/format.h"

namespace bareflow {

/// Named after CPUID's own flags. A feature whose registers XCR0 does not enable is false: using it would fault.
struct CpuFeatures {
    bool sse2 = false, sse3 = false, ssse3 = false, sse4_1 = false, sse4_2 = false;
    bool avx = false, avx2 = false, fma = false, f16c = false, bmi2 = false, erms = false;
    bool avx512f = false, avx512bw = false, avx512dq = false, avx512vl = false;
    bool avx512_vnni = false, avx512_bf16 = false, avx_vnni = false;
    bool xsave = false, nx = false, smep = false, smap = false, umip = false, page_1g = false;
    bool invariant_tsc = false, x2apic = false, hypervisor = false;

    bool operator==(const CpuFeatures&) const = default;
};

struct CpuidRegisters {
    uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

/// Where CPUID leaves and XCR0 come from: the processor, or a recorded one in tests.
class CpuidReader {
 public:
    virtual CpuidRegisters cpuid(uint32_t leaf, uint32_t subleaf) const = 0;
    /// XCR0, only asked for when CPUID says that OSXSAVE is on.
    virtual uint64_t xcr0() const = 0;

 protected:
    ~CpuidReader() = default;
};

CpuFeatures cpu_detect_features(const CpuidReader& reader);
/// The brand string ("AMD EPYC 9R14"), trimmed; the vendor's name where there is none.
FixedString<48> cpu_brand(const CpuidReader& reader);
/// The names of all features that are on, separated by spaces, in declaration order.
FixedString<400> describe(const CpuFeatures& features);

/// One bit a feature, the first declared is bit 0: as snapshots store them. So a new feature is declared last, or
/// kRoutineAbi counts up.
uint64_t feature_bits(const CpuFeatures& features);
CpuFeatures features_of_bits(uint64_t bits);

}  // namespace bareflow
