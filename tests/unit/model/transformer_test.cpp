// The transformer against a double-precision one that shares no code with it, and its promises: same bits in
// every layout, nothing allocated per token, positions that can be run again.
#include "model/transformer.h"

#include <gtest/gtest.h>

#include "tests/unit/model/compute_support.h"

namespace bareflow {
namespace {

using testing::classes;
using testing::CountingAllocator;
using testing::DoubleTransformer;
using testing::operators_of;
using testing::RandomModel;

constexpr uint32_t kContext = 24;

ModelConfig small_config(bool tied) {
    ModelConfig config;
    config.num_layers = 3;
    config.hidden_size = 36;
    config.intermediate_size = 50;
    config.vocab_size = 70;
    config.num_heads = 6;
    config.num_kv_heads = 2;
    config.head_size = 10;
    config.context_length = kContext;
    config.rope_theta = 10000.0f;
    config.norm_eps = 1e-5f;
    config.tied_embedding = tied;
    return config;
}

std::vector<uint32_t> some_tokens(size_t count, uint32_t seed) {
    std::mt19937 random(seed);
    std::vector<uint32_t> tokens(count);
    for (uint32_t& token : tokens) token = random() % 70;
    return tokens;
}

using Logits = std::vector<float>;

Logits logits_after(Transformer& model, uint32_t token, uint32_t position) {
    const float* logits = model.model_forward(token, position).values;
    return Logits(logits, logits + model.config().vocab_size);
}

/// The logits at each position of a fresh run over `tokens`.
std::vector<Logits> run(const RandomModel& model, NumericClass numerics, const std::vector<uint32_t>& tokens,
                        ElementType cache = ElementType::kF32) {
    CountingAllocator allocator;
    Transformer transformer =
        Transformer::model_init(model.weights, operators_of(numerics), allocator, 0, cache).take();
    std::vector<Logits> all;
    for (uint32_t i = 0; i < tokens.size(); ++i) all.push_back(logits_after(transformer, tokens[i], i));
    return all;
}

// Single precision's error, with logits within about ±10; measured: 2.9e-5.
constexpr double kLogitBound = 5e-5;

TEST(Transformer, AgreesWithDoublePrecisionForTiedAndUntiedModelsInEveryType) {
    const std::vector<uint32_t> tokens = some_tokens(kContext, 1);
    for (bool tied : {false, true}) {
        for (ElementType type : {ElementType::kF32, ElementType::kF16}) {
            const RandomModel model(small_config(tied), type, Layout::kPanels16, 11);
            for (NumericClass numerics : classes()) {
                DoubleTransformer exact(model.weights);
                const std::vector<Logits> logits = run(model, numerics, tokens);
                double worst = 0;
                for (size_t i = 0; i < tokens.size(); ++i) {
                    worst = std::max(worst,
                                     testing::worst_difference(logits[i].data(), exact.forward(tokens[i])));
                }
                EXPECT_LE(worst, kLogitBound) << name_of(numerics) << " " << name_of(type);
                EXPECT_GT(worst, 0.0);
            }
        }
    }
}

TEST(Transformer, DividesPositionsByTheFactorOfLinearScaling) {
    const std::vector<uint32_t> tokens = some_tokens(kContext, 5);
    ModelConfig config = small_config(true);
    const RandomModel plain(config, ElementType::kF32, Layout::kPanels16, 15);
    config.rope_scaling = 3;
    const RandomModel scaled(config, ElementType::kF32, Layout::kPanels16, 15);
    const std::vector<Logits> logits = run(scaled, NumericClass::kMulAdd, tokens);
    DoubleTransformer exact(scaled.weights), unscaled(plain.weights);
    double worst = 0, worst_unscaled = 0;
    for (size_t i = 0; i < tokens.size(); ++i) {
        worst = std::max(worst, testing::worst_difference(logits[i].data(), exact.forward(tokens[i])));
        worst_unscaled = std::max(worst_unscaled,
                                  testing::worst_difference(logits[i].data(), unscaled.forward(tokens[i])));
    }
    EXPECT_LE(worst, kLogitBound);
    EXPECT_GT(worst_unscaled, 100 * kLogitBound);
}

TEST(Transformer, GivesTheSameBitsInEveryLayout) {
    const std::vector<uint32_t> tokens = some_tokens(10, 2);
    for (ElementType type : {ElementType::kF32, ElementType::kF16}) {
        const RandomModel rows(small_config(false), type, Layout::kRowMajor, 12);
        const RandomModel panels(small_config(false), type, Layout::kPanels16, 12);
        for (NumericClass numerics : classes())
            EXPECT_EQ(run(rows, numerics, tokens), run(panels, numerics, tokens));
    }
}

TEST(Transformer, GivesTheSameBitsEachTimeAndOthersInTheOtherClass) {
    const std::vector<uint32_t> tokens = some_tokens(10, 3);
    const RandomModel model(small_config(true), ElementType::kF32, Layout::kPanels16, 13);
    EXPECT_EQ(run(model, NumericClass::kMulAdd, tokens), run(model, NumericClass::kMulAdd, tokens));
    if (!testing::cpu_has_fma()) GTEST_SKIP() << "this CPU has no FMA";
    EXPECT_NE(run(model, NumericClass::kMulAdd, tokens), run(model, NumericClass::kFma, tokens));
}

TEST(Transformer, RunningAnEarlierPositionAgainForgetsWhatCameAfter) {
    const RandomModel model(small_config(true), ElementType::kF32, Layout::kPanels16, 14);
    CountingAllocator allocator;
    Operators& operators = operators_of(NumericClass::kMulAdd);
    Transformer transformer = Transformer::model_init(model.weights, operators, allocator).take();
    for (uint32_t i = 0; i < kContext; ++i) transformer.model_forward(i, i);
    const std::vector<uint32_t> tokens = some_tokens(6, 4);
    const std::vector<Logits> fresh = run(model, NumericClass::kMulAdd, tokens);
    for (uint32_t i = 0; i < tokens.size(); ++i) EXPECT_EQ(logits_after(transformer, tokens[i], i), fresh[i]);
    EXPECT_EQ(logits_after(transformer, tokens[3], 3), fresh[3]);  // the same one again
}

TEST(Transformer, PrefillLeavesTheSameStateAsForward) {
    const RandomModel model(small_config(false), ElementType::kF16, Layout::kPanels16, 15);
    const std::vector<uint32_t> tokens = some_tokens(9, 5);
    const std::vector<Logits> expected = run(model, NumericClass::kMulAdd, tokens);
    CountingAllocator allocator;
    Operators& operators = operators_of(NumericClass::kMulAdd);
    Transformer transformer = Transformer::model_init(model.weights, operators, allocator).take();
    for (uint32_t i = 0; i < 8; ++i) transformer.model_prefill({&tokens[i], 1}, i);
    EXPECT_EQ(logits_after(transformer, tokens[8], 8), expected[8]);
}

TEST(Transformer, ABlockOfThePromptLeavesTheSameStateAsOneTokenAtATime) {
    static_assert(Transformer::kSmallBlock < kContext);
    for (NumericClass numerics : classes()) {
        const RandomModel model(small_config(true), ElementType::kF16, Layout::kPanels16, 17);
        const std::vector<uint32_t> tokens = some_tokens(Transformer::kSmallBlock + 3, 7);
        for (const ElementType cache : {ElementType::kF32, ElementType::kF16}) {
            const std::vector<Logits> expected = run(model, numerics, tokens, cache);
            CountingAllocator allocator;
            Transformer transformer =
                Transformer::model_init(model.weights, operators_of(numerics), allocator, 0, cache).take();
            transformer.model_prefill({&tokens[0], 1}, 0);
            transformer.model_prefill({&tokens[1], Transformer::kSmallBlock}, 1);
            for (uint32_t i = Transformer::kSmallBlock + 1; i < tokens.size(); ++i)
                EXPECT_EQ(logits_after(transformer, tokens[i], i), expected[i]);
        }
    }
}

TEST(Transformer, ACacheOfHalvesTakesHalfTheMemoryAndStaysNear) {
    // Keys and values are off by 2^-11 of themselves. Measured: 2.0e-2, with logits within about ±10.
    constexpr double kBound = 4e-2;
    const std::vector<uint32_t> tokens = some_tokens(kContext, 8);
    const RandomModel model(small_config(true), ElementType::kF32, Layout::kPanels16, 20);
    for (NumericClass numerics : classes()) {
        DoubleTransformer exact(model.weights);
        const std::vector<Logits> logits = run(model, numerics, tokens, ElementType::kF16);
        double worst = 0;
        for (size_t i = 0; i < tokens.size(); ++i)
            worst = std::max(worst, testing::worst_difference(logits[i].data(), exact.forward(tokens[i])));
        EXPECT_LE(worst, kBound) << name_of(numerics);
        EXPECT_GT(worst, 10 * kLogitBound) << "is the cache of halves?";
    }
    CountingAllocator allocator;
    Operators& operators = operators_of(NumericClass::kMulAdd);
    const Transformer floats = Transformer::model_init(model.weights, operators, allocator).take();
    const Transformer halves =
        Transformer::model_init(model.weights, operators, allocator, 0, ElementType::kF16).take();
    EXPECT_EQ(floats.cache_type(), ElementType::kF32);
    EXPECT_EQ(halves.cache_type(), ElementType::kF16);
    EXPECT_EQ(halves.kv_bytes() * 2, floats.kv_bytes());
}

TEST(Transformer, APromptIsCutIntoFewKindsOfBlocks) {
    EXPECT_EQ(Transformer::prefill_rows(1), 1u);
    EXPECT_EQ(Transformer::prefill_rows(Transformer::kSmallBlock - 1), 1u);
    EXPECT_EQ(Transformer::prefill_rows(Transformer::kSmallBlock), Transformer::kSmallBlock);
    EXPECT_EQ(Transformer::prefill_rows(1000), Transformer::kBlock);
}

TEST(Transformer, AShorterContextChangesNoLogits) {
    const RandomModel model(small_config(true), ElementType::kF32, Layout::kPanels16, 16);
    const std::vector<uint32_t> tokens = some_tokens(7, 6);
    const std::vector<Logits> expected = run(model, NumericClass::kMulAdd, tokens);
    CountingAllocator allocator;
    Operators& operators = operators_of(NumericClass::kMulAdd);
    Transformer whole = Transformer::model_init(model.weights, operators, allocator).take();
    Transformer transformer = Transformer::model_init(model.weights, operators, allocator, 7).take();
    EXPECT_EQ(transformer.context(), 7u);
    EXPECT_EQ(whole.context(), kContext);
    EXPECT_EQ(transformer.kv_bytes(), 3u * 7 * 20 * sizeof(float) * 2);
    EXPECT_LT(transformer.activation_bytes(), whole.activation_bytes());
    for (uint32_t i = 0; i < tokens.size(); ++i)
        EXPECT_EQ(logits_after(transformer, tokens[i], i), expected[i]);
}

TEST(Transformer, RefusesAContextBeyondTheModels) {
    const RandomModel model(small_config(true), ElementType::kF32, Layout::kPanels16, 17);
    CountingAllocator allocator;
    Operators& operators = operators_of(NumericClass::kMulAdd);
    auto refused = Transformer::model_init(model.weights, operators, allocator, kContext + 1);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code(), ErrorCode::kOutOfRange);
    EXPECT_NE(refused.error().message().find("25"), std::string_view::npos);
    EXPECT_NE(refused.error().message().find("24"), std::string_view::npos);
    EXPECT_EQ(allocator.made, 0);
}

TEST(Transformer, AllocatesNothingPerTokenAndGivesAllBack) {
    const RandomModel model(small_config(false), ElementType::kF32, Layout::kPanels16, 18);
    CountingAllocator allocator;
    Operators& operators = operators_of(NumericClass::kMulAdd);
    Transformer transformer =
        Transformer::model_init(model.weights, operators, allocator, 0, ElementType::kF16).take();
    const int made = allocator.made;
    EXPECT_GT(made, 0);
    for (uint32_t i = 0; i < kContext; ++i) transformer.model_forward(i, i);
    EXPECT_EQ(allocator.made, made);
    transformer.model_free();
    EXPECT_EQ(allocator.live, 0);
    EXPECT_EQ(transformer.kv_bytes(), 0u);
    EXPECT_EQ(transformer.activation_bytes(), 0u);
}

TEST(Transformer, AnyAllocationThatFailsIsAnErrorAndLeaksNothing) {
    const RandomModel model(small_config(false), ElementType::kF32, Layout::kPanels16, 19);
    Operators& operators = operators_of(NumericClass::kMulAdd);
    CountingAllocator plenty;
    { auto made = Transformer::model_init(model.weights, operators, plenty, 0, ElementType::kF16); }
    for (int fail_at = 0; fail_at < plenty.made; ++fail_at) {
        CountingAllocator allocator;
        allocator.fail_at = fail_at;
        auto refused = Transformer::model_init(model.weights, operators, allocator, 0, ElementType::kF16);
        ASSERT_FALSE(refused.ok()) << fail_at;
        EXPECT_EQ(refused.error().code(), ErrorCode::kOutOfMemory);
        EXPECT_EQ(allocator.live, 0);
    }
}

}  // namespace
}  // namespace bareflow
