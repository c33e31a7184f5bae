// The reference operators, written once as templates over a numeric class. Only the two files that make the
// tables (reference_fma.cpp, reference_muladd.cpp) include this. All stands in an anonymous namespace, so
// that each of them has its own copies and none compiled for FMA can be taken by another caller.
//
// A numeric class is a struct with `static float multiply_add(float a, float b, float c)`, a * b + c.
#pragma once

#include <cstddef>
#include <cstdint>

#include "arch/base/exponential.h"
#include "arch/base/float16.h"
#include "model/quantised_kernels.h"
#include "model/reference_table.h"

namespace bareflow {
namespace {

// ---------------------------------------------------------------- exp
template <typename Numerics>
float exponential(float x) {
    // As minps and maxps with the constant first: where x is NaN the comparison is false and x stays.
    x = kExpHighest < x ? kExpHighest : x;
    x = kExpLowest > x ? kExpLowest : x;
    const float shifted = Numerics::multiply_add(x, kExpLog2E, kExpRoundingMagic);
    const float n = shifted - kExpRoundingMagic;
    float r = Numerics::multiply_add(n, -kExpLn2High, x);
    r = Numerics::multiply_add(n, -kExpLn2Low, r);
    float p = kExpCoefficients[0];
    UNROLL(8)
    for (size_t i = 1; i < sizeof kExpCoefficients / sizeof(float); ++i) {
        p = Numerics::multiply_add(p, r, kExpCoefficients[i]);
    }
    // n + bias moves to the exponent field; the magic number's own bits fall out at the top.
    const uint32_t scale = (__builtin_bit_cast(uint32_t, shifted) + kFloatExponentBias)
                           << kFloatExponentShift;
    return p * __builtin_bit_cast(float, scale);
}

// ---------------------------------------------------------------- sums over k, one accumulator an output
inline float as_f32(float value) { return value; }
/// Once for all the sums: unrolled in each of them it would be most of the reference.
[[gnu::noinline]] float as_f32(uint16_t half) { return f32_from_f16(half); }

/// sums[r] = w(r, 0) * x[0] + w(r, 1) * x[1] + …, with w(r, k) at w[r * row_stride + k * k_stride]. The rows
/// only overlap each other's latency; each has its own accumulator.
template <typename Numerics, size_t kRows, typename Element>
inline void sum_rows(float* sums, const Element* w, size_t row_stride, size_t k_stride, size_t size,
                     const float* x) {
    float accumulators[kRows] = {};
    for (size_t k = 0; k < size; ++k) {
        UNROLL(16)
        for (size_t r = 0; r < kRows; ++r) {
            accumulators[r] = Numerics::multiply_add(as_f32(w[r * row_stride]), x[k], accumulators[r]);
        }
        w += k_stride;
    }
    UNROLL(16)
    for (size_t r = 0; r < kRows; ++r) sums[r] = accumulators[r];
}

/// As sum_rows, for any number of rows: as many at once as fit in registers, then one by one.
template <typename Numerics, typename Element>
void sum_any_rows(float* sums, size_t rows, const Element* w, size_t row_stride, size_t k_stride, size_t size,
                  const float* x) {
    constexpr size_t kAtOnce = 8;
    size_t r = 0;
    for (; r + kAtOnce <= rows; r += kAtOnce) {
        sum_rows<Numerics, kAtOnce>(sums + r, w + r * row_stride, row_stride, k_stride, size, x);
    }
    for (; r < rows; ++r) sum_rows<Numerics, 1>(sums + r, w + r * row_stride, row_stride, k_stride, size, x);
}

template <typename Numerics, typename Element>
void sum_panel(float* sums, const TensorView& w, size_t first, size_t count, const float* x) {
    const Element* rows = static_cast<const Element*>(w.data) + first * w.columns;
    if (w.layout == Layout::kPanels16) {
        sum_rows<Numerics, kPanelRows>(sums, rows, 1, kPanelRows, w.columns, x);
    } else {
        sum_any_rows<Numerics>(sums, count, rows, w.columns, 1, w.columns, x);
    }
}

/// The sums of up to 16 rows of W x from row `first`, a multiple of 16. sums: (16), of which the first
/// `count` count.
template <typename Numerics>
void sum_panel(float* sums, const TensorView& w, size_t first, size_t count, const float* x) {
    switch (w.type) {
        case ElementType::kF32:
            return sum_panel<Numerics, float>(sums, w, first, count, x);
        case ElementType::kF16:
            return sum_panel<Numerics, uint16_t>(sums, w, first, count, x);
        case ElementType::kQ8_0:
            return sum_quantised_panel<Q8Panel>(sums, w, first, x);
        case ElementType::kQ4_0:
            return sum_quantised_panel<Q4Panel>(sums, w, first, x);
    }
}

size_t rows_from(const TensorView& w, size_t first) {
    return w.rows - first < kPanelRows ? w.rows - first : kPanelRows;
}

template <typename Numerics>
void matvec(float* y, const TensorView& w, const float* x) {
    for (size_t first = 0; first < w.rows; first += kPanelRows) {
        const size_t count = rows_from(w, first);
        float sums[kPanelRows];
        sum_panel<Numerics>(sums, w, first, count, x);
        for (size_t r = 0; r < count; ++r) y[first + r] = sums[r];
    }
}

template <typename Numerics>
void project_add(float* y, const TensorView& w, const float* x) {
    for (size_t first = 0; first < w.rows; first += kPanelRows) {
        const size_t count = rows_from(w, first);
        float sums[kPanelRows];
        sum_panel<Numerics>(sums, w, first, count, x);
        for (size_t r = 0; r < count; ++r) y[first + r] = y[first + r] + sums[r];
    }
}

template <typename Numerics>
float silu(float x) {
    return x / (1.0f + exponential<Numerics>(-x));
}

template <typename Numerics>
void gate_up(float* h, const TensorView& gate, const TensorView& up, const float* x) {
    for (size_t first = 0; first < gate.rows; first += kPanelRows) {
        const size_t count = rows_from(gate, first);
        float gates[kPanelRows], ups[kPanelRows];
        sum_panel<Numerics>(gates, gate, first, count, x);
        sum_panel<Numerics>(ups, up, first, count, x);
        for (size_t r = 0; r < count; ++r) h[first + r] = silu<Numerics>(gates[r]) * ups[r];
    }
}

// ---------------------------------------------------------------- sums that share 16 lanes
constexpr size_t kLanes = 16;

/// The fixed tree over the lanes: 16 to 8 to 4 to 2 to 1, lane i with lane i + half.
inline float reduce_lanes(float* lanes) {
    for (size_t half = kLanes / 2; half > 0; half /= 2) {
        for (size_t i = 0; i < half; ++i) lanes[i] = lanes[i] + lanes[i + half];
    }
    return lanes[0];
}

/// a · b: lane i sums elements i, i + 16, …, from +0.
template <typename Numerics, typename Element>
float dot_lanes(const float* a, const Element* b, size_t n) {
    float lanes[kLanes] = {};
    size_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
        UNROLL(16)
        for (size_t lane = 0; lane < kLanes; ++lane) {
            lanes[lane] = Numerics::multiply_add(a[i + lane], as_f32(b[i + lane]), lanes[lane]);
        }
    }
    for (size_t lane = 0; i + lane < n; ++lane) {
        lanes[lane] = Numerics::multiply_add(a[i + lane], as_f32(b[i + lane]), lanes[lane]);
    }
    return reduce_lanes(lanes);
}

template <typename Numerics>
void rms_norm(float* y, const float* x, const float* weight, size_t n, float eps) {
    const float mean = dot_lanes<Numerics>(x, x, n) / static_cast<float>(n);
    const float inverse = 1.0f / __builtin_sqrtf(mean + eps);
    for (size_t i = 0; i < n; ++i) y[i] = (x[i] * inverse) * weight[i];
}

template <typename Numerics>
void rope(float* heads, size_t n, size_t head_size, const float* cos, const float* sin) {
    for (size_t head = 0; head < n; head += head_size) {
        for (size_t i = 0; i < head_size / 2; ++i) {
            float* pair = heads + head + 2 * i;
            const float x0 = pair[0], x1 = pair[1];
            pair[0] = Numerics::multiply_add(x0, cos[i], -(x1 * sin[i]));
            pair[1] = Numerics::multiply_add(x1, cos[i], x0 * sin[i]);
        }
    }
}

/// values[i] = e^(values[i] - their maximum), in place; returns 1 / the sum of them.
template <typename Numerics>
float softmax_weights(float* values, size_t n) {
    float maximum = values[0];
    for (size_t i = 1; i < n; ++i) maximum = values[i] > maximum ? values[i] : maximum;
    float lanes[kLanes] = {};
    for (size_t i = 0; i < n; ++i) {
        values[i] = exponential<Numerics>(values[i] - maximum);
        lanes[i % kLanes] = lanes[i % kLanes] + values[i];
    }
    return 1.0f / reduce_lanes(lanes);
}

template <typename Numerics>
void softmax(float* values, size_t n) {
    const float inverse = softmax_weights<Numerics>(values, n);
    for (size_t i = 0; i < n; ++i) values[i] = values[i] * inverse;
}

template <typename Numerics, typename Element>
void attend(float* out, const float* q, const Element* keys, const Element* values, size_t positions,
            size_t num_heads, size_t num_kv_heads, size_t head_size, float* scores, size_t score_stride) {
    const size_t kv_size = num_kv_heads * head_size;
    const size_t heads_per_kv = num_heads / num_kv_heads;
    const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(head_size));
    for (size_t head = 0; head < num_heads; ++head) {
        const float* query = q + head * head_size;
        const size_t kv_offset = head / heads_per_kv * head_size;
        float* weights = scores + head * score_stride;
        for (size_t p = 0; p < positions; ++p) {
            weights[p] = dot_lanes<Numerics>(query, keys + p * kv_size + kv_offset, head_size) * scale;
        }
        const float inverse = softmax_weights<Numerics>(weights, positions);
        float* result = out + head * head_size;
        // Output d is a row whose k-th element is the value of position k.
        sum_any_rows<Numerics>(result, head_size, values + kv_offset, 1, kv_size, positions, weights);
        for (size_t d = 0; d < head_size; ++d) result[d] = result[d] * inverse;
    }
}

template <typename Numerics>
void attention(float* out, const float* q, const void* keys, const void* values, ElementType type,
               size_t positions, size_t num_heads, size_t num_kv_heads, size_t head_size, float* scores,
               size_t score_stride) {
    if (type == ElementType::kF16) {
        attend<Numerics>(out, q, static_cast<const uint16_t*>(keys), static_cast<const uint16_t*>(values),
                         positions, num_heads, num_kv_heads, head_size, scores, score_stride);
    } else {
        attend<Numerics>(out, q, static_cast<const float*>(keys), static_cast<const float*>(values),
                         positions, num_heads, num_kv_heads, head_size, scores, score_stride);
    }
}

template <typename Numerics>
constexpr ReferenceKernels make_kernels() {
    return {.exp = exponential<Numerics>,
            .rms_norm = rms_norm<Numerics>,
            .rope = rope<Numerics>,
            .attention = attention<Numerics>,
            .softmax = softmax<Numerics>,
            .matvec = matvec<Numerics>,
            .project_add = project_add<Numerics>,
            .gate_up = gate_up<Numerics>,
            .quantise = quantise};
}

}  // namespace
}  // namespace bareflow
