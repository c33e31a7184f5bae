// Importing a model: what bareflow-import does, for whoever else converts on the fly.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "arch/base/result.h"
#include "arch/base/tensor.h"
#include "model/tools/storage.h"
#include "model/tools/wllm_writer.h"
#include "model/weights.h"

namespace bareflow {

struct ImportRequest {
    std::string model;           ///< a .gguf, a llama2.c .bin, or a Hugging Face folder
    std::string synthetic = {};  ///< instead of a model: the known shape whose weights are made up
    uint64_t seed = 0;           ///< of these
    std::string tokenizer;  ///< its tokenizer; empty: its own, or the one beside it (find_llama2c_tokenizer)
    std::string chat_template;  ///< empty: the model's own, else "plain"
    TensorTypes types = {};     ///< where it says nothing, ModelSource::own_type() does
    Layout layout = Layout::kPanels16;
    Progress progress = {};
};

/// What was read and written, for the user.
struct ImportSummary {
    std::string source_format;
    std::string tokenizer;  ///< name of the file it came from; empty: the model's own
    ModelConfig config;
    uint32_t pieces = 0;  ///< of the tokenizer
    uint64_t weight_bytes = 0;
    uint64_t file_size = 0;
    uint32_t hash = 0;  ///< header CRC-32C
    std::vector<TensorReport> tensors = {};
};

/// Whether a file is one that load_weights() reads as it is.
Result<bool> is_wllm(const std::string& path);

/// Converts into the open file `fd` (regular, or a memfd, which can then be mapped), replacing what it holds. What was
/// written is read back by load_weights() before this succeeds.
Result<ImportSummary> import_model(const ImportRequest& request, int fd);
/// Converts into a file at `output`, which is replaced only when all went well.
Result<ImportSummary> import_model(const ImportRequest& request, const std::string& output);

}  // namespace bareflow
