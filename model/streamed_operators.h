// Operators over weights that are read while a token needs them: whatever computes, beneath a WeightStream.
#pragma once

#include "model/operators.h"
#include "model/weight_stream.h"

namespace bareflow {

/// The matrices that it is called with have shapes and no data; which ones they are is known by the order of the calls, which
/// is that of a Transformer. The results are those of `inner` on the whole weights.
class StreamedOperators final : public Operators {
 public:
    enum class Mode : uint8_t {
        kRun,
        kShow  ///< one call of each shape is passed on, with data; nothing is meant to be computed
    };
    /// Both outlive this.
    StreamedOperators(Operators& inner, WeightStream& stream, Mode mode = Mode::kRun)
        : inner_(inner), stream_(stream), mode_(mode) {}

    NumericClass numeric_class() const override { return inner_.numeric_class(); }
    void enter(Phase phase) override { inner_.enter(phase); }
    void embed(float* row, const TensorView& table, uint32_t token) override;
    void rms_norm(float* y, const float* x, const float* weight, size_t n, float eps) override {
        inner_.rms_norm(y, x, weight, n, eps);
    }
    void qkv(float* q, float* k, float* v, const float* x, const TensorView& query, const TensorView& key,
             const TensorView& value, const RopeRow& rope, uint32_t head_size) override {
        qkv_rows(q, k, v, x, query, key, value, rope, head_size, 1);
    }
    void attention(float* out, const float* q, const KvView& kv, const AttentionShape& shape, float* scores,
                   size_t score_stride) override {
        inner_.attention(out, q, kv, shape, scores, score_stride);
    }
    void project_add(float* y, const TensorView& w, const float* x) override { project_add_rows(y, w, x, 1); }
    void gate_up(float* h, const TensorView& gate, const TensorView& up, const float* x) override {
        gate_up_rows(h, gate, up, x, 1);
    }
    void matvec(float* y, const TensorView& w, const float* x) override { matvec_argmax(y, w, x); }
    void rotate(float* heads, size_t n, uint32_t head_size, const RopeRow& rope) override {
        inner_.rotate(heads, n, head_size, rope);
    }
    uint32_t matvec_argmax(float* y, const TensorView& w, const float* x) override;
    void softmax(float* values, size_t n) override { inner_.softmax(values, n); }
    uint32_t argmax(const float* values, size_t n) override { return inner_.argmax(values, n); }
    void qkv_rows(float* q, float* k, float* v, const float* x, const TensorView& query,
                  const TensorView& key, const TensorView& value, const RopeRow& rope, uint32_t head_size,
                  size_t rows) override;
    void project_add_rows(float* y, const TensorView& w, const float* x, size_t rows) override;
    void gate_up_rows(float* h, const TensorView& gate, const TensorView& up, const float* x,
                      size_t rows) override;

 private:
    static constexpr size_t kMostShown = 32;

    /// The next matrices, shaped as these; empty if they are not to be passed on.
    std::span<const TensorView> next(std::span<const TensorView* const> wanted);
    bool was_shown(std::span<const TensorView> views);

    Operators& inner_;
    WeightStream& stream_;
    Mode mode_;
    struct Shown {
        TensorView views[3];
        size_t count;
    };
    Shown shown_[kMostShown];
    size_t shown_count_ = 0;
};

}  // namespace bareflow
