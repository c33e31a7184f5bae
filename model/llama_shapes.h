// Which tensors a Llama-architecture model has, and their shapes: one place for the loader and for whoever writes a
// .wllm.
#pragma once

#include <cstdint>

#include "model/weights.h"
#include "model/wllm.h"

namespace bareflow {

struct TensorShape {
    uint32_t rows = 0;     ///< outputs
    uint32_t columns = 0;  ///< inputs; 1 for a norm
};

/// A tensor's place in the model: its kind, and its layer (wllm::kNoLayer for those that have none).
struct TensorName {
    wllm::TensorKind kind;
    uint32_t layer;
};

constexpr bool is_norm(wllm::TensorKind kind) {
    using enum wllm::TensorKind;
    return kind == kAttentionNorm || kind == kFfnNorm || kind == kFinalNorm;
}

constexpr bool is_per_layer(wllm::TensorKind kind) {
    return kind >= wllm::TensorKind::kQuery && kind <= wllm::TensorKind::kFfnNorm;
}

/// The shape that `config` asks of a tensor; {0, 0} for a kind that there is not.
constexpr TensorShape shape_of(const ModelConfig& config, wllm::TensorKind kind) {
    using enum wllm::TensorKind;
    switch (kind) {
        case kQuery:
            return {config.query_size(), config.hidden_size};
        case kKey:
        case kValue:
            return {config.kv_size(), config.hidden_size};
        case kOutput:
            return {config.hidden_size, config.query_size()};
        case kGate:
        case kUp:
            return {config.intermediate_size, config.hidden_size};
        case kDown:
            return {config.hidden_size, config.intermediate_size};
        case kAttentionNorm:
        case kFfnNorm:
        case kFinalNorm:
            return {config.hidden_size, 1};
        case kLmHead:
        case kEmbedding:
            return {config.vocab_size, config.hidden_size};
    }
    return {};
}

constexpr uint32_t kTensorsPerLayer = 9;

constexpr uint32_t tensor_count(const ModelConfig& config) {
    const uint32_t around_layers = config.tied_embedding ? 2 : 3;  // embedding, final norm, lm_head
    return config.num_layers * kTensorsPerLayer + around_layers;
}

/// A tensor's place among all of a model's: norms of layers and the final one included.
constexpr uint32_t place_index(const ModelConfig& config, TensorName name) {
    using enum wllm::TensorKind;
    if (is_per_layer(name.kind)) return name.layer * kTensorsPerLayer + static_cast<uint32_t>(name.kind) - 1;
    const uint32_t after_layers = config.num_layers * kTensorsPerLayer;
    return after_layers + (name.kind == kEmbedding ? 0 : name.kind == kFinalNorm ? 1 : 2);
}

/// The tensors in the order in which a token meets them, which is their order in a file that we write.
constexpr TensorName nth_tensor(const ModelConfig& config, uint32_t index) {
    using enum wllm::TensorKind;
    constexpr wllm::TensorKind kLayerOrder[kTensorsPerLayer] = {kAttentionNorm, kQuery, kKey, kValue, kOutput,
                                                                kFfnNorm,       kGate,  kUp,  kDown};
    if (index == 0) return {kEmbedding, wllm::kNoLayer};
    const uint32_t layer = (index - 1) / kTensorsPerLayer;
    if (layer < config.num_layers) return {kLayerOrder[(index - 1) % kTensorsPerLayer], layer};
    const bool first_after_layers = index - 1 == config.num_layers * kTensorsPerLayer;
    return {first_after_layers ? kFinalNorm : kLmHead, wllm::kNoLayer};
}

}  // namespace bareflow
