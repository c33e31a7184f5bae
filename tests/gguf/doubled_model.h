// A model twice as wide that computes the same: K-quants want columns in multiples of 256, and a trained model's text tells
// more than random weights'.
#pragma once

#include <vector>

#include "model/tools/model_source.h"

namespace bareflow {

/// Each activation stands there twice, so each column that meets one does too, halved: exact in any type of weights. The
/// head, which is never the embedding, takes the mean of both copies.
class DoubledModel final : public ModelSource {
 public:
    explicit DoubledModel(const ModelSource& model, float rope_scaling = 0)
        : model_(model), config_(model.config()) {
        config_.rope_scaling = rope_scaling;
        for (uint32_t* size :
             {&config_.hidden_size, &config_.intermediate_size, &config_.num_heads, &config_.num_kv_heads}) {
            *size *= 2;
        }
        config_.tied_embedding = false;
    }
    std::string_view format() const override { return model_.format(); }
    const ModelConfig& config() const override { return config_; }
    Result<std::string> provenance() const override { return model_.provenance(); }

    Result<void> read_rows(TensorName tensor, uint32_t first_row, uint32_t row_count,
                           std::span<float> out) const override {
        using enum wllm::TensorKind;
        const bool tied_head = tensor.kind == kLmHead && model_.config().tied_embedding;
        const TensorName source{tied_head ? kEmbedding : tensor.kind, tensor.layer};
        const TensorShape shape = shape_of(model_.config(), source.kind);
        const float scale = is_norm(tensor.kind) || tensor.kind == kEmbedding ? 1.0f : 0.5f;
        const uint32_t copies = is_norm(tensor.kind) ? 1 : 2;  // of a row's columns
        std::vector<float> row(shape.columns);
        for (uint32_t i = 0; i < row_count; ++i) {
            TRY(model_.read_rows(source, (first_row + i) % shape.rows, 1, row));
            for (uint32_t k = 0; k < copies * shape.columns; ++k)
                out[i * copies * shape.columns + k] = row[k % shape.columns] * scale;
        }
        return {};
    }

 private:
    const ModelSource& model_;
    ModelConfig config_;
};

}  // namespace bareflow
