// The shapes of models that people know, for weights made up in them (synthetic.h).
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "arch/base/result.h"
#include "model/weights.h"

namespace bareflow {

struct KnownShape {
    std::string_view name;
    ModelConfig config;
};

std::span<const KnownShape> known_shapes();
/// An error names those that there are.
Result<ModelConfig> shape_named(std::string_view name);

}  // namespace bareflow
