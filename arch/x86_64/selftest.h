// Self-tests that must run inside the machine. The shipped kernel has none (selftest.cpp says so); the test kernel links
// tests/boot/selftest.cpp instead.
#pragma once

#include <string_view>

#include "arch/base/result.h"
#include "arch/platform.h"

namespace bareflow {

/// Runs the test that the option test= names. A test of a fault does not return.
Result<void> run_selftest(std::string_view name, Platform& platform);

}  // namespace bareflow
