#include "model/tools/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/unit/model/compute_support.h"
#include "tests/unit/model/test_models.h"

namespace bareflow {
namespace {

TEST(Perplexity, IsTheMeanLossOfEachTokenAndBeginsAnewWithEachWindow) {
    StdAllocator allocator;
    const Image image = small_image();
    const Weights weights = load_weights(image.bytes(), allocator).take();
    const Tokenizer tokenizer = Tokenizer::make(weights.tokenizer, allocator).take();
    Operators& operators = testing::operators_of(NumericClass::kMulAdd);
    constexpr uint32_t kContext = 4;
    Transformer transformer = Transformer::model_init(weights, operators, allocator, kContext).take();
    const std::string text = "abba abab baab aab";
    uint64_t told = 0;
    const auto measured = measure_perplexity(
        transformer, tokenizer, text, [&](const Perplexity& so_far, uint64_t) { told = so_far.tokens; });
    ASSERT_TRUE(measured.ok());

    const Buffer<uint32_t> tokens = tokenizer.encode(text).take();
    ASSERT_GT(tokens.size(), 2 * kContext);
    EXPECT_EQ(told, tokens.size());
    EXPECT_EQ(measured.value().tokens, tokens.size());
    double product = 1;  // of the probabilities
    for (uint32_t i = 0; i < tokens.size(); ++i) {
        const uint32_t position = i % kContext;
        const uint32_t input = position == 0 ? weights.config.bos_id : tokens[i - 1];
        const Logits logits = transformer.model_forward(input, position);
        double total = 0;
        for (uint32_t j = 0; j < weights.config.vocab_size; ++j) total += std::exp(double{logits.values[j]});
        product *= std::exp(double{logits.values[tokens[i]]}) / total;
    }
    EXPECT_NEAR(measured.value().value(), std::pow(product, -1.0 / static_cast<double>(tokens.size())), 1e-9);
}

TEST(Perplexity, NeedsATextThatIsNotEmpty) {
    StdAllocator allocator;
    const Image image = small_image();
    const Weights weights = load_weights(image.bytes(), allocator).take();
    const Tokenizer tokenizer = Tokenizer::make(weights.tokenizer, allocator).take();
    Transformer transformer =
        Transformer::model_init(weights, testing::operators_of(NumericClass::kMulAdd), allocator, 0).take();
    EXPECT_FALSE(measure_perplexity(transformer, tokenizer, "", [](const Perplexity&, uint64_t) {}).ok());
}

}  // namespace
}  // namespace bareflow
