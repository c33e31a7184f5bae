#include "arch/x86_64/clock.h"

#include "arch/x86_64/cpu.h"

namespace bareflow {
namespace {

// 8254 programmable interval timer, channel 2: gate and output are in port 0x61, so no interrupt is needed.
constexpr uint16_t kPitChannel2 = 0x42, kPitCommand = 0x43, kSpeakerPort = 0x61;
constexpr uint8_t kPitChannel2OneShot = 0xB0;  // channel 2, low then high byte, mode 0: output rises at zero
constexpr uint8_t kGate = 0x01, kSpeaker = 0x02, kOutput = 0x20;
constexpr uint64_t kPitHz = 1'193'182;
/// TSCs run at 100 MHz to 100 GHz.
constexpr uint64_t kMinTicks = 100'000 * TscClock::kCalibrationMs, kMaxTicks = 1000 * kMinTicks;

/// Ticks of the TSC while the PIT counts kCalibrationMs; 0 if it does not, as where a PC has its clock gated off: then
/// its output never rises, or is high at once.
uint64_t tsc_ticks_per_calibration() {
    constexpr uint16_t kCount = kPitHz * TscClock::kCalibrationMs / 1000;
    const uint8_t saved = cpu::in8(kSpeakerPort);
    cpu::out8(kSpeakerPort, (saved & ~kSpeaker) | kGate);
    cpu::out8(kPitCommand, kPitChannel2OneShot);
    cpu::out8(kPitChannel2, kCount & 0xFF);
    cpu::out8(kPitChannel2, kCount >> 8);
    const uint64_t begin = cpu::read_tsc();
    uint64_t elapsed = 0;
    while (!(cpu::in8(kSpeakerPort) & kOutput) && elapsed < kMaxTicks) elapsed = cpu::read_tsc() - begin;
    cpu::out8(kSpeakerPort, saved);
    return elapsed < kMinTicks || elapsed >= kMaxTicks ? 0 : elapsed;
}

/// What CPUID says of the TSC's frequency (Intel SDM 2A, leaves 15H and 16H); 0 if nothing.
uint64_t cpuid_tsc_hz() {
    const uint32_t max_leaf = cpu::cpuid(0, 0).eax;
    if (max_leaf >= 0x15) {
        const CpuidRegisters r = cpu::cpuid(0x15, 0);
        if (r.eax != 0 && r.ebx != 0 && r.ecx != 0) return uint64_t{r.ecx} * r.ebx / r.eax;
    }
    if (max_leaf >= 0x16) return uint64_t{cpu::cpuid(0x16, 0).eax & 0xFFFF} * 1'000'000;
    return 0;
}

}  // namespace

void TscClock::start() { start_ = cpu::read_tsc(); }

void TscClock::calibrate() {
    if (const uint64_t ticks = tsc_ticks_per_calibration(); ticks != 0) {
        frequency_hz_ = ticks * 1000 / kCalibrationMs;
        source_ = "pit";
    } else if (const uint64_t hz = cpuid_tsc_hz(); hz != 0) {
        frequency_hz_ = hz;
        source_ = "cpuid";
    }
}

uint64_t TscClock::now_ns() {
    constexpr uint64_t kNsPerSecond = 1'000'000'000;
    const uint64_t ticks = cpu::read_tsc() - start_;
    // Whole seconds apart, so that nothing overflows for centuries.
    return ticks / frequency_hz_ * kNsPerSecond + ticks % frequency_hz_ * kNsPerSecond / frequency_hz_;
}

}  // namespace bareflow
