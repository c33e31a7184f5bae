// Whether the parts of a tokenizer.json around its model (normaliser, pre-tokeniser, decoder) do what Llama's do.
#pragma once

#include "arch/base/result.h"
#include "model/tools/json.h"

namespace bareflow {

/// Whether a space is put before the text. What neither our tokenizer does nor leaves without a difference is
/// kUnsupported.
Result<bool> adds_dummy_prefix(const JsonValue& root);

}  // namespace bareflow
