// The time-stamp counter, read so that what is measured lies between the readings (Intel SDM 3B 18.17, 2B "RDTSC",
// "RDTSCP").
#pragma once

#include <cstdint>

namespace bareflow {

/// Everything before it has been executed, nothing behind it has begun.
inline uint64_t cycles_at_begin() {
    __builtin_ia32_lfence();
    const uint64_t cycles = __builtin_ia32_rdtsc();
    __builtin_ia32_lfence();
    return cycles;
}
/// rdtscp waits for what came before; the fence keeps what follows behind it.
inline uint64_t cycles_at_end() {
    unsigned processor;
    const uint64_t cycles = __builtin_ia32_rdtscp(&processor);
    __builtin_ia32_lfence();
    return cycles;
}

}  // namespace bareflow
