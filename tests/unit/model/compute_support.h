// What the tests of operators, transformer and sampler share: memory that ASan can watch, matrices in every
// layout and element type, small random models, and a transformer in double precision that shares no code
// with the real one.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "arch/base/allocator.h"
#include "arch/base/float16.h"
#include "arch/base/quantised.h"
#include "model/reference.h"
#include "model/transformer.h"

namespace bareflow::testing {

/// Allocates exactly what is asked for (so that ASan sees one byte too many), counts, and fails on demand.
class CountingAllocator final : public Allocator {
 public:
    void* allocate(size_t size, size_t alignment) override {
        if (made == fail_at) return nullptr;
        void* memory = nullptr;
        if (posix_memalign(&memory, alignment, size) != 0) return nullptr;
        ++made;
        ++live;
        return memory;
    }
    void release(void* pointer) override {
        if (pointer == nullptr) return;
        --live;
        free(pointer);
    }
    int made = 0;
    int live = 0;
    int fail_at = -1;  ///< the allocation with this number fails
};

inline bool cpu_has_fma() { return __builtin_cpu_supports("fma"); }

/// The reference of a class, on a CPU that can run it.
inline Operators& operators_of(NumericClass numerics) {
    CpuFeatures cpu;
    cpu.fma = cpu_has_fma();
    return *reference_operators(numerics, cpu).take();
}

/// The classes that this CPU can run.
inline std::vector<NumericClass> classes() {
    if (cpu_has_fma()) return {NumericClass::kFma, NumericClass::kMulAdd};
    return {NumericClass::kMulAdd};
}

inline std::vector<float> random_floats(size_t count, std::mt19937& random, float scale = 1.0f) {
    std::normal_distribution<float> normal(0.0f, scale);
    std::vector<float> values(count);
    for (float& value : values) value = normal(random);
    return values;
}

/// A matrix in memory of exactly its size. `values` is what its elements are worth: rounded to f16 where it
/// stores f16.
class Matrix {
 public:
    Matrix(std::vector<float> row_major, size_t rows, size_t columns, ElementType type, Layout layout)
        : values(std::move(row_major)) {
        view.rows = static_cast<uint32_t>(rows);
        view.columns = static_cast<uint32_t>(columns);
        view.type = type;
        view.layout = layout;
        void* memory = nullptr;
        if (posix_memalign(&memory, 64, view.bytes()) != 0) std::abort();
        memory_.reset(memory);
        __builtin_memset(memory, 0, view.bytes());
        view.data = memory;
        for (size_t n = 0; n < rows; ++n) {
            for (size_t k = 0; k < columns; ++k) {
                const size_t at =
                    layout == Layout::kRowMajor ? n * columns + k : (n / 16 * columns + k) * 16 + n % 16;
                float& value = values[n * columns + k];
                if (type == ElementType::kF32) {
                    static_cast<float*>(memory)[at] = value;
                } else {
                    const uint16_t half = f16_from_f32(value);
                    static_cast<uint16_t*>(memory)[at] = half;
                    value = f32_from_f16(half);
                }
            }
        }
    }

    TensorView view;
    std::vector<float> values;  // (rows, columns)

 private:
    struct Free {
        void operator()(void* memory) const { free(memory); }
    };
    std::unique_ptr<void, Free> memory_;
};

template <typename Panel>
double quantised_element(const TensorView& w, size_t n, size_t k) {
    const Panel& panel =
        static_cast<const Panel*>(w.data)[n / kPanelRows * (w.columns / kGroup) + k / kGroup];
    return double{f32_from_f16(panel.scales[n % kPanelRows])} * value_at(panel, n % kPanelRows, k % kGroup);
}
/// Element (n, k) of any matrix.
inline double element(const TensorView& w, size_t n, size_t k) {
    if (w.type == ElementType::kQ8_0) return quantised_element<Q8Panel>(w, n, k);
    if (w.type == ElementType::kQ4_0) return quantised_element<Q4Panel>(w, n, k);
    const size_t at =
        w.layout == Layout::kRowMajor ? n * w.columns + k : (n / 16 * w.columns + k) * 16 + n % 16;
    if (w.type == ElementType::kF32) return static_cast<const float*>(w.data)[at];
    return f32_from_f16(static_cast<const uint16_t*>(w.data)[at]);
}

/// A model with random weights that it owns.
struct RandomModel {
    RandomModel(const ModelConfig& config, ElementType type, Layout layout, uint32_t seed) : random(seed) {
        weights.config = config;
        weights.layers = Buffer<LayerWeights>::make(allocator, config.num_layers, "layers").take();
        const auto matrix = [&](size_t rows, size_t columns, float scale) {
            matrices.emplace_back(random_floats(rows * columns, random, scale), rows, columns, type, layout);
            return matrices.back().view;
        };
        const auto projection = [&](size_t rows, size_t columns) {
            return matrix(rows, columns, 1.5f / std::sqrt(static_cast<float>(columns)));
        };
        const auto norm = [&] {
            norms.push_back(random_floats(config.hidden_size, random, 0.2f));
            for (float& weight : norms.back()) weight += 1.0f;
            return norms.back().data();
        };
        for (LayerWeights& layer : weights.layers) {
            layer.query = projection(config.query_size(), config.hidden_size);
            layer.key = projection(config.kv_size(), config.hidden_size);
            layer.value = projection(config.kv_size(), config.hidden_size);
            layer.output = projection(config.hidden_size, config.query_size());
            layer.gate = projection(config.intermediate_size, config.hidden_size);
            layer.up = projection(config.intermediate_size, config.hidden_size);
            layer.down = projection(config.hidden_size, config.intermediate_size);
            layer.attention_norm = norm();
            layer.ffn_norm = norm();
        }
        weights.final_norm = norm();
        weights.embedding = matrix(config.vocab_size, config.hidden_size, 1.0f);
        weights.lm_head =
            config.tied_embedding ? weights.embedding : projection(config.vocab_size, config.hidden_size);
    }

    std::mt19937 random;
    CountingAllocator allocator;
    std::vector<Matrix> matrices;
    std::vector<std::vector<float>> norms;
    Weights weights;
};

/// The textbook's Llama in double precision: no lanes, no tricks, the exact rope angles. What weights and cache store is
/// taken as it is stored; a subclass says what becomes of the inputs of quantised weights.
class DoubleTransformer {
 public:
    explicit DoubleTransformer(const Weights& weights, ElementType cache = ElementType::kF32)
        : weights_(weights), cache_(cache) {
        keys_.resize(weights.config.num_layers);
        values_.resize(weights.config.num_layers);
        matrices_.reserve(size_t{weights.config.num_layers} * 7 + 2);
        for (const LayerWeights& layer : weights.layers) {
            for (const TensorView* view : {&layer.query, &layer.key, &layer.value, &layer.output, &layer.gate,
                                           &layer.up, &layer.down}) {
                matrices_.push_back(widen(*view));
            }
        }
        embedding_ = widen(weights.embedding);
        head_ = widen(weights.lm_head);
    }

    virtual ~DoubleTransformer() = default;

    /// Begins a new text.
    void reset() {
        position_ = 0;
        for (auto* cache : {&keys_, &values_}) {
            for (auto& layer : *cache) layer.clear();
        }
    }
    /// Positions are those of the calls since: 0, 1, 2, …
    std::vector<double> forward(uint32_t token) {
        const ModelConfig& c = weights_.config;
        const size_t position = position_++;
        std::vector<double> x(embedding_.begin() + size_t{token} * c.hidden_size,
                              embedding_.begin() + size_t{token + 1} * c.hidden_size);
        for (size_t l = 0; l < c.num_layers; ++l) {
            const LayerWeights& layer = weights_.layers[l];
            const std::vector<double>* w = &matrices_[l * 7];
            const std::vector<double> a = met(norm(x, layer.attention_norm), layer.query);
            std::vector<double> q = times(w[0], a);
            std::vector<double> k = times(w[1], a);
            std::vector<double> v = times(w[2], a);
            rotate(q, position);
            rotate(k, position);
            keys_[l].push_back(stored(std::move(k)));
            values_[l].push_back(stored(std::move(v)));
            add(x, times(w[3], met(attend(q, l), layer.output)));
            const std::vector<double> b = met(norm(x, layer.ffn_norm), layer.gate);
            std::vector<double> gate = times(w[4], b);
            const std::vector<double> up = times(w[5], b);
            for (size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
            add(x, times(w[6], met(std::move(gate), layer.down)));
        }
        return times(head_, met(norm(x, weights_.final_norm), weights_.lm_head));
    }

 protected:
    /// What `w` meets where the layers before it made `x`.
    virtual std::vector<double> met(std::vector<double> x, const TensorView& w) {
        static_cast<void>(w);
        return x;
    }

 private:
    std::vector<double> stored(std::vector<double> row) const {
        if (cache_ == ElementType::kF16) {
            for (double& value : row) value = f32_from_f16(f16_from_f32(static_cast<float>(value)));
        }
        return row;
    }
    static std::vector<double> widen(const TensorView& w) {
        std::vector<double> values;
        values.reserve(size_t{w.rows} * w.columns);
        for (size_t n = 0; n < w.rows; ++n) {
            for (size_t k = 0; k < w.columns; ++k) values.push_back(element(w, n, k));
        }
        return values;
    }
    static std::vector<double> times(const std::vector<double>& w, const std::vector<double>& x) {
        std::vector<double> y(w.size() / x.size());
        const double* row = w.data();
        for (double& sum : y) {
            constexpr size_t kChains = 8;  // for speed alone
            double chains[kChains] = {};
            size_t k = 0;
            for (; k + kChains <= x.size(); k += kChains) {
#pragma GCC unroll 8
                for (size_t i = 0; i < kChains; ++i) chains[i] += row[k + i] * x[k + i];
            }
            for (; k < x.size(); ++k) chains[0] += row[k] * x[k];
            for (const double chain : chains) sum += chain;
            row += x.size();
        }
        return y;
    }
    std::vector<double> norm(const std::vector<double>& x, const float* weight) const {
        double squares = 0;
        for (double value : x) squares += value * value;
        const double factor =
            1 / std::sqrt(squares / static_cast<double>(x.size()) + weights_.config.norm_eps);
        std::vector<double> y(x.size());
        for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] * factor * weight[i];
        return y;
    }
    void rotate(std::vector<double>& heads, size_t position) const {
        const ModelConfig& c = weights_.config;
        for (size_t i = 0; i < heads.size(); i += 2) {
            const double exponent = static_cast<double>(i % c.head_size) / c.head_size;
            const double angle = static_cast<double>(position) / (c.rope_scaling == 0 ? 1 : c.rope_scaling) /
                                 std::pow(static_cast<double>(c.rope_theta), exponent);
            const double x0 = heads[i], x1 = heads[i + 1];
            heads[i] = x0 * std::cos(angle) - x1 * std::sin(angle);
            heads[i + 1] = x0 * std::sin(angle) + x1 * std::cos(angle);
        }
    }
    std::vector<double> attend(const std::vector<double>& q, size_t layer) const {
        const ModelConfig& c = weights_.config;
        std::vector<double> out(q.size());
        for (size_t h = 0; h < c.num_heads; ++h) {
            const size_t from = h / (c.num_heads / c.num_kv_heads) * c.head_size;
            std::vector<double> shares;
            double total = 0;
            for (const std::vector<double>& key : keys_[layer]) {
                double dot = 0;
                for (size_t d = 0; d < c.head_size; ++d) dot += q[h * c.head_size + d] * key[from + d];
                shares.push_back(std::exp(dot / std::sqrt(static_cast<double>(c.head_size))));
                total += shares.back();
            }
            for (size_t p = 0; p < shares.size(); ++p) {
                for (size_t d = 0; d < c.head_size; ++d) {
                    out[h * c.head_size + d] += shares[p] / total * values_[layer][p][from + d];
                }
            }
        }
        return out;
    }
    static void add(std::vector<double>& x, const std::vector<double>& y) {
        for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
    }

    const Weights& weights_;
    const ElementType cache_;
    size_t position_ = 0;
    std::vector<std::vector<double>> matrices_;
    std::vector<double> embedding_, head_;
    std::vector<std::vector<std::vector<double>>> keys_, values_;  // [layer][position]
};

/// The largest |logits[i] - expected[i]|.
inline double worst_difference(const float* logits, const std::vector<double>& expected) {
    double worst = 0;
    for (size_t i = 0; i < expected.size(); ++i) worst = std::max(worst, std::abs(logits[i] - expected[i]));
    return worst;
}

}  // namespace bareflow::testing
