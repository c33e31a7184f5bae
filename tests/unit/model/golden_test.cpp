// Whole models against llama2.c's own greedy texts, in each numeric class and element type. A text proves
// something only where the choice was clear, so each step's margin is asserted too: the gap between the two
// highest logits in double precision is more than twice what the logits were found to be off.
#include <filesystem>
#include <iostream>

#include "tests/unit/model/golden_support.h"

namespace bareflow {
namespace {

using testing::classes;
using testing::CountingAllocator;
using testing::DoubleTransformer;
using testing::exact_steps;
using testing::ExactStep;
using testing::greedy_texts_of_model_card;
using testing::greedy_texts_of_stories260k;
using testing::GreedyText;
using testing::ImportedModel;
using testing::kSanitizedSteps;
using testing::operators_of;
using testing::Tokens;

/// All tokens from BOS on: the prompt's, then the greedy ones, as far as llama2.c's run goes: `steps` after
/// BOS, or up to a BOS or EOS, which is left out.
Tokens write_greedily(const ImportedModel& model, NumericClass numerics, const GreedyText& golden) {
    CountingAllocator allocator;
    Operators& operators = operators_of(numerics);
    Transformer transformer = Transformer::model_init(model.weights(), operators, allocator).take();
    const ModelConfig& config = model.weights().config;
    Tokens tokens = model.tokens_of(golden.prompt);
    const size_t given = tokens.size();
    for (uint32_t position = 0; position < golden.steps && position < config.context_length; ++position) {
        const float* logits = transformer.model_forward(tokens[position], position).values;
        if (position + 1 < given) continue;
        const uint32_t next = operators.argmax(logits, config.vocab_size);
        if (next == config.bos_id || next == config.eos_id) break;
        tokens.push_back(next);
    }
    return tokens;
}

/// How far from the f32 model's logits in double precision a type's may be, and how many steps of a text may
/// have too small a margin for it to say that the same token must be chosen.
struct Promise {
    ElementType type, cache;
    double logit_bound;
    double max_unclear_share;
};
// Measured over all texts below: 4.3e-5, 4.4e-2 with a KV cache of f16, and 1.3e-2 with f16 weights; logits are from -16
// to 26, the smallest margin is 2.8e-4, so in f32 every step is clear. In f16 what differs are the weights, not the arithmetic.
// In Q8_0 the inputs are rounded to 8 bits too: 0.6, and up to half of a text's steps are too close to tell.
constexpr Promise kPromises[] = {{ElementType::kF32, ElementType::kF32, 1e-4, 0.0},
                                 {ElementType::kF32, ElementType::kF16, 5e-2, 0.05},
                                 {ElementType::kF16, ElementType::kF32, 1.5e-2, 0.03},
                                 {ElementType::kQ8_0, ElementType::kF32, 0.7, 0.5}};

/// Runs one class over `tokens`, the first `given` of which are the prompt's: by induction, it would have
/// written the rest itself if each choice is the exact one.
void expect_same_choices(const ImportedModel& model, NumericClass numerics, const Tokens& tokens,
                         size_t given, const std::vector<ExactStep>& exact, const Promise& promise) {
    CountingAllocator allocator;
    Operators& operators = operators_of(numerics);
    Transformer transformer =
        Transformer::model_init(model.weights(), operators, allocator, 0, promise.cache).take();
    double worst = 0;
    size_t unclear = 0;
    for (uint32_t i = 0; i < tokens.size(); ++i) {
        const float* logits = transformer.model_forward(tokens[i], i).values;
        worst = std::max(worst, testing::worst_difference(logits, exact[i].logits));
        if (i + 1 < given) continue;
        if (exact[i].margin <= 2 * promise.logit_bound) {
            ++unclear;
        } else {
            EXPECT_EQ(operators.argmax(logits, exact[i].logits.size()), exact[i].best) << "position " << i;
        }
    }
    EXPECT_LE(worst, promise.logit_bound) << name_of(promise.type) << " " << name_of(numerics);
    if (!kSanitized) {  // a text's beginning is open
        EXPECT_LE(static_cast<double>(unclear),
                  promise.max_unclear_share * static_cast<double>(tokens.size()))
            << name_of(promise.type);
    }
    if (unclear > 0) {
        std::cout << "[ margins  ] " << name_of(promise.type) << " " << name_of(numerics) << ": " << unclear
                  << " of " << tokens.size() << " steps are too close to tell and not compared\n";
    }
}

void expect_llama2c_texts(const std::string& path, const std::string& tokenizer,
                          const std::vector<GreedyText>& texts) {
    const auto model = ImportedModel::make(path, tokenizer, ElementType::kF32);
    ASSERT_TRUE(model.has_value());
    DoubleTransformer exact(model->weights());
    for (const GreedyText& golden : texts) {
        SCOPED_TRACE("prompt '" + golden.prompt + "'");
        Tokens tokens = write_greedily(*model, NumericClass::kMulAdd, golden);
        EXPECT_EQ(model->text_of(tokens), golden.text);
        ASSERT_LE(golden.ids.size() + 1, tokens.size());
        EXPECT_EQ(Tokens(tokens.begin() + 1, tokens.begin() + 1 + static_cast<long>(golden.ids.size())),
                  golden.ids);

        const size_t given = model->tokens_of(golden.prompt).size();
        const std::vector<ExactStep> steps = exact_steps(exact, tokens);
        for (size_t i = given; i < tokens.size(); ++i) EXPECT_EQ(tokens[i], steps[i - 1].best);
        if (kSanitized) tokens.resize(std::min(tokens.size(), kSanitizedSteps));
        for (const Promise& promise : kPromises) {
            const auto typed = ImportedModel::make(path, tokenizer, promise.type);
            ASSERT_TRUE(typed.has_value());
            for (NumericClass numerics : classes()) {
                expect_same_choices(*typed, numerics, tokens, given, steps, promise);
            }
        }
    }
}

TEST(GoldenTexts, TheDefaultModelWritesWhatLlama2cWroteFromItInEveryClassAndType) {
    std::vector<GreedyText> texts = greedy_texts_of_model_card();
    ASSERT_EQ(texts.size(), 7u);
    if (kSanitized) texts.resize(1);  // they are slow there, and look for other things
    expect_llama2c_texts("model/bareflow-stories.bin", "", texts);
}

TEST(GoldenTexts, Stories260KWritesWhatLlama2cWroteFromItInEveryClassAndType) {
    const std::string folder = "../shared/models/";
    if (!std::filesystem::exists(folder + "stories260K.bin")) {
        GTEST_SKIP() << folder << "stories260K.bin is not there: its golden texts are not compared";
    }
    std::vector<GreedyText> texts = greedy_texts_of_stories260k(folder + "EXPECTED.md");
    ASSERT_EQ(texts.size(), 2u);
    for (const GreedyText& text : texts) EXPECT_EQ(text.ids.size(), 96u);
    if (kSanitized) texts.resize(1);
    expect_llama2c_texts(folder + "stories260K.bin", folder + "tok512.bin", texts);
}

}  // namespace
}  // namespace bareflow
