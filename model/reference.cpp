#include "model/reference.h"

#include "arch/base/float16.h"
#include "arch/base/quantised.h"
#include "model/reference_table.h"

namespace bareflow {
namespace {

/// row[k] = element k * stride of `source`, for the `columns` elements of a row.
template <typename Element>
void copy_row(float* row, const void* data, size_t first, size_t stride, size_t columns) {
    const Element* source = static_cast<const Element*>(data) + first;
    for (size_t k = 0; k < columns; ++k) {
        if constexpr (sizeof(Element) == sizeof(float)) {
            row[k] = source[k * stride];
        } else {
            row[k] = f32_from_f16(source[k * stride]);
        }
    }
}

/// Exact: a scale of 11 bits times a value of 8 fits in a float.
template <typename Panel>
void dequantise_row(float* row, const TensorView& table, size_t index) {
    const size_t groups = table.columns / kGroup;
    const Panel* panel = static_cast<const Panel*>(table.data) + index / kPanelRows * groups;
    const size_t output = index % kPanelRows;
    for (size_t k = 0; k < table.columns; ++k) {
        const Panel& group = panel[k / kGroup];
        row[k] = static_cast<float>(value_at(group, output, k % kGroup)) * f32_from_f16(group.scales[output]);
    }
}

class ReferenceOperators final : public Operators {
 public:
    constexpr ReferenceOperators(NumericClass numerics, const ReferenceKernels& kernels)
        : numerics_(numerics), kernels_(kernels) {}

    NumericClass numeric_class() const override { return numerics_; }

    void embed(float* row, const TensorView& table, uint32_t token) override {
        if (table.type == ElementType::kQ8_0) return dequantise_row<Q8Panel>(row, table, token);
        if (table.type == ElementType::kQ4_0) return dequantise_row<Q4Panel>(row, table, token);
        const size_t columns = table.columns;
        const bool panels = table.layout == Layout::kPanels16;
        const size_t first =
            panels ? token / kPanelRows * kPanelRows * columns + token % kPanelRows : token * columns;
        const size_t stride = panels ? kPanelRows : 1;
        if (table.type == ElementType::kF32) {
            copy_row<float>(row, table.data, first, stride, columns);
        } else {
            copy_row<uint16_t>(row, table.data, first, stride, columns);
        }
    }

    void rms_norm(float* y, const float* x, const float* weight, size_t n, float eps) override {
        kernels_.rms_norm(y, x, weight, n, eps);
    }

    void qkv(float* q, float* k, float* v, const float* x, const TensorView& query, const TensorView& key,
             const TensorView& value, const RopeRow& rope, uint32_t head_size) override {
        kernels_.matvec(q, query, x);
        kernels_.matvec(k, key, x);
        kernels_.matvec(v, value, x);
        kernels_.rope(q, query.rows, head_size, rope.cos, rope.sin);
        kernels_.rope(k, key.rows, head_size, rope.cos, rope.sin);
    }

    void rotate(float* heads, size_t n, uint32_t head_size, const RopeRow& rope) override {
        kernels_.rope(heads, n, head_size, rope.cos, rope.sin);
    }

    void attention(float* out, const float* q, const KvView& kv, const AttentionShape& shape, float* scores,
                   size_t score_stride) override {
        kernels_.attention(out, q, kv.keys, kv.values, kv.type, kv.positions, shape.num_heads,
                           shape.num_kv_heads, shape.head_size, scores, score_stride);
    }

    void project_add(float* y, const TensorView& w, const float* x) override {
        kernels_.project_add(y, w, x);
    }

    void gate_up(float* h, const TensorView& gate, const TensorView& up, const float* x) override {
        kernels_.gate_up(h, gate, up, x);
    }

    void matvec(float* y, const TensorView& w, const float* x) override { kernels_.matvec(y, w, x); }

    uint32_t matvec_argmax(float* y, const TensorView& w, const float* x) override {
        matvec(y, w, x);
        return argmax(y, w.rows);
    }

    void softmax(float* values, size_t n) override { kernels_.softmax(values, n); }

    uint32_t argmax(const float* values, size_t n) override {
        size_t best = 0;
        while (best < n && values[best] != values[best]) ++best;  // a NaN never wins
        if (best == n) return 0;
        for (size_t i = best + 1; i < n; ++i) {
            if (values[i] > values[best]) best = i;
        }
        return static_cast<uint32_t>(best);
    }

 private:
    const NumericClass numerics_;
    const ReferenceKernels& kernels_;
};

constinit ReferenceOperators fma_operators(NumericClass::kFma, kFmaKernels);
constinit ReferenceOperators muladd_operators(NumericClass::kMulAdd, kMulAddKernels);

}  // namespace

Result<Operators*> reference_operators(NumericClass numerics, const CpuFeatures& cpu) {
    if (numerics == NumericClass::kMulAdd) return &muladd_operators;
    if (!cpu.fma) {
        return Error::make(
            ErrorCode::kUnsupported,
            "numerics: class fma needs a CPU with FMA, and this one has none that is enabled; use "
            "--numerics muladd, or auto");
    }
    return &fma_operators;
}

void quantise_input(Q8Group* to, const float* x, size_t k) { kMulAddKernels.quantise(to, x, k); }
void quantise_input(Q8WordGroup* to, const float* x, size_t count) {
    for (size_t group = 0; group < count / kGroup; ++group, ++to) {
        Q8Group bytes;
        quantise_input(&bytes, x + group * kGroup, kGroup);
        for (size_t k = 0; k < kGroup; ++k) to->q[k / kQuad][k % 2][k % kQuad / 2] = bytes.q[k];
        to->scale = bytes.scale;
        to->sum = bytes.sum;
    }
}
void quantise_input_for(const RoutineKey& key, void* to, const float* x, size_t count) {
    takes_words(key) ? quantise_input(static_cast<Q8WordGroup*>(to), x, count)
                     : quantise_input(static_cast<Q8Group*>(to), x, count);
}

float reference_exp(NumericClass numerics, float x) {
    return numerics == NumericClass::kFma ? kFmaKernels.exp(x) : kMulAddKernels.exp(x);
}

}  // namespace bareflow
