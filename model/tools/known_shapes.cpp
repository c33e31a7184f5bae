#include "model/tools/known_shapes.h"

namespace bareflow {
namespace {

struct Sizes {
    uint32_t layers, hidden, intermediate, vocabulary, heads, kv_heads, context;
    bool tied;
};

constexpr KnownShape shape(std::string_view name, const Sizes& sizes) {
    return {name,
            {.num_layers = sizes.layers,
             .hidden_size = sizes.hidden,
             .intermediate_size = sizes.intermediate,
             .vocab_size = sizes.vocabulary,
             .num_heads = sizes.heads,
             .num_kv_heads = sizes.kv_heads,
             .head_size = sizes.hidden / sizes.heads,
             .context_length = sizes.context,
             .rope_theta = 10000.0f,
             .norm_eps = 1e-5f,
             .tied_embedding = sizes.tied,
             .bos_id = 1,
             .eos_id = 2,
             .unk_id = 0}};
}

// karpathy/tinyllamas' cards; TinyLlama-1.1B's config.json; ours: MODEL_CARD.md.
constexpr KnownShape kShapes[] = {
    shape("stories260k", {5, 64, 172, 512, 8, 4, 512, true}),
    shape("bareflow-stories", {6, 128, 384, 1024, 8, 4, 512, true}),
    shape("stories15m", {6, 288, 768, 32000, 6, 6, 256, true}),
    shape("stories42m", {8, 512, 1376, 32000, 8, 8, 1024, true}),
    shape("stories110m", {12, 768, 2048, 32000, 12, 12, 1024, true}),
    shape("tinyllama-1.1b", {22, 2048, 5632, 32000, 32, 4, 2048, false}),
};

}  // namespace

std::span<const KnownShape> known_shapes() { return kShapes; }

Result<ModelConfig> shape_named(std::string_view name) {
    std::string names;
    for (const KnownShape& shape : kShapes) {
        if (shape.name == name) return ModelConfig(shape.config);
        names.append(names.empty() ? "" : ", ").append(shape.name);
    }
    return Error::make(ErrorCode::kNotFound, "{}: no shape of that name is known; there are {}", name,
                       std::string_view(names));
}

}  // namespace bareflow
