// The Llama transformer: embedding, layers, norm, head, over a KV cache. All buffers are made once by
// model_init.
#pragma once

#include "arch/base/allocator.h"
#include "arch/base/result.h"
#include "model/operators.h"
#include "model/weights.h"

namespace bareflow {

class Transformer {
 public:
    /// Allocates the KV cache, rope tables and activations for `context` positions (0: the model's own; more
    /// than that is an error). `weights` and `operators` must outlive it.
    static Result<Transformer> model_init(const Weights& weights, Operators& operators, Allocator& allocator,
                                          uint32_t context = 0);

    /// Runs one token at `position` (< context) and returns the logits, valid until the next
    /// call. Positions are filled in order; running an earlier position again forgets what came after it.
    Logits model_forward(uint32_t token, uint32_t position);
    /// As model_forward, but stops before the head: for all but the last token of a prompt.
    void model_prefill(uint32_t token, uint32_t position);
    /// Gives all buffers back.
    void model_free();

    const ModelConfig& config() const { return weights_->config; }
    uint32_t context() const { return context_; }
    Operators& operators() const { return *operators_; }
    uint64_t kv_bytes() const { return keys_.size() * sizeof(float) * 2; }
    uint64_t activation_bytes() const;

 private:
    const Weights* weights_ = nullptr;
    Operators* operators_ = nullptr;
    uint32_t context_ = 0;
    Buffer<float> keys_, values_;        // (layers, context, kv_size)
    Buffer<float> rope_cos_, rope_sin_;  // (context, head_size / 2)
    Buffer<float> x_, normed_;           // (hidden)
    Buffer<float> query_, attended_;     // (query_size)
    Buffer<float> hidden_;               // (intermediate)
    Buffer<float> scores_;               // (num_heads, context)
    Buffer<float> logits_;               // (vocab)
};

}  // namespace bareflow
