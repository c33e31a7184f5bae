// The seam between the reference's two numeric classes and the rest: a table of plain functions over raw
// pointers. model/reference_fma.cpp is compiled for FMA, so nothing but its table may be seen from outside
// (DESIGN.md "Numbers are a contract").
#pragma once

#include <cstddef>

#include "arch/base/quantised.h"
#include "arch/base/tensor.h"

namespace bareflow {

/// The operators of one numeric class; model/README.md "Numbers" defines each. Buffers do not overlap unless
/// said so.
struct ReferenceKernels {
    float (*exp)(float x);
    /// y, x, weight: (n).
    void (*rms_norm)(float* y, const float* x, const float* weight, size_t n, float eps);
    /// Rotates the pairs (2i, 2i+1) of each head in place. heads: (n), n a multiple of head_size; cos, sin:
    /// (head_size / 2).
    void (*rope)(float* heads, size_t n, size_t head_size, const float* cos, const float* sin);
    /// out, q: (num_heads * head_size); keys, values: (positions, num_kv_heads * head_size) of `type`, kF32 or kF16;
    /// scores: (num_heads, score_stride), of which the first `positions` of each row are written.
    void (*attention)(float* out, const float* q, const void* keys, const void* values, ElementType type,
                      size_t positions, size_t num_heads, size_t num_kv_heads, size_t head_size,
                      float* scores, size_t score_stride);
    /// values[i] = e^(values[i] - their maximum) / the sum of these: times the sum's inverse. values: (n), n >= 1.
    void (*softmax)(float* values, size_t n);
    /// y = W x. y: (rows), x: (columns).
    void (*matvec)(float* y, const TensorView& w, const float* x);
    /// y += W x.
    void (*project_add)(float* y, const TensorView& w, const float* x);
    /// h = silu(Wg x) * (Wu x). h: (rows), x: (columns).
    void (*gate_up)(float* h, const TensorView& gate, const TensorView& up, const float* x);
    /// What quantised weights meet in place of x. to: (k / 32), x: (k), k a multiple of 32.
    void (*quantise)(Q8Group* to, const float* x, size_t k);
};

/// Every multiply-add is one fma instruction: call it only on a CPU that has FMA.
extern const ReferenceKernels kFmaKernels;
/// Every multiply-add is a multiplication, rounded, and an addition, rounded.
extern const ReferenceKernels kMulAddKernels;

}  // namespace bareflow
