// What the fuzzer of routines and its short run in the tests share: a key and plan at random, made by the assemblers,
// executed, compared with the reference.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "tests/oracle/routine_case.h"

namespace bareflow {

/// How much was tried.
struct RoutineCoverage {
    std::set<std::vector<uint8_t>> keys, plans;  ///< distinct ones, as bytes
    uint64_t routines = 0, instructions = 0;     ///< emitted
    uint64_t native_runs = 0, interpreted_runs = 0, interpreted_steps = 0;
};
std::string to_string(const RoutineCoverage& coverage);

/// One routine: tiny and asmjit give the same bytes; it runs on this CPU if that has the ISA, and in the interpreter if it
/// has not, and every eighth time anyway. Empty, or what is wrong.
std::string check_routine(x86::Chooser& choose, RoutineCoverage& coverage);

}  // namespace bareflow
