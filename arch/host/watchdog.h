// --timeout: a process that runs too long is ended from within.
#pragma once

#include <cstdint>

namespace bareflow {

/// After `seconds` the process writes a message to standard error and ends with status 1. 0 does nothing.
void start_watchdog(uint32_t seconds);

}  // namespace bareflow
