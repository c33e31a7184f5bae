// Writes a .wllm: a few rows of one tensor in memory at a time, whatever the model's size.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "arch/base/result.h"
#include "arch/base/tensor.h"
#include "model/tools/files.h"
#include "model/tools/model_source.h"
#include "model/tools/storage.h"

namespace bareflow {

/// Told while tensors are written how many of their bytes are.
using Progress = std::function<void(uint64_t done, uint64_t total)>;

/// What goes into the file beside the tensors.
struct WllmContents {
    const ModelSource& model;
    const Vocabulary& vocabulary;
    std::string_view chat_template;  ///< not empty
    std::string_view provenance;     ///< `key=value` lines; not empty
    std::string_view defaults = {};  ///< `key=value` lines, or empty: then there is no such section
    TensorTypes types;
    /// Of the matrices, the embedding too, but not of quantised ones: panels; norms are row-major.
    Layout layout;
    Progress progress = {};
};

/// Writes the whole file; what that made of each tensor. A weight that is not finite, or would not be as stored, is an
/// error that names it.
Result<std::vector<TensorReport>> write_wllm(const WllmContents& contents, FileWriter& file);

}  // namespace bareflow
