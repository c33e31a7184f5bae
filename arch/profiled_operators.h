// Any operators, with the profiler listening: each call is timed by its operation and shape.
#pragma once

#include "model/operators.h"
#include "profiler/matmul_profile.h"

namespace bareflow {

class ProfiledOperators final : public Operators {
 public:
    ProfiledOperators(Operators& operators, Profiler& profiler)
        : operators_(operators), profiler_(profiler) {}

    NumericClass numeric_class() const override { return operators_.numeric_class(); }
    void enter(Phase phase) override { profiler_.enter(phase); }
    void embed(float* row, const TensorView& table, uint32_t token) override {
        // A pass begins with the embeddings of its tokens: rows copied, not worth timing.
        if (!embedding_) profiler_.pass_begins();
        embedding_ = true;
        operators_.embed(row, table, token);
    }
    void rms_norm(float* y, const float* x, const float* weight, size_t n, float eps) override {
        const Call call(*this, Operation::kRmsNorm, n);
        operators_.rms_norm(y, x, weight, n, eps);
    }
    void qkv(float* q, float* k, float* v, const float* x, const TensorView& query, const TensorView& key,
             const TensorView& value, const RopeRow& rope, uint32_t head_size) override {
        const Call call(*this, Operation::kQkv, query);
        operators_.qkv(q, k, v, x, query, key, value, rope, head_size);
    }
    void attention(float* out, const float* q, const KvView& kv, const AttentionShape& shape, float* scores,
                   size_t score_stride) override {
        const Call call(*this, {Operation::kAttention, kv.type, 1, shape.num_heads * shape.head_size,
                                shape.num_kv_heads * shape.head_size});
        operators_.attention(out, q, kv, shape, scores, score_stride);
    }
    void project_add(float* y, const TensorView& w, const float* x) override {
        const Call call(*this, Operation::kProject, w);
        operators_.project_add(y, w, x);
    }
    void gate_up(float* h, const TensorView& gate, const TensorView& up, const float* x) override {
        const Call call(*this, Operation::kGateUp, gate);
        operators_.gate_up(h, gate, up, x);
    }
    void matvec(float* y, const TensorView& w, const float* x) override {
        const Call call(*this, Operation::kProject, w);
        operators_.matvec(y, w, x);
    }
    uint32_t matvec_argmax(float* y, const TensorView& w, const float* x) override {
        const Call call(*this, Operation::kProject, w);
        return operators_.matvec_argmax(y, w, x);
    }
    void rotate(float* heads, size_t n, uint32_t head_size, const RopeRow& rope) override {
        operators_.rotate(heads, n, head_size, rope);
    }
    void qkv_rows(float* q, float* k, float* v, const float* x, const TensorView& query,
                  const TensorView& key, const TensorView& value, const RopeRow& rope, uint32_t head_size,
                  size_t rows) override {
        const Call call(*this, Operation::kQkv, query, rows);
        operators_.qkv_rows(q, k, v, x, query, key, value, rope, head_size, rows);
    }
    void project_add_rows(float* y, const TensorView& w, const float* x, size_t rows) override {
        const Call call(*this, Operation::kProject, w, rows);
        operators_.project_add_rows(y, w, x, rows);
    }
    void gate_up_rows(float* h, const TensorView& gate, const TensorView& up, const float* x,
                      size_t rows) override {
        const Call call(*this, Operation::kGateUp, gate, rows);
        operators_.gate_up_rows(h, gate, up, x, rows);
    }
    void softmax(float* values, size_t n) override {
        const Call call(*this, Operation::kSoftmax, n);
        operators_.softmax(values, n);
    }
    uint32_t argmax(const float* values, size_t n) override {
        const Call call(*this, Operation::kArgmax, n);
        return operators_.argmax(values, n);
    }

 private:
    class Call {
     public:
        Call(ProfiledOperators& self, const ProfiledShape& shape) : profiler_(self.profiler_) {
            self.embedding_ = false;
            profiler_.matmul_profile_begin(shape);
        }
        Call(ProfiledOperators& self, Operation operation, const TensorView& w, size_t rows = 1)
            : Call(self, {operation, w.type, static_cast<uint32_t>(rows), w.rows, w.columns}) {}
        Call(ProfiledOperators& self, Operation operation, size_t n)
            : Call(self, {operation, {}, 1, static_cast<uint32_t>(n), 1}) {}
        Call(const Call&) = delete;
        ~Call() { profiler_.matmul_profile_end(); }

     private:
        Profiler& profiler_;
    };

    Operators& operators_;
    Profiler& profiler_;
    bool embedding_ = false;  ///< the last call was embed()
};

}  // namespace bareflow
