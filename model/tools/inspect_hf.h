// What Hugging Face files hold, for people: `bareflow-import --inspect`.
#pragma once

#include <iosfwd>
#include <string>

#include "arch/base/result.h"

namespace bareflow {

/// Whether `path` is something that inspect_hugging_face() shows: a folder, a .safetensors, .model or .json.
bool is_hugging_face(const std::string& path);

/// Prints what a folder, a .safetensors (or an index of some), a tokenizer.model or tokenizer.json holds: its first tensors
/// and pieces, and how many more. A folder is checked as an import would.
Result<void> inspect_hugging_face(const std::string& path, std::ostream& out);

}  // namespace bareflow
