// Which routines a model asks for.
#pragma once

#include <string>
#include <vector>

#include "arch/base/result.h"
#include "arch/base/routine.h"

namespace bareflow {

/// The keys that the transformer asks for with this model, in the order in which a token meets them, each once. `path` is a
/// file that BareFlow opens, or a folder with exactly one such file.
Result<std::vector<RoutineKey>> keys_of_model(const std::string& path, NumericClass numerics, Isa isa);

}  // namespace bareflow
