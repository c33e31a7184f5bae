// The time-stamp counter, read so that what is measured lies between the readings (Intel SDM 3B 18.17, 2B "RDTSC"). A fence
// on each side, since rdtscp, which would wait by itself, is missing in CPUs that are otherwise good enough (a Nehalem).
#pragma once

#include <cstdint>

namespace bareflow {

/// Everything before it has been executed, nothing behind it has begun.
inline uint64_t cycles_now() {
    __builtin_ia32_lfence();
    const uint64_t cycles = __builtin_ia32_rdtsc();
    __builtin_ia32_lfence();
    return cycles;
}

}  // namespace bareflow
