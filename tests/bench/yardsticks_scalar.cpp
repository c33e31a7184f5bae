// Compiled without vectorisation.
#include "tests/bench/yardsticks.h"

namespace bareflow::bench {

void seed_scalar(float* y, const float* w, const float* x, size_t n, size_t k) {
    for (size_t j = 0; j < n; ++j) {
        float sum = 0;
        for (size_t i = 0; i < k; ++i) sum += x[i] * w[i * n + j];
        y[j] = sum;
    }
}

void rows_scalar(float* y, const float* w, const float* x, size_t n, size_t k) {
    for (size_t j = 0; j < n; ++j, w += k) {
        float sums[4] = {};
        size_t i = 0;
        for (; i + 4 <= k; i += 4) {
            for (size_t lane = 0; lane < 4; ++lane) sums[lane] += x[i + lane] * w[i + lane];
        }
        for (; i < k; ++i) sums[0] += x[i] * w[i];
        y[j] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    }
}

}  // namespace bareflow::bench
