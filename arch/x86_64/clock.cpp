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

/// A span of time in ticks of the TSC, and how much it may be wrong by.
struct Ticks {
    uint64_t count = 0, error = 0;
    /// Half a percent: the host of a virtual machine may stop it between the timer and a reading.
    bool is_close() const { return error <= count / 200; }
};

/// Ticks of the TSC while the PIT counts kCalibrationMs; none if it does not, as where a PC has its clock gated off: then
/// its output never rises, or is high at once.
Ticks ticks_per_calibration() {
    constexpr uint16_t kCount = kPitHz * TscClock::kCalibrationMs / 1000;
    const uint8_t saved = cpu::in8(kSpeakerPort);
    cpu::out8(kSpeakerPort, (saved & ~kSpeaker) | kGate);
    cpu::out8(kPitCommand, kPitChannel2OneShot);
    cpu::out8(kPitChannel2, kCount & 0xFF);
    const uint64_t before = cpu::read_tsc();
    cpu::out8(kPitChannel2, kCount >> 8);
    const uint64_t begun = cpu::read_tsc();
    uint64_t low = begun, high = begun;  // read last before the output rose, and first afterwards
    while (!(cpu::in8(kSpeakerPort) & kOutput) && low - begun < kMaxTicks) low = cpu::read_tsc();
    high = cpu::read_tsc();
    cpu::out8(kSpeakerPort, saved);
    const Ticks ticks{(low + high - before - begun) / 2, (begun - before + high - low) / 2};
    return ticks.count < kMinTicks || ticks.count >= kMaxTicks ? Ticks{} : ticks;
}

/// The closest of a few measurements; 0 if there is none.
uint64_t tsc_ticks_per_calibration() {
    constexpr int kMostTries = 8;
    Ticks best;
    for (int i = 0; i < kMostTries; ++i) {
        const Ticks ticks = ticks_per_calibration();
        if (ticks.count == 0) break;
        if (best.count == 0 || ticks.error < best.error) best = ticks;
        if (best.is_close()) break;
    }
    return best.count;
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
