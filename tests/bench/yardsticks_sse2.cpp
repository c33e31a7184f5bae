#include <emmintrin.h>

#include "tests/bench/yardsticks.h"

namespace bareflow::bench {
namespace {

float sum_of_lanes(__m128 v) {
    v = _mm_add_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_add_ss(v, _mm_shuffle_ps(v, v, 1)));
}

}  // namespace

void seed_sse2(float* y, const float* w, const float* x, size_t n, size_t k) {
    size_t j = 0;
    for (; j + 4 <= n; j += 4) {
        __m128 sum = _mm_setzero_ps();
        for (size_t i = 0; i < k; ++i) {
            sum = _mm_add_ps(sum, _mm_mul_ps(_mm_set1_ps(x[i]), _mm_loadu_ps(w + i * n + j)));
        }
        _mm_storeu_ps(y + j, sum);
    }
    for (; j < n; ++j) {
        float sum = 0;
        for (size_t i = 0; i < k; ++i) sum += x[i] * w[i * n + j];
        y[j] = sum;
    }
}

void rows_sse2(float* y, const float* w, const float* x, size_t n, size_t k) {
    for (size_t j = 0; j < n; ++j, w += k) {
        __m128 sums[4] = {_mm_setzero_ps(), _mm_setzero_ps(), _mm_setzero_ps(), _mm_setzero_ps()};
        size_t i = 0;
        for (; i + 16 <= k; i += 16) {
            for (size_t s = 0; s < 4; ++s) {
                const __m128 product = _mm_mul_ps(_mm_loadu_ps(w + i + 4 * s), _mm_loadu_ps(x + i + 4 * s));
                sums[s] = _mm_add_ps(sums[s], product);
            }
        }
        float tail = 0;
        for (; i < k; ++i) tail += w[i] * x[i];
        y[j] = tail + sum_of_lanes(_mm_add_ps(_mm_add_ps(sums[0], sums[1]), _mm_add_ps(sums[2], sums[3])));
    }
}

}  // namespace bareflow::bench
