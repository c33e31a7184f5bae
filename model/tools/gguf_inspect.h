// What a GGUF holds, as text for people.
#pragma once

#include <iosfwd>
#include <string>

#include "arch/base/result.h"

namespace bareflow {

/// Prints version, metadata and tensors of the .gguf at `path`, also of one that cannot be imported; long values and long
/// lists are cut, and say so.
Result<void> inspect_gguf(const std::string& path, std::ostream& out);

}  // namespace bareflow
