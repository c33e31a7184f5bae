// Writes a .wllm: a few rows of one tensor in memory at a time, whatever the model's size.
#pragma once

#include <cstdint>
#include <string_view>

#include "arch/base/result.h"
#include "arch/base/tensor.h"
#include "model/tools/files.h"
#include "model/tools/model_source.h"

namespace bareflow {

/// What goes into the file beside the tensors.
struct WllmContents {
    const ModelSource& model;
    const Vocabulary& vocabulary;
    std::string_view chat_template;  ///< not empty
    std::string_view provenance;     ///< `key=value` lines; not empty
    ElementType type;                ///< of the matrices; norms are f32
    Layout layout;                   ///< of the matrices, the embedding too; norms are row-major
};

/// Writes the whole file. A weight that is not finite, or would not be in f16, is an error that names it.
Result<void> write_wllm(const WllmContents& contents, FileWriter& file);

}  // namespace bareflow
