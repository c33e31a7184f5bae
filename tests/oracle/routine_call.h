// Calls machine code as a careless caller would: vector registers, mask registers, free general registers and the stack
// below hold junk, and what the System V ABI promises to the caller is looked at afterwards.
#pragma once

#include <cstdint>
#include <string>

#include "arch/base/routine.h"

namespace bareflow {

struct CallOutcome {
    std::string wrong;     ///< empty, or the promise that was broken
    int fault_signal = 0;  ///< SIGSEGV and its like
    uint64_t fault_address = 0;
};
/// `isa` tells whether upper halves must be clean afterwards (VEX) or as they were (SSE).
CallOutcome call_poisoned(Routine routine, const void* arguments, Isa isa);

}  // namespace bareflow
