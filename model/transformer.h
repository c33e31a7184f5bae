// The Llama transformer: embedding, layers, norm, head, over a KV cache. All buffers are made once by
// model_init.
#pragma once

#include <span>

#include "arch/base/allocator.h"
#include "arch/base/result.h"
#include "model/kv_cache.h"
#include "model/operators.h"
#include "model/weights.h"

namespace bareflow {

class Transformer {
 public:
    /// Allocates the KV cache, of f32 or f16, rope tables and activations for `context` positions (0: the model's own;
    /// more than that is an error). `weights` and `operators` must outlive it.
    static Result<Transformer> model_init(const Weights& weights, Operators& operators, Allocator& allocator,
                                          uint32_t context = 0, ElementType cache_type = ElementType::kF32);

    /// Runs one token at `position` (< context) and returns the logits, valid until the next
    /// call. Positions are filled in order; running an earlier position again forgets what came after it.
    Logits model_forward(uint32_t token, uint32_t position) { return model_forward({&token, 1}, position); }
    /// As model_prefill, and returns the logits after the last of the tokens.
    Logits model_forward(std::span<const uint32_t> tokens, uint32_t position);
    /// As model_forward for tokens one after another, but stops before the head: for all but the last of a prompt. At most
    /// kBlock of them, which are run as one block where that is quicker.
    void model_prefill(std::span<const uint32_t> tokens, uint32_t position);
    /// How many of `left` tokens model_prefill() should be given at a time. Few sizes, because each wants routines of its own.
    static uint32_t prefill_rows(uint32_t left) {
        return left >= kBlock ? kBlock : left >= kSmallBlock ? kSmallBlock : 1;
    }
    static constexpr uint32_t kBlock = 64, kSmallBlock = 16;
    /// The most that model_prefill() takes.
    uint32_t block() const { return block_; }
    /// Asks `operators` for what a block of `rows` tokens at the first position needs, with a head if it is one token: so
    /// they see each shape and each weight, once. They must compute nothing, as NoOperators; the KV cache stays as it is.
    void show_calls(Operators& operators, uint32_t rows);
    /// Gives all buffers back.
    void model_free();

    const ModelConfig& config() const { return weights_->config; }
    uint32_t context() const { return context_; }
    Operators& operators() const { return *operators_; }
    ElementType cache_type() const { return cache_.type(); }
    uint64_t kv_bytes() const { return cache_.bytes(); }
    /// Bytes of one position's keys, and of its values, in one layer.
    size_t kv_row_bytes() const { return cache_.row_bytes(); }
    /// One layer's keys and values of the first `positions`, as they are kept: to save them, and to bring them back.
    KvCache::Kept kept(uint32_t layer, size_t positions) const { return cache_.kept(layer, positions); }
    uint64_t activation_bytes() const;

 private:
    const Weights* weights_ = nullptr;
    Operators* operators_ = nullptr;
    uint32_t context_ = 0;
    KvCache cache_;
    bool only_shown_ = false;  ///< show_calls(): nothing was computed that the cache could take over
    Buffer<float> rope_cos_, rope_sin_;  // (context, head_size / 2)
    uint32_t block_ = 1;                 ///< rows that the activations have room for
    Buffer<float> x_, normed_;           // (block, hidden)
    Buffer<float> query_, attended_;     // (block, query_size)
    Buffer<float> hidden_;               // (block, intermediate)
    Buffer<float> scores_;               // (num_heads, context)
    Buffer<float> logits_;               // (vocab)
};

}  // namespace bareflow
