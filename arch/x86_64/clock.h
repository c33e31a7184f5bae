// Wall time from the time-stamp counter, calibrated once against the PIT.
#pragma once

#include <cstdint>

#include "arch/base/terminal.h"

namespace bareflow {

class TscClock final : public Clock {
 public:
    /// Time counts from here.
    void start();
    /// Measures the counter's frequency over kCalibrationMs of PIT time; if the PIT does not count, takes CPUID's
    /// word for it (leaf 0x15 or 0x16), else 1 GHz. Says which by source().
    void calibrate();
    uint64_t now_ns() override;
    uint64_t frequency_hz() const { return frequency_hz_; }
    const char* source() const { return source_; }

    static constexpr uint64_t kCalibrationMs = 10;

 private:
    uint64_t frequency_hz_ = 1'000'000'000;
    uint64_t start_ = 0;
    const char* source_ = "none";
};

}  // namespace bareflow
