// The narrow interface through which the transformer asks for work: the scalar reference (model/reference.h) answers
// it now, emitted routines answer it later. Each operator is as large as what one routine may fuse.
#pragma once

#include <cstddef>
#include <cstdint>

#include "arch/base/phase.h"
#include "arch/base/tensor.h"

namespace bareflow {

/// The cosines and sines of one position: cos[i], sin[i] for pair i of a head. (head_size / 2) each.
struct RopeRow {
    const float* cos;
    const float* sin;
};

/// One layer's part of the KV cache, filled up to some position. Row p of keys (values) begins at element p * kv_size.
struct KvView {
    const void* keys;    // (positions, num_kv_heads * head_size)
    const void* values;  // (positions, num_kv_heads * head_size)
    size_t positions;
    ElementType type = ElementType::kF32;  ///< of keys and values: kF32 or kF16
};

struct AttentionShape {
    uint32_t num_heads, num_kv_heads, head_size;
};

/// What the head says of every token, and which it likes best (argmax).
struct Logits {
    const float* values;  // (vocab_size)
    uint32_t best;
};

/// Every output is summed as the numeric class says; buffers do not overlap unless said so.
class Operators {
 public:
    virtual NumericClass numeric_class() const = 0;
    /// What follows is for the prompt, or for generation. For those who measure; nothing depends on it.
    virtual void enter(Phase) {}

    /// row[k] = table(token, k) as f32. row: (columns).
    virtual void embed(float* row, const TensorView& table, uint32_t token) = 0;
    /// y[i] = x[i] / sqrt(mean(x²) + eps) * weight[i]; y, x, weight: (n).
    virtual void rms_norm(float* y, const float* x, const float* weight, size_t n, float eps) = 0;
    /// q = rope(Wq x), k = rope(Wk x), v = Wv x: one pass over x. Interleaved pairs (2i, 2i+1) of each head rotate.
    virtual void qkv(float* q, float* k, float* v, const float* x, const TensorView& query,
                     const TensorView& key, const TensorView& value, const RopeRow& rope,
                     uint32_t head_size) = 0;
    /// out = softmax(q·K / sqrt(head_size)) V for each head; query heads share KV heads in groups.
    /// out, q: (num_heads * head_size); scores: scratch, (num_heads, score_stride >= positions).
    virtual void attention(float* out, const float* q, const KvView& kv, const AttentionShape& shape,
                           float* scores, size_t score_stride) = 0;
    /// y[n] += (W x)[n]: an output or down projection with its residual. y: (rows), x: (columns).
    virtual void project_add(float* y, const TensorView& w, const float* x) = 0;
    /// h = silu(Wg x) * (Wu x). h: (rows), x: (columns).
    virtual void gate_up(float* h, const TensorView& gate, const TensorView& up, const float* x) = 0;
    /// y = W x. y: (rows), x: (columns).
    virtual void matvec(float* y, const TensorView& w, const float* x) = 0;
    /// Rotates the pairs (2i, 2i + 1) of each head in place. heads: (n), n a multiple of head_size.
    virtual void rotate(float* heads, size_t n, uint32_t head_size, const RopeRow& rope) = 0;
    /// y = W x, as matvec; returns argmax(y). A greedy head.
    virtual uint32_t matvec_argmax(float* y, const TensorView& w, const float* x) = 0;
    /// values[i] = e^(values[i] - max) * (1 / their sum), in place; values: (n), n >= 1.
    virtual void softmax(float* values, size_t n) = 0;
    /// The index of the largest of n values; no NaN, ties go to the lowest index.
    virtual uint32_t argmax(const float* values, size_t n) = 0;

    // ---- for `rows` rows of x at once, a block of a prompt: the bits are those of one row at a time
    /// x: (rows, columns); q, k, v: (rows, their size); row i is rotated by rope.cos and rope.sin + i * head_size / 2.
    virtual void qkv_rows(float* q, float* k, float* v, const float* x, const TensorView& query,
                          const TensorView& key, const TensorView& value, const RopeRow& rope,
                          uint32_t head_size, size_t rows) {
        for (size_t i = 0; i < rows; ++i) {
            const size_t pairs = i * (head_size / 2);
            qkv(q + i * query.rows, k + i * key.rows, v + i * value.rows, x + i * query.columns, query, key,
                value, {rope.cos + pairs, rope.sin + pairs}, head_size);
        }
    }
    /// y: (rows, w.rows), x: (rows, w.columns).
    virtual void project_add_rows(float* y, const TensorView& w, const float* x, size_t rows) {
        for (size_t i = 0; i < rows; ++i) project_add(y + i * w.rows, w, x + i * w.columns);
    }
    virtual void gate_up_rows(float* h, const TensorView& gate, const TensorView& up, const float* x,
                              size_t rows) {
        for (size_t i = 0; i < rows; ++i) gate_up(h + i * gate.rows, gate, up, x + i * gate.columns);
    }

 protected:
    ~Operators() = default;
};

}  // namespace bareflow
