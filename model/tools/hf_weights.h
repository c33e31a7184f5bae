// The tensors of a Llama as Hugging Face names and orders them, in a folder's safetensors.
#pragma once

#include <string>

#include "model/llama_shapes.h"
#include "model/tools/safetensors.h"

namespace bareflow {

/// A tensor's name in a Hugging Face model: "model.layers.3.mlp.up_proj.weight".
std::string hf_name(TensorName tensor);

class HfWeights {
 public:
    /// Opens model.safetensors in `folder`, or the shards that model.safetensors.index.json names.
    static Result<HfWeights> open(const std::string& folder);

    /// Checks that all tensors of `config` are there in its shapes and types that can be read, and none beside them that
    /// would change what is computed. What is read later has this configuration.
    Result<void> check(const ModelConfig& config);
    /// ModelSource::read_rows(); query and key come in interleaved pairs.
    Result<void> read_rows(TensorName tensor, uint32_t first_row, uint32_t row_count,
                           std::span<float> out) const;

    const Safetensors& files() const { return files_; }
    /// "BF16"; "mixed" if the tensors are of several types.
    const std::string& type() const { return type_; }

 private:
    explicit HfWeights(Safetensors files, std::string folder)
        : files_(std::move(files)), folder_(std::move(folder)) {}
    Result<const SafetensorsEntry*> find(TensorName tensor) const;
    Safetensors files_;
    std::string folder_;  ///< for errors
    ModelConfig config_;
    std::string type_;
};

}  // namespace bareflow
