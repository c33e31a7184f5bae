// The last words: what happened, where, and how it got there. Never a triple fault, never silence.
#pragma once

#include <cstdint>
#include <string_view>

#include "arch/x86_64/interrupts.h"
#include "mm/code_arena.h"

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
    kRoutine,
    kHeap,
    kDevice,
    kUnmapped
};
std::string_view name_of(Place place);
Place place_of(uint64_t address);

/// Emitted code is named from here; nullptr: from nowhere.
void report_code_from(const CodeDirectory* directory);

/// Reports on console and log, then stops with the failure status. A fault while reporting is told as such.
[[noreturn]] void report_fault_and_stop(const InterruptFrame& frame);

}  // namespace bareflow
