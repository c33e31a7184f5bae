#include "model/transformer.h"

#include "arch/base/libm.h"

namespace bareflow {
namespace {

/// Row p holds cos and sin of p * theta^(-2i / head_size) for pair i, rounded step by step as llama2.c does,
/// so that its models see the angles that they were trained with. Linear scaling divides each frequency by a factor.
void fill_rope_tables(float* cos, float* sin, uint32_t context, const ModelConfig& config) {
    const uint32_t head_size = config.head_size, pairs = head_size / 2;
    for (uint32_t i = 0; i < pairs; ++i) {
        const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_size);
        float frequency = 1.0f / bareflow_powf(config.rope_theta, exponent);
        if (config.rope_scaling != 0) frequency /= config.rope_scaling;
        for (uint32_t position = 0; position < context; ++position) {
            const float angle = static_cast<float>(position) * frequency;
            cos[size_t{position} * pairs + i] = bareflow_cosf(angle);
            sin[size_t{position} * pairs + i] = bareflow_sinf(angle);
        }
    }
}

}  // namespace

Result<Transformer> Transformer::model_init(const Weights& weights, Operators& operators,
                                            Allocator& allocator, uint32_t context, ElementType cache_type) {
    const ModelConfig& config = weights.config;
    if (context == 0) context = config.context_length;
    if (context > config.context_length) {
        return Error::make(ErrorCode::kOutOfRange,
                           "context (-c): {} positions asked for, but the model has {}; give at most that",
                           context, config.context_length);
    }
    Transformer model;
    model.weights_ = &weights;
    model.operators_ = &operators;
    model.context_ = context;
    const size_t rope_floats = size_t{context} * (config.head_size / 2);
    model.block_ = prefill_rows(context);
    model.cache_ = TRY(KvCache::make({.layers = config.num_layers,
                                      .context = context,
                                      .kv_size = config.kv_size(),
                                      .block = model.block_,
                                      .type = cache_type},
                                     allocator));
    model.rope_cos_ = TRY(Buffer<float>::make(allocator, rope_floats, "rope table, cosines"));
    model.rope_sin_ = TRY(Buffer<float>::make(allocator, rope_floats, "rope table, sines"));
    const size_t block = model.block_;
    model.x_ = TRY(Buffer<float>::make(allocator, block * config.hidden_size, "activations"));
    model.normed_ = TRY(Buffer<float>::make(allocator, block * config.hidden_size, "normed activations"));
    model.query_ = TRY(Buffer<float>::make(allocator, block * config.query_size(), "query"));
    model.attended_ = TRY(Buffer<float>::make(allocator, block * config.query_size(), "attention's output"));
    model.hidden_ = TRY(Buffer<float>::make(allocator, block * config.intermediate_size, "hidden layer"));
    model.scores_ =
        TRY(Buffer<float>::make(allocator, size_t{config.num_heads} * context, "attention scores"));
    model.logits_ = TRY(Buffer<float>::make(allocator, config.vocab_size, "logits"));
    fill_rope_tables(model.rope_cos_.data(), model.rope_sin_.data(), context, config);
    return model;
}

void Transformer::model_prefill(std::span<const uint32_t> tokens, uint32_t position) {
    const ModelConfig& config = weights_->config;
    const size_t rows = tokens.size();
    ASSERT(rows >= 1 && rows <= block_);
    ASSERT(position + rows <= context_);
    const size_t pairs = config.head_size / 2;
    const size_t hidden = config.hidden_size, query_size = config.query_size();
    const RopeRow rope = {rope_cos_.data() + position * pairs, rope_sin_.data() + position * pairs};
    const AttentionShape heads = {config.num_heads, config.num_kv_heads, config.head_size};
    const auto normalise = [&](const float* weight) {
        for (size_t i = 0; i < rows; ++i)
            operators_->rms_norm(normed_.data() + i * hidden, x_.data() + i * hidden, weight, hidden,
                                 config.norm_eps);
    };

    for (size_t i = 0; i < rows; ++i) {
        ASSERT(tokens[i] < config.vocab_size);
        operators_->embed(x_.data() + i * hidden, weights_->embedding, tokens[i]);
    }
    for (uint32_t layer = 0; layer < config.num_layers; ++layer) {
        const LayerWeights& w = weights_->layers[layer];
        const KvCache::Rows filled = cache_.rows_to_fill(layer, position);

        normalise(w.attention_norm);
        operators_->qkv_rows(query_.data(), filled.keys, filled.values, normed_.data(), w.query, w.key,
                             w.value, rope, config.head_size, rows);
        if (!only_shown_) cache_.store(layer, position, rows);
        // Row i sees the positions up to its own.
        for (size_t i = 0; i < rows; ++i) {
            operators_->attention(attended_.data() + i * query_size, query_.data() + i * query_size,
                                  cache_.view(layer, position + i + 1), heads, scores_.data(), context_);
        }
        operators_->project_add_rows(x_.data(), w.output, attended_.data(), rows);

        normalise(w.ffn_norm);
        operators_->gate_up_rows(hidden_.data(), w.gate, w.up, normed_.data(), rows);
        operators_->project_add_rows(x_.data(), w.down, hidden_.data(), rows);
    }
}

Logits Transformer::model_forward(std::span<const uint32_t> tokens, uint32_t position) {
    model_prefill(tokens, position);
    const ModelConfig& config = weights_->config;
    const float* last = x_.data() + (tokens.size() - 1) * config.hidden_size;
    operators_->rms_norm(normed_.data(), last, weights_->final_norm, config.hidden_size, config.norm_eps);
    const uint32_t best = operators_->matvec_argmax(logits_.data(), weights_->lm_head, normed_.data());
    return {logits_.data(), best};
}

void Transformer::show_calls(Operators& operators, uint32_t rows) {
    constexpr uint32_t kTokens[kBlock] = {};
    if (rows > block_) return;
    Operators* const own = operators_;
    operators_ = &operators;
    only_shown_ = true;
    rows == 1 ? static_cast<void>(model_forward(0, 0)) : model_prefill({kTokens, rows}, 0);
    only_shown_ = false;
    operators_ = own;
}

void Transformer::model_free() {
    cache_ = {};
    for (Buffer<float>* buffer :
         {&rope_cos_, &rope_sin_, &x_, &normed_, &query_, &attended_, &hidden_, &scores_, &logits_}) {
        *buffer = {};
    }
    context_ = 0;
}

uint64_t Transformer::activation_bytes() const {
    uint64_t floats = 0;
    for (const Buffer<float>* buffer :
         {&rope_cos_, &rope_sin_, &x_, &normed_, &query_, &attended_, &hidden_, &scores_, &logits_}) {
        floats += buffer->size();
    }
    return floats * sizeof(float) + cache_.staging_bytes();
}

}  // namespace bareflow
