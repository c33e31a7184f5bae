// Any operators, one product at a time: what fusing saves is what these take longer.
#pragma once

#include <cmath>
#include <vector>

#include "model/operators.h"

namespace bareflow::bench {

class Unfused final : public Operators {
 public:
    explicit Unfused(Operators& operators) : operators_(operators) {}

    NumericClass numeric_class() const override { return operators_.numeric_class(); }
    void enter(Phase phase) override { operators_.enter(phase); }
    void embed(float* row, const TensorView& table, uint32_t token) override {
        operators_.embed(row, table, token);
    }
    void rms_norm(float* y, const float* x, const float* weight, size_t n, float eps) override {
        operators_.rms_norm(y, x, weight, n, eps);
    }
    void qkv(float* q, float* k, float* v, const float* x, const TensorView& query, const TensorView& key,
             const TensorView& value, const RopeRow& rope, uint32_t head_size) override {
        matvec(q, query, x);
        matvec(k, key, x);
        matvec(v, value, x);
        rotate(q, query.rows, head_size, rope);
        rotate(k, key.rows, head_size, rope);
    }
    void attention(float* out, const float* q, const KvView& kv, const AttentionShape& shape, float* scores,
                   size_t score_stride) override {
        operators_.attention(out, q, kv, shape, scores, score_stride);
    }
    void project_add(float* y, const TensorView& w, const float* x) override {
        product_.resize(w.rows);
        matvec(product_.data(), w, x);
        for (size_t i = 0; i < w.rows; ++i) y[i] += product_[i];
    }
    void gate_up(float* h, const TensorView& gate, const TensorView& up, const float* x) override {
        product_.resize(up.rows);
        matvec(h, gate, x);
        matvec(product_.data(), up, x);
        for (size_t i = 0; i < gate.rows; ++i) h[i] = h[i] / (1.0f + std::exp(-h[i])) * product_[i];
    }
    void matvec(float* y, const TensorView& w, const float* x) override { operators_.matvec(y, w, x); }
    void rotate(float* heads, size_t n, uint32_t head_size, const RopeRow& rope) override {
        operators_.rotate(heads, n, head_size, rope);
    }
    uint32_t matvec_argmax(float* y, const TensorView& w, const float* x) override {
        matvec(y, w, x);
        return argmax(y, w.rows);
    }
    void softmax(float* values, size_t n) override { operators_.softmax(values, n); }
    uint32_t argmax(const float* values, size_t n) override { return operators_.argmax(values, n); }

 private:
    Operators& operators_;
    std::vector<float> product_;
};

}  // namespace bareflow::bench
