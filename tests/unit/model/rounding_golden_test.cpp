// Whole models against a double-precision one of the weights as they are stored: only rounding may differ, so the bound is
// small in every type, and nearly every greedy choice is asserted. golden_test.cpp says how far types are from each other.
//
// The inputs of quantised weights are whole numbers of steps. Where one lies next to the middle between two of them, the
// least rounding decides, and what follows is another text. So the double model takes the whole numbers that the run took,
// and checks that each is right: no farther from its own input than half a step.
#include <filesystem>
#include <iostream>

#include "tests/unit/model/golden_support.h"

namespace bareflow {
namespace {

using testing::classes;
using testing::CountingAllocator;
using testing::DoubleTransformer;
using testing::GreedyText;
using testing::ImportedModel;
using testing::kSanitizedSteps;
using testing::operators_of;
using testing::Tokens;

/// The reference, and what its quantised weights met, in order.
class RecordingOperators final : public Operators {
 public:
    explicit RecordingOperators(Operators& inner) : inner_(inner) {}
    std::vector<Q8Group> met;

    NumericClass numeric_class() const override { return inner_.numeric_class(); }
    void embed(float* row, const TensorView& table, uint32_t token) override {
        inner_.embed(row, table, token);
    }
    void rms_norm(float* y, const float* x, const float* weight, size_t n, float eps) override {
        inner_.rms_norm(y, x, weight, n, eps);
    }
    void qkv(float* q, float* k, float* v, const float* x, const TensorView& query, const TensorView& key,
             const TensorView& value, const RopeRow& rope, uint32_t head_size) override {
        record(query, x);
        inner_.qkv(q, k, v, x, query, key, value, rope, head_size);
    }
    void attention(float* out, const float* q, const KvView& kv, const AttentionShape& shape, float* scores,
                   size_t score_stride) override {
        inner_.attention(out, q, kv, shape, scores, score_stride);
    }
    void project_add(float* y, const TensorView& w, const float* x) override {
        record(w, x);
        inner_.project_add(y, w, x);
    }
    void gate_up(float* h, const TensorView& gate, const TensorView& up, const float* x) override {
        record(gate, x);
        inner_.gate_up(h, gate, up, x);
    }
    void matvec(float* y, const TensorView& w, const float* x) override {
        record(w, x);
        inner_.matvec(y, w, x);
    }
    void rotate(float* heads, size_t n, uint32_t head_size, const RopeRow& rope) override {
        inner_.rotate(heads, n, head_size, rope);
    }
    uint32_t matvec_argmax(float* y, const TensorView& w, const float* x) override {
        record(w, x);
        return inner_.matvec_argmax(y, w, x);
    }
    void softmax(float* values, size_t n) override { inner_.softmax(values, n); }
    uint32_t argmax(const float* values, size_t n) override { return inner_.argmax(values, n); }

 private:
    void record(const TensorView& w, const float* x) {
        if (!is_quantised(w.type)) return;
        const size_t groups = w.columns / kGroup;
        met.resize(met.size() + groups);
        quantise_input(&met[met.size() - groups], x, w.columns);
    }
    Operators& inner_;
};

/// Takes the inputs of quantised weights from a recording.
class GuidedTransformer final : public DoubleTransformer {
 public:
    using DoubleTransformer::DoubleTransformer;
    const std::vector<Q8Group>* recorded = nullptr;
    double worst_distance = 0;  ///< of a recorded input from ours, in steps

 protected:
    std::vector<double> met(std::vector<double> x, const TensorView& w) override {
        if (!is_quantised(w.type)) return x;
        for (size_t k = 0; k < x.size(); ++k) {
            const Q8Group& group = recorded->at(next_ + k / kGroup);
            const double step = group.scale, taken = group.q[k % kGroup];
            if (step != 0) worst_distance = std::max(worst_distance, std::abs(x[k] / step - taken));
            x[k] = taken * step;
        }
        next_ += x.size() / kGroup;
        return x;
    }

 private:
    size_t next_ = 0;
};

/// What is stored how, and how far rounding may take logits, and inputs of quantised weights (in steps), from the double
/// model's. Logits are from -16 to 26.
struct Stored {
    ElementType weights, cache;
    double logit_bound, distance_bound;
    size_t texts;  ///< that are compared, at most
};
// Measured over all texts: f16 5.3e-5; with a cache of f16 2.4e-2, where a key or value next to a middle is rounded the other
// way. Where weights are quantised, the logits are the head's sums alone, 3.3e-6, and the layers show in the distance: half a
// step and 3e-4; with a cache of f16, 0.58.
constexpr Stored kStored[] = {{ElementType::kF16, ElementType::kF32, 1e-4, 0, 1},
                              {ElementType::kF32, ElementType::kF16, 5e-2, 0, 1},
                              {ElementType::kQ8_0, ElementType::kF32, 1e-5, 0.501, 7},
                              {ElementType::kQ8_0, ElementType::kF16, 1e-5, 0.65, 1},
                              {ElementType::kQ4_0, ElementType::kF32, 1e-5, 0.501, 1}};
/// Of the steps: in the others two tokens are as good as one another. Measured: all but some with a cache of f16.
constexpr double kAssertedShare = 0.95;

struct Told {
    size_t asserted = 0, steps = 0;
};

/// Runs a model over a text, and asserts all choices that the double model makes by more than twice the bound.
void expect_rounding_only(const ImportedModel& model, NumericClass numerics, const Stored& stored,
                          const Tokens& tokens, Told& told) {
    CountingAllocator allocator;
    RecordingOperators operators(operators_of(numerics));
    Transformer transformer =
        Transformer::model_init(model.weights(), operators, allocator, 0, stored.cache).take();
    GuidedTransformer exact(model.weights(), stored.cache);
    exact.recorded = &operators.met;
    double worst = 0;
    for (uint32_t i = 0; i < tokens.size(); ++i) {
        const Logits logits = transformer.model_forward(tokens[i], i);
        const testing::ExactStep step = testing::exact_step(exact, tokens[i]);
        worst = std::max(worst, testing::worst_difference(logits.values, step.logits));
        ++told.steps;
        if (step.margin <= 2 * stored.logit_bound) continue;
        ++told.asserted;
        EXPECT_EQ(logits.best, step.best) << "position " << i;
    }
    EXPECT_LE(worst, stored.logit_bound);
    EXPECT_LE(exact.worst_distance, stored.distance_bound);
}

void expect_rounding_only(const std::string& path, const std::string& tokenizer,
                          const std::vector<GreedyText>& texts) {
    // They are slow under sanitizers, which look for other things.
    const size_t most_texts = kSanitized ? 1 : texts.size();
    for (const Stored& stored : kStored) {
        SCOPED_TRACE(std::string(name_of(stored.weights)) + ", cache " + std::string(name_of(stored.cache)));
        const auto model = ImportedModel::make(path, tokenizer, stored.weights);
        ASSERT_TRUE(model.has_value());
        Told told;
        for (size_t i = 0; i < std::min(most_texts, stored.texts); ++i) {
            for (NumericClass numerics : classes()) {
                SCOPED_TRACE(name_of(numerics));
                Tokens tokens = model->tokens_of(texts[i].text);
                if (kSanitized) tokens.resize(std::min(tokens.size(), kSanitizedSteps));
                expect_rounding_only(*model, numerics, stored, tokens, told);
            }
        }
        if (!kSanitized) {  // a text's beginning is open
            EXPECT_GE(static_cast<double>(told.asserted), kAssertedShare * static_cast<double>(told.steps));
        }
        std::cout << "[ margins  ] " << name_of(stored.weights) << ", cache " << name_of(stored.cache) << ": "
                  << told.asserted << " of " << told.steps << " choices asserted\n";
    }
}

TEST(RoundingGolden, TheDefaultModelOfEveryTypeDiffersFromDoublePrecisionByRoundingOnly) {
    const std::vector<GreedyText> texts = testing::greedy_texts_of_model_card();
    ASSERT_EQ(texts.size(), 7u);
    expect_rounding_only("model/bareflow-stories.bin", "", texts);
}

TEST(RoundingGolden, Stories260KOfEveryTypeDiffersFromDoublePrecisionByRoundingOnly) {
    const std::string folder = "../shared/models/";
    if (!std::filesystem::exists(folder + "stories260K.bin")) {
        GTEST_SKIP() << folder << "stories260K.bin is not there: its texts are not compared";
    }
    expect_rounding_only(folder + "stories260K.bin", folder + "tok512.bin",
                         testing::greedy_texts_of_stories260k(folder + "EXPECTED.md"));
}

}  // namespace
}  // namespace bareflow
