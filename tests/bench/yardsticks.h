// Hand-written products that emitted routines are measured against: SEED.md's own algorithms, and well-made ones.
//
// Each file is compiled for its instructions and holds functions over raw pointers only. Sums are in other orders than
// the reference's: yardsticks are compared by speed, and checked with a tolerance.
#pragma once

#include <cstddef>

namespace bareflow::bench {

/// y = W x. `w` is (k, n) row-major for SEED's algorithms, (n, k) row-major for the others.
using Matvec = void (*)(float* y, const float* w, const float* x, size_t n, size_t k);

// SEED.md: the triple loop over B[k * N + j]; four and eight columns at a time, one accumulator over k.
void seed_scalar(float* y, const float* w, const float* x, size_t n, size_t k);
void seed_sse2(float* y, const float* w, const float* x, size_t n, size_t k);
void seed_avx2(float* y, const float* w, const float* x, size_t n, size_t k);

// Row by row, four accumulators that hide each other's latency.
void rows_scalar(float* y, const float* w, const float* x, size_t n, size_t k);
void rows_sse2(float* y, const float* w, const float* x, size_t n, size_t k);
void rows_avx2(float* y, const float* w, const float* x, size_t n, size_t k);

/// c (m, n) = x (m, k) times W, given in panels of 16 columns, (n / 16, k, 16): six rows by 16 columns of AVX2
/// accumulators, the classic micro-kernel. n is a multiple of 16.
void panels_matmul_avx2(float* c, const float* w, const float* x, size_t m, size_t n, size_t k);

/// Rotates the pairs of heads in place, as a pass of its own.
void rotate_avx2(float* values, size_t n, size_t head_size, const float* cos, const float* sin);

}  // namespace bareflow::bench
