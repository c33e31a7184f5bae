// What other numeric classes and weight types would bring: the user's choice, since they change a result's bits.
#pragma once

#include "arch/platform.h"
#include "arch/routine_tuner.h"
#include "model/session.h"

namespace bareflow {

/// Times a projection of the hottest shape (the first of `shapes`; of at most kMostWeights weights) in each numeric class that
/// the CPU has and with each weight type, on scratch data, and tells `out` and the log. What there is no routine for is left out.
void report_alternatives(Platform& platform, RoutineCache& cache, std::span<const TunedShape> shapes,
                         TextListener& out);
constexpr uint64_t kMostWeights = 1 << 20;

}  // namespace bareflow
