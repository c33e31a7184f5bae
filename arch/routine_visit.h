// Who wants to know which routines a model's calls would run, without anything being computed.
#pragma once

#include "arch/base/routine.h"
#include "emitter/routine_emitter.h"
#include "model/operators.h"

namespace bareflow {

class RoutineVisitor {
 public:
    /// A call that the routine of `key` would answer: its weights are the model's own, its other tensors are not to be
    /// touched. has_routine() said yes.
    virtual void visit(const RoutineKey& key, const void* arguments) = 0;

    /// Whether there is, or can be, a routine for the key: by default, whether the emitter has a generator for it.
    virtual bool has_routine(const RoutineKey& key) const { return can_emit(key); }

 protected:
    ~RoutineVisitor() = default;
};

/// Operators that compute nothing: where it only matters what is asked for.
class NoOperators final : public Operators {
 public:
    explicit NoOperators(NumericClass numerics) : numerics_(numerics) {}
    NumericClass numeric_class() const override { return numerics_; }
    void embed(float*, const TensorView&, uint32_t) override {}
    void rms_norm(float*, const float*, const float*, size_t, float) override {}
    void qkv(float*, float*, float*, const float*, const TensorView&, const TensorView&, const TensorView&,
             const RopeRow&, uint32_t) override {}
    void attention(float*, const float*, const KvView&, const AttentionShape&, float*, size_t) override {}
    void project_add(float*, const TensorView&, const float*) override {}
    void gate_up(float*, const TensorView&, const TensorView&, const float*) override {}
    void matvec(float*, const TensorView&, const float*) override {}
    uint32_t matvec_argmax(float*, const TensorView&, const float*) override { return 0; }
    void softmax(float*, size_t) override {}
    void rotate(float*, size_t, uint32_t, const RopeRow&) override {}
    uint32_t argmax(const float*, size_t) override { return 0; }

 private:
    NumericClass numerics_;
};

}  // namespace bareflow
