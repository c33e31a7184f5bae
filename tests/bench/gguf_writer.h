// A model as llama.cpp reads it (GGUF version 3), so that both run the same weights. Types and order of rows are GGML's;
// the groups and their bits are those that our panels hold.
#pragma once

#include <string>

#include "arch/base/tensor.h"
#include "model/tools/model_source.h"

namespace bareflow::bench {

/// Writes every matrix as `type`, norms as f32; its columns must be a multiple of 32 where that is quantised. Exits where
/// the file cannot be written.
void write_gguf(const ModelSource& model, const Vocabulary& vocabulary, ElementType type,
                const std::string& path);

}  // namespace bareflow::bench
