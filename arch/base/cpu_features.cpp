#include "arch/base/cpu_features.h"

#include "arch/base/text.h"

namespace bareflow {

static_assert(sizeof(CpuFeatures) == 27, "flags only; a new one changes this number, and see feature_bits()");

namespace {

constexpr bool bit(uint64_t word, int index) { return (word >> index) & 1; }

// XCR0 (Intel SDM 1 13.3): what state XSAVE keeps, and so what may be used.
constexpr uint64_t kXcr0Avx = 0x6;      // SSE and AVX
constexpr uint64_t kXcr0Avx512 = 0xE6;  // and opmask, ZMM_Hi256, Hi16_ZMM

constexpr uint32_t kExtendedLeaves = 0x80000000;

}  // namespace

CpuFeatures cpu_detect_features(const CpuidReader& reader) {
    CpuFeatures f;
    const uint32_t max_leaf = reader.cpuid(0, 0).eax;
    const CpuidRegisters one = reader.cpuid(1, 0);
    f.sse2 = bit(one.edx, 26);
    f.sse3 = bit(one.ecx, 0);
    f.ssse3 = bit(one.ecx, 9);
    f.sse4_1 = bit(one.ecx, 19);
    f.sse4_2 = bit(one.ecx, 20);
    f.x2apic = bit(one.ecx, 21);
    f.xsave = bit(one.ecx, 26);
    f.hypervisor = bit(one.ecx, 31);

    const bool osxsave = bit(one.ecx, 27);
    const uint64_t xcr0 = osxsave ? reader.xcr0() : 0;
    const bool avx_state = (xcr0 & kXcr0Avx) == kXcr0Avx;
    const bool avx512_state = (xcr0 & kXcr0Avx512) == kXcr0Avx512;
    f.avx = bit(one.ecx, 28) && avx_state;
    f.fma = bit(one.ecx, 12) && f.avx;
    f.f16c = bit(one.ecx, 29) && f.avx;

    if (max_leaf >= 7) {
        const CpuidRegisters seven = reader.cpuid(7, 0);
        f.avx2 = bit(seven.ebx, 5) && f.avx;
        f.smep = bit(seven.ebx, 7);
        f.bmi2 = bit(seven.ebx, 8);
        f.erms = bit(seven.ebx, 9);
        f.smap = bit(seven.ebx, 20);
        f.umip = bit(seven.ecx, 2);
        f.avx512f = bit(seven.ebx, 16) && f.avx2 && avx512_state;
        f.avx512dq = bit(seven.ebx, 17) && f.avx512f;
        f.avx512bw = bit(seven.ebx, 30) && f.avx512f;
        f.avx512vl = bit(seven.ebx, 31) && f.avx512f;
        f.avx512_vnni = bit(seven.ecx, 11) && f.avx512f;
        if (seven.eax >= 1) {
            const CpuidRegisters seven_one = reader.cpuid(7, 1);
            f.avx_vnni = bit(seven_one.eax, 4) && f.avx2;
            f.avx512_bf16 = bit(seven_one.eax, 5) && f.avx512f;
        }
    }
    const uint32_t max_extended = reader.cpuid(kExtendedLeaves, 0).eax;
    if (max_extended >= kExtendedLeaves + 1) {
        const CpuidRegisters extended = reader.cpuid(kExtendedLeaves + 1, 0);
        f.nx = bit(extended.edx, 20);
        f.page_1g = bit(extended.edx, 26);
    }
    if (max_extended >= kExtendedLeaves + 7)
        f.invariant_tsc = bit(reader.cpuid(kExtendedLeaves + 7, 0).edx, 8);
    return f;
}

FixedString<48> cpu_brand(const CpuidReader& reader) {
    auto append_register = [](FixedString<48>& out, uint32_t value) {
        for (int i = 0; i < 4; ++i) {
            char c = static_cast<char>(value >> (8 * i));
            if (c != 0) out.append({&c, 1});
        }
    };
    FixedString<48> brand;
    if (reader.cpuid(kExtendedLeaves, 0).eax >= kExtendedLeaves + 4) {
        for (uint32_t leaf = kExtendedLeaves + 2; leaf <= kExtendedLeaves + 4; ++leaf) {
            CpuidRegisters r = reader.cpuid(leaf, 0);
            for (uint32_t value : {r.eax, r.ebx, r.ecx, r.edx}) append_register(brand, value);
        }
    }
    if (trimmed(brand.view()).empty()) {
        brand.clear();
        CpuidRegisters r = reader.cpuid(0, 0);
        for (uint32_t value : {r.ebx, r.edx, r.ecx}) append_register(brand, value);
    }
    return FixedString<48>(trimmed(brand.view()));
}

FixedString<400> describe(const CpuFeatures& f) {
    static constexpr struct {
        bool CpuFeatures::*feature;
        const char* name;
    } kAll[] = {
        {&CpuFeatures::sse2, "sse2"},
        {&CpuFeatures::sse3, "sse3"},
        {&CpuFeatures::ssse3, "ssse3"},
        {&CpuFeatures::sse4_1, "sse4_1"},
        {&CpuFeatures::sse4_2, "sse4_2"},
        {&CpuFeatures::avx, "avx"},
        {&CpuFeatures::avx2, "avx2"},
        {&CpuFeatures::fma, "fma"},
        {&CpuFeatures::f16c, "f16c"},
        {&CpuFeatures::bmi2, "bmi2"},
        {&CpuFeatures::erms, "erms"},
        {&CpuFeatures::avx512f, "avx512f"},
        {&CpuFeatures::avx512bw, "avx512bw"},
        {&CpuFeatures::avx512dq, "avx512dq"},
        {&CpuFeatures::avx512vl, "avx512vl"},
        {&CpuFeatures::avx512_vnni, "avx512_vnni"},
        {&CpuFeatures::avx512_bf16, "avx512_bf16"},
        {&CpuFeatures::avx_vnni, "avx_vnni"},
        {&CpuFeatures::xsave, "xsave"},
        {&CpuFeatures::nx, "nx"},
        {&CpuFeatures::smep, "smep"},
        {&CpuFeatures::smap, "smap"},
        {&CpuFeatures::umip, "umip"},
        {&CpuFeatures::page_1g, "page_1g"},
        {&CpuFeatures::invariant_tsc, "invariant_tsc"},
        {&CpuFeatures::x2apic, "x2apic"},
        {&CpuFeatures::hypervisor, "hypervisor"},
    };
    FixedString<400> text;
    for (const auto& feature : kAll) {
        if (!(f.*feature.feature)) continue;
        if (!text.empty()) text.append(" ");
        text.append(feature.name);
    }
    return text;
}

uint64_t feature_bits(const CpuFeatures& features) {
    bool flags[sizeof features];
    __builtin_memcpy(flags, &features, sizeof features);
    uint64_t bits = 0;
    for (size_t i = 0; i < sizeof flags; ++i) bits |= uint64_t{flags[i]} << i;
    return bits;
}

CpuFeatures features_of_bits(uint64_t bits) {
    bool flags[sizeof(CpuFeatures)];
    for (size_t i = 0; i < sizeof flags; ++i) flags[i] = (bits >> i & 1) != 0;
    CpuFeatures features;
    __builtin_memcpy(&features, flags, sizeof features);
    return features;
}

}  // namespace bareflow
