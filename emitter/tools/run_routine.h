// A routine run on this machine: checked against the reference by the probe that every routine passes before it is
// installed, then timed.
#pragma once

#include <ostream>

#include "emitter/tools/emit.h"

namespace bareflow {

/// Prints one line: agreement, the time of a call (median, and the middle four fifths), GFLOP/s, GB/s. An error if the CPU lacks the ISA,
/// or the routine faulted or differed.
Result<void> run_routine(const EmittedRoutine& routine, std::ostream& out);

}  // namespace bareflow
