// Runs a routine's machine code without a processor that has its instructions: decoded by Zydis, executed in plain C++ on
// simulated registers. Stricter than a processor: every access must lie in what the routine was given, nothing may be
// read that was never written, and no instruction may be of another ISA than the key's.
#pragma once

#include <string>

#include "tests/oracle/routine_memory.h"

namespace bareflow {

struct Interpreted {
    std::string wrong;  ///< empty, or what it did, by instruction and offset
    uint64_t steps = 0;
};
/// Also compares its outputs with the reference.
Interpreted interpret(const RoutineCase& c, ByteSpan code);
Interpreted interpret(const RoutineCase& c, ByteSpan code, RoutineMemory& memory);
/// Of the instructions up to the return, without running them.
size_t count_instructions(ByteSpan code);

}  // namespace bareflow
