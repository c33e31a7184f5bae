// A model in a Hugging Face folder: config.json, model.safetensors (or its shards), tokenizer.model or tokenizer.json, and
// what generation_config.json and tokenizer_config.json add. Llama only (hf_config.h).
#pragma once

#include <memory>
#include <string>

#include "model/tools/model_source.h"

namespace bareflow {

/// Opens a folder and checks its configuration against its tensors: all that a Llama has, of the right shapes, and none that
/// would change what is computed. Without `own_tokenizer` the folder's own is not looked for.
Result<std::unique_ptr<ModelSource>> open_hf_folder(const std::string& path, bool own_tokenizer);

}  // namespace bareflow
