// What a model file holds, as text for people.
#pragma once

#include <iosfwd>
#include <string>

#include "arch/base/result.h"

namespace bareflow {

/// Checks the file at `path` as a machine that loads it does, and prints its header, sections, tensors and provenance.
Result<void> inspect_wllm(const std::string& path, std::ostream& out);

/// The same of a .gguf or a .wllm.
Result<void> inspect_model(const std::string& path, std::ostream& out);

}  // namespace bareflow
