// Models in GGUF (ggml-org/ggml: docs/gguf.md), of the "llama" architecture with a SentencePiece vocabulary. q and k are
// in the order of interleaved RoPE there too, so rows are taken as they are.
#pragma once

#include <memory>
#include <string>

#include "model/tools/model_source.h"

namespace bareflow {

/// Whether a file begins as a GGUF does.
Result<bool> is_gguf(const std::string& path);
/// Opens a GGUF and checks what it says of itself against its size; errors name the field and its offset.
Result<std::unique_ptr<ModelSource>> open_gguf(const std::string& path);

}  // namespace bareflow
