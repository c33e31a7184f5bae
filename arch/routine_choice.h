// What every image chooses alike: numeric class, instructions, cores.
#pragma once

#include "arch/base/options.h"
#include "arch/base/routine.h"
#include "arch/platform.h"

namespace bareflow {

/// auto: fma where there are routines for it. Legacy SSE has none, so asking for sse2 asks for muladd too.
NumericClass choose_numerics(const Options& options, const CpuFeatures& cpu);
/// Whether routines made for `used` keep to what was asked for: what is named is not exceeded.
bool allows(IsaChoice asked, Isa used);
/// Wakes the cores, and logs how many. `wanted` 0: all. nullptr for one core.
Workers* start_cores(Platform& platform, unsigned wanted);

}  // namespace bareflow
