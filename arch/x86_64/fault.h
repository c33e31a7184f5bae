// The last words: what happened, where, and how it got there. Never a triple fault, never silence.
#pragma once

#include <cstdint>
#include <string_view>

#include "arch/x86_64/interrupts.h"

namespace bareflow {

/// What kind of memory an address is.
enum class Place : uint8_t {
    kNullPage,
    kGuard,
    kText,
    kRodata,
    kData,
    kStack,
    kSymbols,
    kHeap,
    kDevice,
    kUnmapped
};
std::string_view name_of(Place place);
Place place_of(uint64_t address);

/// Reports on console and log, then stops with the failure status. A fault while reporting is told as such.
[[noreturn]] void report_fault_and_stop(const InterruptFrame& frame);

}  // namespace bareflow
