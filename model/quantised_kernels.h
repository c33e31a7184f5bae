// The reference's sums over quantised weights. The same bits in both numeric classes: no multiply-add is fused here.
// Included by reference_kernels.h only, and in an anonymous namespace for the same reason.
#pragma once

#include "arch/base/float16.h"
#include "arch/base/quantised.h"

// Native images have the reference compiled for size (Makefile): there, a loop stays one.
#ifdef __OPTIMIZE_SIZE__
#define UNROLL(times)
#else
#define PRAGMA(text) _Pragma(#text)
#define UNROLL(times) PRAGMA(GCC unroll times)
#endif

namespace bareflow {
namespace {

/// Added and taken away again, it rounds to the nearest whole number, ties to even (|x| < 2^22).
constexpr float kRoundToWhole = 0x1.8p23f;

/// The largest |x| of a group; a NaN is passed over.
inline float largest_magnitude(const float* x) {
    float largest = 0;
    for (size_t k = 0; k < kGroup; ++k) {
        const float magnitude = __builtin_fabsf(x[k]);
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

inline void quantise_group(Q8Group& to, const float* x) {
    const float largest = largest_magnitude(x);
    const bool zeros = largest < kSmallestQ8Group;
    to.scale = zeros ? 0.0f : largest / kLargestQ8;
    const float inverse = zeros ? 0.0f : 1.0f / to.scale;
    to.sum = 0;
    for (size_t k = 0; k < kGroup; ++k) {
        // As maxps and minps with the constant second: a NaN becomes -127.
        float scaled = x[k] * inverse;
        scaled = scaled > -kLargestQ8 ? scaled : -kLargestQ8;
        scaled = scaled < kLargestQ8 ? scaled : kLargestQ8;
        const float whole = (scaled + kRoundToWhole) - kRoundToWhole;
        to.q[k] = static_cast<int8_t>(whole);
        to.magnitude[k] = static_cast<uint8_t>(to.q[k] < 0 ? -to.q[k] : to.q[k]);
        to.sum += to.q[k];
    }
}

void quantise(Q8Group* to, const float* x, size_t k) {
    for (size_t group = 0; group < k / kGroup; ++group) quantise_group(to[group], x + group * kGroup);
}

/// Exact: at most 32 * 128 * 127.
template <typename Panel>
int32_t dot_group(const Panel& w, size_t output, const Q8Group& x) {
    int32_t dot = 0;
    UNROLL(32)
    for (size_t k = 0; k < kGroup; ++k) dot += value_at(w, output, k) * x.q[k];
    return dot;
}

/// The sums of the 16 rows from `first` on, a multiple of 16. The input is quantised again for each panel, which costs
/// the reference a seventh of its time and saves it a buffer.
template <typename Panel>
void sum_quantised_panel(float* sums, const TensorView& w, size_t first, const float* x) {
    const size_t groups = w.columns / kGroup;
    const Panel* panel = static_cast<const Panel*>(w.data) + first / kPanelRows * groups;
    for (size_t output = 0; output < kPanelRows; ++output) sums[output] = 0;
    for (size_t group = 0; group < groups; ++group, ++panel) {
        Q8Group quantised;
        quantise_group(quantised, x + group * kGroup);
        for (size_t output = 0; output < kPanelRows; ++output) {
            const auto dot = static_cast<float>(dot_group(*panel, output, quantised));
            sums[output] = sums[output] + (f32_from_f16(panel->scales[output]) * quantised.scale) * dot;
        }
    }
}

}  // namespace
}  // namespace bareflow
