// The transformer's operators by emitted routines; what has none runs on the reference. The bits are the same.
#pragma once

#include "emitter/routine_cache.h"
#include "model/operators.h"

namespace bareflow {

class RoutineOperators final : public Operators {
 public:
    /// `isa` is what routines are made for; `reference` is of the same numeric class and answers the rest.
    RoutineOperators(RoutineCache& cache, Operators& reference, Isa isa)
        : cache_(cache), reference_(reference), isa_(isa) {}

    NumericClass numeric_class() const override { return reference_.numeric_class(); }
    void embed(float* row, const TensorView& table, uint32_t token) override {
        reference_.embed(row, table, token);
    }
    void rms_norm(float* y, const float* x, const float* weight, size_t n, float eps) override;
    void qkv(float* q, float* k, float* v, const float* x, const TensorView& query, const TensorView& key,
             const TensorView& value, const RopeRow& rope, uint32_t head_size) override;
    void attention(float* out, const float* q, const KvView& kv, const AttentionShape& shape, float* scores,
                   size_t score_stride) override;
    void project_add(float* y, const TensorView& w, const float* x) override;
    void gate_up(float* h, const TensorView& gate, const TensorView& up, const float* x) override;
    void matvec(float* y, const TensorView& w, const float* x) override;
    uint32_t matvec_argmax(float* y, const TensorView& w, const float* x) override;
    void softmax(float* values, size_t n) override;
    void rotate(float* heads, size_t n, uint32_t head_size, const RopeRow& rope) override {
        reference_.rotate(heads, n, head_size, rope);
    }
    void qkv_rows(float* q, float* k, float* v, const float* x, const TensorView& query,
                  const TensorView& key, const TensorView& value, const RopeRow& rope, uint32_t head_size,
                  size_t rows) override;
    void project_add_rows(float* y, const TensorView& w, const float* x, size_t rows) override;
    void gate_up_rows(float* h, const TensorView& gate, const TensorView& up, const float* x,
                      size_t rows) override;
    uint32_t argmax(const float* values, size_t n) override;

 private:
    RoutineKey key_for(Operation operation) const;
    RoutineKey key_for(Operation operation, const TensorView& w) const;
    /// Runs the key's routine, made if need be; false if there is none.
    bool run(const RoutineKey& key, const void* arguments);
    bool project(float* y, const TensorView& w, const float* x, Epilogue epilogue, size_t rows = 1);

    RoutineCache& cache_;
    Operators& reference_;
    Isa isa_;
};

}  // namespace bareflow
