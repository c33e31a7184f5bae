// Compiled with -mavx2 -mfma.
#include <immintrin.h>

#include <utility>

#include "tests/bench/yardsticks.h"

namespace bareflow::bench {
namespace {

float sum_of_lanes(__m256 v) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_shuffle_ps(half, half, 1)));
}

/// Up to six rows of x against one panel of 16 columns. Unrolled by a fold: GCC's own unrolling comes too late to keep an
/// array of sums in registers.
template <size_t... kRows>
void panel_tile(float* c, const float* panel, const float* x, size_t n, size_t k,
                std::index_sequence<kRows...>) {
    __m256 low[sizeof...(kRows)] = {(static_cast<void>(kRows), _mm256_setzero_ps())...};
    __m256 high[sizeof...(kRows)] = {(static_cast<void>(kRows), _mm256_setzero_ps())...};
    for (size_t i = 0; i < k; ++i) {
        const __m256 w0 = _mm256_loadu_ps(panel + i * 16), w1 = _mm256_loadu_ps(panel + i * 16 + 8);
        const auto step = [&](size_t row) __attribute__((always_inline)) {
            const __m256 value = _mm256_broadcast_ss(x + row * k + i);
            low[row] = _mm256_fmadd_ps(w0, value, low[row]);
            high[row] = _mm256_fmadd_ps(w1, value, high[row]);
        };
        (step(kRows), ...);
    }
    ((_mm256_storeu_ps(c + kRows * n, low[kRows]), _mm256_storeu_ps(c + kRows * n + 8, high[kRows])), ...);
}
template <size_t kRows>
void panel_tile(float* c, const float* panel, const float* x, size_t n, size_t k) {
    panel_tile(c, panel, x, n, k, std::make_index_sequence<kRows>());
}

}  // namespace

void seed_avx2(float* y, const float* w, const float* x, size_t n, size_t k) {
    size_t j = 0;
    for (; j + 8 <= n; j += 8) {
        __m256 sum = _mm256_setzero_ps();
        for (size_t i = 0; i < k; ++i) {
            // Not fma: with one accumulator its longer latency would make this slower.
            sum =
                _mm256_add_ps(sum, _mm256_mul_ps(_mm256_broadcast_ss(x + i), _mm256_loadu_ps(w + i * n + j)));
        }
        _mm256_storeu_ps(y + j, sum);
    }
    for (; j < n; ++j) {
        float sum = 0;
        for (size_t i = 0; i < k; ++i) sum += x[i] * w[i * n + j];
        y[j] = sum;
    }
}

void rows_avx2(float* y, const float* w, const float* x, size_t n, size_t k) {
    for (size_t j = 0; j < n; ++j, w += k) {
        __m256 sums[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
        size_t i = 0;
        for (; i + 32 <= k; i += 32) {
#pragma GCC unroll 4
            for (size_t s = 0; s < 4; ++s) {
                sums[s] =
                    _mm256_fmadd_ps(_mm256_loadu_ps(w + i + 8 * s), _mm256_loadu_ps(x + i + 8 * s), sums[s]);
            }
        }
        for (; i + 8 <= k; i += 8) {
            sums[0] = _mm256_fmadd_ps(_mm256_loadu_ps(w + i), _mm256_loadu_ps(x + i), sums[0]);
        }
        float tail = 0;
        for (; i < k; ++i) tail += w[i] * x[i];
        y[j] = tail +
               sum_of_lanes(_mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3])));
    }
}

void panels_matmul_avx2(float* c, const float* w, const float* x, size_t m, size_t n, size_t k) {
    for (size_t column = 0; column < n; column += 16) {
        const float* panel = w + column * k;
        size_t row = 0;
        for (; row + 6 <= m; row += 6) panel_tile<6>(c + row * n + column, panel, x + row * k, n, k);
        for (; row + 4 <= m; row += 4) panel_tile<4>(c + row * n + column, panel, x + row * k, n, k);
        for (; row + 2 <= m; row += 2) panel_tile<2>(c + row * n + column, panel, x + row * k, n, k);
        for (; row < m; ++row) panel_tile<1>(c + row * n + column, panel, x + row * k, n, k);
    }
}

void rotate_avx2(float* values, size_t n, size_t head_size, const float* cos, const float* sin) {
    for (size_t head = 0; head < n; head += head_size) {
        for (size_t i = 0; i + 8 <= head_size; i += 8) {
            float* place = values + head + i;
            const __m256 value = _mm256_loadu_ps(place);
            const __m256i twice = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
            const __m256 c =
                _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(cos + i / 2)), twice);
            const __m256 s =
                _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(sin + i / 2)), twice);
            const __m256 swapped = _mm256_mul_ps(_mm256_permute_ps(value, 0xB1), s);
            _mm256_storeu_ps(place, _mm256_addsub_ps(_mm256_mul_ps(value, c), swapped));
        }
    }
}

}  // namespace bareflow::bench
