#include "model/tools/hf_weights.h"

#include <algorithm>
#include <filesystem>

namespace bareflow {
namespace {

using wllm::TensorKind;

constexpr std::string_view kWeights = "model.safetensors", kIndex = "model.safetensors.index.json";

/// What transformers leaves in files and does not use.
bool is_ignored(std::string_view name, bool tied) {
    return name.ends_with(".rotary_emb.inv_freq") || (tied && name == "lm_head.weight");
}

/// Row `row` of a query or key matrix in the order of Hugging Face, where the halves of a head are the pairs: the first of
/// each, then the second of each (transformers' convert_llama_weights_to_hf.py, "permute").
uint32_t half_split_row(uint32_t row, uint32_t head_size) {
    const uint32_t within = row % head_size;
    return row - within + within % 2 * (head_size / 2) + within / 2;
}

}  // namespace

std::string hf_name(TensorName tensor) {
    using enum TensorKind;
    const auto name = [&]() -> std::string_view {
        switch (tensor.kind) {
            case kQuery:
                return "self_attn.q_proj";
            case kKey:
                return "self_attn.k_proj";
            case kValue:
                return "self_attn.v_proj";
            case kOutput:
                return "self_attn.o_proj";
            case kGate:
                return "mlp.gate_proj";
            case kUp:
                return "mlp.up_proj";
            case kDown:
                return "mlp.down_proj";
            case kAttentionNorm:
                return "input_layernorm";
            case kFfnNorm:
                return "post_attention_layernorm";
            case kFinalNorm:
                return "model.norm";
            case kLmHead:
                return "lm_head";
            case kEmbedding:
                return "model.embed_tokens";
        }
        return {};
    };
    const std::string layer =
        is_per_layer(tensor.kind) ? "model.layers." + std::to_string(tensor.layer) + "." : "";
    return layer + std::string(name()) + ".weight";
}

Result<HfWeights> HfWeights::open(const std::string& folder) {
    const std::filesystem::path path(folder);
    const std::string name = base_name(folder);
    std::error_code ignored;
    if (std::filesystem::exists(path / kWeights, ignored))
        return HfWeights(TRY(Safetensors::open(path / kWeights)), name);
    if (std::filesystem::exists(path / kIndex, ignored))
        return HfWeights(TRY(Safetensors::open_index(path / kIndex)), name);
    return Error::make(
        ErrorCode::kNotFound,
        "{}: holds no model.safetensors and no model.safetensors.index.json; convert other weights "
        "(pytorch_model.bin) to that first",
        std::string_view(name));
}

/// The entry of a tensor that must be there in a type and shape that fit.
Result<const SafetensorsEntry*> HfWeights::find(TensorName tensor) const {
    const std::string name = hf_name(tensor);
    const auto found = files_.tensors().find(name);
    if (found == files_.tensors().end()) {
        return Error::make(ErrorCode::kNotFound,
                           "{}: no tensor {}; is a file missing, or config.json another model's?",
                           std::string_view(folder_), std::string_view(name));
    }
    const SafetensorsEntry& entry = found->second;
    const std::string_view file = files_.file_name(entry);
    if (entry.type == SafetensorsType::kOther) {
        return Error::make(
            ErrorCode::kUnsupported, "{}: {} (offset {}) is of type {}; F32, F16 and BF16 can be read", file,
            std::string_view(name), entry.offset, std::string_view(entry.type_name).substr(0, 20));
    }
    const TensorShape shape = shape_of(config_, tensor.kind);
    const bool fits_shape = is_norm(tensor.kind)
                                ? entry.shape == std::vector<uint64_t>{shape.rows}
                                : entry.shape == std::vector<uint64_t>{shape.rows, shape.columns};
    if (fits_shape) return &entry;
    std::string there;
    for (uint64_t extent : entry.shape) there += (there.empty() ? "" : " x ") + std::to_string(extent);
    return invalid("{}: {} (offset {}) is {}, config.json asks for {} x {}", file, std::string_view(name),
                   entry.offset, std::string_view(there), shape.rows, shape.columns);
}

Result<void> HfWeights::check(const ModelConfig& config) {
    config_ = config;
    std::vector<const SafetensorsEntry*> used;
    std::string_view type;
    for (uint32_t i = 0; i < tensor_count(config_); ++i) {
        const SafetensorsEntry* const entry = TRY(find(nth_tensor(config_, i)));
        used.push_back(entry);
        if (i == 0) type = entry->type_name;
        if (type != entry->type_name) type = "mixed";
    }
    std::sort(used.begin(), used.end());
    for (const auto& [name, entry] : files_.tensors()) {
        if (std::binary_search(used.begin(), used.end(), &entry) || is_ignored(name, config_.tied_embedding))
            continue;
        return Error::make(ErrorCode::kUnsupported, "{}: holds {} (offset {}), which no Llama has",
                           std::string_view(files_.file_name(entry)), std::string_view(name), entry.offset);
    }
    type_ = type;
    return {};
}

Result<void> HfWeights::read_rows(TensorName tensor, uint32_t first_row, uint32_t row_count,
                                  std::span<float> out) const {
    const SafetensorsEntry& from = files_.tensors().find(hf_name(tensor))->second;
    const uint64_t columns = shape_of(config_, tensor.kind).columns;
    ASSERT(out.size() == row_count * columns);
    if (tensor.kind != TensorKind::kQuery && tensor.kind != TensorKind::kKey)
        return files_.read(from, first_row * columns, out);
    for (uint32_t i = 0; i < row_count; ++i) {
        const uint64_t row = half_split_row(first_row + i, config_.head_size);
        TRY(files_.read(from, row * columns, out.subspan(i * columns, columns)));
    }
    return {};
}

}  // namespace bareflow
