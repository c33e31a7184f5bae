// The transformer's operators by emitted routines; what has none runs on the reference. The bits are the same.
#pragma once

#include "arch/base/allocator.h"
#include "arch/base/quantised.h"
#include "emitter/routine_cache.h"
#include "model/operators.h"

namespace bareflow {

class RoutineOperators final : public Operators {
 public:
    /// `isa` is what routines are made for; `reference` is of the same numeric class and answers the rest. `allocator` gives
    /// room for quantised inputs.
    RoutineOperators(RoutineCache& cache, Operators& reference, Isa isa, Allocator& allocator)
        : cache_(cache), reference_(reference), isa_(isa), allocator_(allocator) {}

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
    uint32_t argmax(const float* values, size_t n) override;

 private:
    RoutineKey key_for(Operation operation) const;
    RoutineKey key_for(Operation operation, const TensorView& w) const;
    /// Runs the key's routine, made if need be; false if there is none.
    bool run(const RoutineKey& key, const void* arguments);
    /// x as routines of the key want it: itself, or quantised, valid until the next call; nullptr if there is no room.
    const void* input_for(const RoutineKey& key, const float* x);
    bool project(float* y, const TensorView& w, const float* x, Epilogue epilogue);

    RoutineCache& cache_;
    Operators& reference_;
    Isa isa_;
    Allocator& allocator_;
    Buffer<Q8Group> quantised_;  ///< the input at hand; as large as the largest so far
};

}  // namespace bareflow
