#include "arch/base/cpu_features.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

#include "tests/oracle/this_cpu.h"

namespace bareflow {
namespace {

/// A recorded processor: leaves as it reports them, zeroes for all others, and what its system put into XCR0.
struct RecordedCpu : CpuidReader {
    std::map<std::pair<uint32_t, uint32_t>, CpuidRegisters> leaves;
    std::optional<uint64_t> xcr0_value;

    CpuidRegisters cpuid(uint32_t leaf, uint32_t subleaf) const override {
        auto found = leaves.find({leaf, subleaf});
        return found == leaves.end() ? CpuidRegisters{} : found->second;
    }
    uint64_t xcr0() const override {
        EXPECT_TRUE(xcr0_value.has_value()) << "xgetbv without OSXSAVE is #UD";
        return xcr0_value.value_or(0);
    }
};

constexpr uint64_t kXcr0Sse = 0x3, kXcr0Avx = 0x7, kXcr0Avx512 = 0xE7;

/// AMD EPYC (Zen 3) in a virtual machine, as a cpuid program printed it.
RecordedCpu zen3_guest() {
    RecordedCpu cpu;
    cpu.leaves = {
        {{0x0, 0}, {0x0000000D, 0x68747541, 0x444D4163, 0x69746E65}},
        {{0x1, 0}, {0x00A00F11, 0x00020800, 0xFFFA3203, 0x178BFBFF}},
        {{0x7, 0}, {0x00000000, 0x219C07AB, 0x00400684, 0x00000010}},
        {{0x80000000, 0}, {0x80000021, 0x68747541, 0x444D4163, 0x69746E65}},
        {{0x80000001, 0}, {0x00A00F11, 0x40000000, 0x004003F3, 0x2FD3FBFF}},
        {{0x80000002, 0}, {0x20444D41, 0x43595045, 0x00000000, 0x00000000}},
        {{0x80000007, 0}, {0x00000000, 0x00000000, 0x00000000, 0x00000100}},
    };
    cpu.xcr0_value = kXcr0Avx;
    return cpu;
}

/// Intel Core i7-4770 (Haswell).
RecordedCpu haswell() {
    RecordedCpu cpu;
    cpu.leaves = {
        {{0x0, 0}, {0x0000000D, 0x756E6547, 0x6C65746E, 0x49656E69}},
        {{0x1, 0}, {0x000306C3, 0x00100800, 0x7FFAFBFF, 0xBFEBFBFF}},
        {{0x7, 0}, {0x00000000, 0x000027AB, 0x00000000, 0x00000000}},
        {{0x80000000, 0}, {0x80000008, 0, 0, 0}},
        {{0x80000001, 0}, {0x00000000, 0x00000000, 0x00000021, 0x2C100800}},
        {{0x80000007, 0}, {0x00000000, 0x00000000, 0x00000000, 0x00000100}},
    };
    cpu.xcr0_value = kXcr0Avx;
    return cpu;
}

/// Intel Core i9-7900X (Skylake-X) under a system that enabled AVX-512.
RecordedCpu skylake_x() {
    RecordedCpu cpu = haswell();
    cpu.leaves[{0x0, 0}].eax = 0x16;
    cpu.leaves[{0x1, 0}] = {0x00050654, 0x00200800, 0x7FFEFBFF, 0xBFEBFBFF};
    cpu.leaves[{0x7, 0}] = {0x00000000, 0xD39FFFFB, 0x00000000, 0x00000000};
    cpu.leaves[{0x80000001, 0}] = {0x00000000, 0x00000000, 0x00000121, 0x2C100800};
    cpu.xcr0_value = kXcr0Avx512;
    return cpu;
}

/// AMD Athlon 64 (K8): the first x86-64, with SSE2 and no more.
RecordedCpu athlon64() {
    RecordedCpu cpu;
    cpu.leaves = {
        {{0x0, 0}, {0x00000001, 0x68747541, 0x444D4163, 0x69746E65}},
        {{0x1, 0}, {0x00000F4A, 0x00000800, 0x00000000, 0x078BFBFF}},
        {{0x80000000, 0}, {0x80000018, 0x68747541, 0x444D4163, 0x69746E65}},
        {{0x80000001, 0}, {0x00000F4A, 0x00000106, 0x00000000, 0xE1D3FBFF}},
    };
    return cpu;
}

std::string features_of(const RecordedCpu& cpu) {
    return std::string(describe(cpu_detect_features(cpu)).view());
}

TEST(CpuFeatures, OfRecordedProcessorsAreRecognised) {
    EXPECT_EQ(features_of(zen3_guest()),
              "sse2 sse3 ssse3 sse4_1 sse4_2 avx avx2 fma f16c bmi2 erms xsave nx smep smap umip page_1g "
              "invariant_tsc x2apic hypervisor");
    EXPECT_EQ(features_of(haswell()),
              "sse2 sse3 ssse3 sse4_1 sse4_2 avx avx2 fma f16c bmi2 erms xsave nx smep page_1g invariant_tsc "
              "x2apic");
    EXPECT_EQ(features_of(skylake_x()),
              "sse2 sse3 ssse3 sse4_1 sse4_2 avx avx2 fma f16c bmi2 erms avx512f avx512bw avx512dq avx512vl "
              "xsave nx "
              "smep smap page_1g invariant_tsc x2apic");
    EXPECT_EQ(features_of(athlon64()), "sse2 nx");
}

TEST(CpuFeatures, Avx512NeedsAllItsStateEnabled) {
    for (uint64_t xcr0 : {uint64_t{0x07}, uint64_t{0x27}, uint64_t{0x67}, uint64_t{0xA7}, uint64_t{0xC7},
                          uint64_t{0xE1}, uint64_t{0xE3}, uint64_t{0xE5}}) {
        RecordedCpu cpu = skylake_x();
        cpu.xcr0_value = xcr0;
        const CpuFeatures f = cpu_detect_features(cpu);
        EXPECT_FALSE(f.avx512f || f.avx512bw || f.avx512dq || f.avx512vl || f.avx512_vnni)
            << std::hex << xcr0;
        const bool avx_enabled = (xcr0 & 6) == 6;
        EXPECT_EQ(f.avx, avx_enabled) << std::hex << xcr0;
        EXPECT_EQ(f.avx2 && f.fma && f.f16c, avx_enabled) << std::hex << xcr0;
    }
}

TEST(CpuFeatures, AvxNeedsItsStateEnabled) {
    RecordedCpu cpu = skylake_x();
    cpu.xcr0_value = kXcr0Sse;
    const CpuFeatures f = cpu_detect_features(cpu);
    EXPECT_FALSE(f.avx || f.avx2 || f.fma || f.f16c || f.avx512f);
    EXPECT_TRUE(f.sse4_2 && f.bmi2 && f.xsave);  // general registers and SSE need nothing from XCR0
}

TEST(CpuFeatures, WithoutOsxsaveXcr0IsNotReadAndAvxIsOff) {
    RecordedCpu cpu = skylake_x();
    cpu.leaves[{1, 0}].ecx &= ~uint32_t{bit_OSXSAVE};
    cpu.xcr0_value.reset();  // reading it would fail the test
    const CpuFeatures f = cpu_detect_features(cpu);
    EXPECT_FALSE(f.avx || f.avx2 || f.fma || f.avx512f);
    EXPECT_TRUE(f.xsave && f.sse4_2);
}

// The bits have names in GCC's <cpuid.h>: an oracle that does not share this code's numbers.
TEST(CpuFeatures, EachFollowsItsOwnBit) {
    const struct {
        uint32_t leaf, subleaf;
        uint32_t CpuidRegisters::*where;
        uint32_t mask;
        bool CpuFeatures::*feature;
    } bits[] = {
        {1, 0, &CpuidRegisters::edx, bit_SSE2, &CpuFeatures::sse2},
        {1, 0, &CpuidRegisters::ecx, bit_SSE3, &CpuFeatures::sse3},
        {1, 0, &CpuidRegisters::ecx, bit_SSSE3, &CpuFeatures::ssse3},
        {1, 0, &CpuidRegisters::ecx, bit_SSE4_1, &CpuFeatures::sse4_1},
        {1, 0, &CpuidRegisters::ecx, bit_SSE4_2, &CpuFeatures::sse4_2},
        {1, 0, &CpuidRegisters::ecx, bit_XSAVE, &CpuFeatures::xsave},
        {1, 0, &CpuidRegisters::ecx, bit_AVX, &CpuFeatures::avx},
        {1, 0, &CpuidRegisters::ecx, bit_FMA, &CpuFeatures::fma},
        {1, 0, &CpuidRegisters::ecx, bit_F16C, &CpuFeatures::f16c},
        {7, 0, &CpuidRegisters::ebx, bit_AVX2, &CpuFeatures::avx2},
        {7, 0, &CpuidRegisters::ebx, bit_BMI2, &CpuFeatures::bmi2},
        {7, 0, &CpuidRegisters::ebx, bit_AVX512F, &CpuFeatures::avx512f},
        {7, 0, &CpuidRegisters::ebx, bit_AVX512BW, &CpuFeatures::avx512bw},
        {7, 0, &CpuidRegisters::ebx, bit_AVX512DQ, &CpuFeatures::avx512dq},
        {7, 0, &CpuidRegisters::ebx, bit_AVX512VL, &CpuFeatures::avx512vl},
        {7, 0, &CpuidRegisters::ecx, bit_AVX512VNNI, &CpuFeatures::avx512_vnni},
        {7, 1, &CpuidRegisters::eax, bit_AVXVNNI, &CpuFeatures::avx_vnni},
        {7, 1, &CpuidRegisters::eax, bit_AVX512BF16, &CpuFeatures::avx512_bf16},
    };
    RecordedCpu everything = skylake_x();
    everything.leaves[{7, 0}].eax = 1;
    everything.leaves[{7, 0}].ecx |= bit_AVX512VNNI;
    everything.leaves[{7, 1}].eax = bit_AVXVNNI | bit_AVX512BF16;
    for (const auto& bit : bits) {
        ASSERT_TRUE(cpu_detect_features(everything).*bit.feature) << std::hex << bit.leaf << " " << bit.mask;
        RecordedCpu without = everything;
        without.leaves[{bit.leaf, bit.subleaf}].*bit.where &= ~bit.mask;
        EXPECT_FALSE(cpu_detect_features(without).*bit.feature) << std::hex << bit.leaf << " " << bit.mask;
    }
}

TEST(CpuFeatures, WhatBuildsOnAMissingFeatureIsMissingToo) {
    RecordedCpu cpu = skylake_x();
    cpu.leaves[{7, 0}].eax = 1;
    cpu.leaves[{7, 1}].eax = bit_AVXVNNI | bit_AVX512BF16;
    cpu.leaves[{7, 0}].ebx &= ~uint32_t{bit_AVX512F};  // as a virtual machine may mask it
    CpuFeatures f = cpu_detect_features(cpu);
    EXPECT_FALSE(f.avx512bw || f.avx512dq || f.avx512vl || f.avx512_bf16);
    EXPECT_TRUE(f.avx_vnni && f.avx2);
    cpu.leaves[{1, 0}].ecx &= ~uint32_t{bit_AVX};
    f = cpu_detect_features(cpu);
    EXPECT_FALSE(f.avx || f.avx2 || f.fma || f.f16c || f.avx_vnni);
}

TEST(CpuFeatures, LeavesBeyondTheLargestAreNotBelieved) {
    RecordedCpu cpu = skylake_x();
    cpu.leaves[{0, 0}].eax = 6;  // "limit CPUID" of old firmware: leaf 7 then repeats another leaf's values
    EXPECT_FALSE(cpu_detect_features(cpu).avx2);
    cpu = skylake_x();
    cpu.leaves[{7, 1}].eax = ~0u;  // leaf 7 says that it has no sub-leaf 1
    EXPECT_FALSE(cpu_detect_features(cpu).avx_vnni);
    cpu.leaves[{0x80000000, 0}].eax = 0x80000000;
    CpuFeatures f = cpu_detect_features(cpu);
    EXPECT_FALSE(f.nx || f.page_1g || f.invariant_tsc);
}

TEST(CpuFeatures, OfThisMachineAgreeWithTheCompilersRuntime) {
    const CpuFeatures f = cpu_detect_features(RealCpu());
    EXPECT_EQ(f.ssse3, __builtin_cpu_supports("ssse3") != 0);
    EXPECT_EQ(f.sse4_2, __builtin_cpu_supports("sse4.2") != 0);
    EXPECT_EQ(f.avx, __builtin_cpu_supports("avx") != 0);
    EXPECT_EQ(f.avx2, __builtin_cpu_supports("avx2") != 0);
    EXPECT_EQ(f.fma, __builtin_cpu_supports("fma") != 0);
    EXPECT_EQ(f.avx512f, __builtin_cpu_supports("avx512f") != 0);
    EXPECT_EQ(f.avx512_vnni, __builtin_cpu_supports("avx512vnni") != 0);
}

TEST(CpuBrand, IsTrimmedAndFallsBackToTheVendor) {
    EXPECT_EQ(cpu_brand(zen3_guest()).view(), "AMD EPYC");
    EXPECT_EQ(cpu_brand(haswell()).view(), "GenuineIntel");  // recorded without its brand string
    RecordedCpu cpu = haswell();
    const char brand[49] = "      Intel(R) Core(TM) i7-4770 CPU @ 3.40GHz   ";
    for (uint32_t i = 0; i < 3; ++i) {
        CpuidRegisters& r = cpu.leaves[{0x80000002 + i, 0}];
        __builtin_memcpy(&r, brand + i * sizeof r, sizeof r);
    }
    EXPECT_EQ(cpu_brand(cpu).view(), "Intel(R) Core(TM) i7-4770 CPU @ 3.40GHz");
}

TEST(Describe, NamesEveryFeature) {
    CpuFeatures all;
    static_assert(sizeof all == 27, "a new feature wants a name in describe()");
    __builtin_memset(static_cast<void*>(&all), 1, sizeof all);
    std::istringstream words{std::string(describe(all).view())};
    std::string word, last;
    int count = 0;
    for (; words >> word; ++count) last = word;
    EXPECT_EQ(count, 27);
    EXPECT_EQ(last, "hypervisor");
    EXPECT_TRUE(describe({}).empty());
}

}  // namespace
}  // namespace bareflow
