// Where emitted routines live in a Linux process, and how their probes survive a fault.
#pragma once

#include "arch/platform.h"

namespace bareflow {

/// Rights by mprotect.
class HostCodePages final : public CodePages {
 public:
    Result<void> make_writable(void* start, size_t bytes) override;
    Result<void> make_executable(void* start, size_t bytes) override;
    Result<void> make_guard(void* start, size_t bytes) override;
};

/// Signals (SIGSEGV, SIGBUS, SIGILL, SIGFPE) jump back to run(). For one thread at a time.
class SignalGuard final : public FaultGuard {
 public:
    bool run(void (*function)(void*), void* argument, FixedString<96>& fault) override;
};

}  // namespace bareflow
