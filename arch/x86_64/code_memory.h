// Where emitted routines live in the kernel, and how their probes survive a fault.
#pragma once

#include "arch/platform.h"

namespace bareflow {

/// Rights by the kernel's page tables; the region comes from the frame allocator.
CodePages& kernel_code_pages();
/// Takes a region for code; kept for good.
Result<std::span<uint8_t>> take_code_region(size_t bytes);
/// Faults come back by way of a recovery point (interrupts.h).
FaultGuard& kernel_fault_guard();

}  // namespace bareflow
