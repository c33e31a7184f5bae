#include "model/tools/synthetic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "model/tokenizer.h"
#include "model/tools/import.h"
#include "model/tools/known_shapes.h"
#include "tests/unit/model/compute_support.h"
#include "tests/unit/model/test_models.h"

namespace bareflow {
namespace {

using ::testing::HasSubstr;

Bytes made(const std::string& shape, uint64_t seed, ElementType type) {
    ImportRequest request;
    request.synthetic = shape;
    request.seed = seed;
    request.types.all = type;
    const TemporaryFolder folder;
    const auto summary = import_model(request, folder / "made.wllm");
    EXPECT_TRUE(summary.ok()) << summary.error().message();
    return read_file(folder / "made.wllm");
}

TEST(Synthetic, TheSameSeedGivesTheSameBytesAndAnotherSeedOthers) {
    const Bytes first = made("stories260k", 7, ElementType::kQ8_0);
    EXPECT_EQ(first, made("stories260k", 7, ElementType::kQ8_0));
    EXPECT_NE(first, made("stories260k", 8, ElementType::kQ8_0));
}

TEST(Synthetic, WeightsDoNotDependOnHowManyRowsAreReadAtATime) {
    // The intermediate size is odd on purpose: rows begin between two weights of one random number.
    ModelConfig config = small_config();
    config.intermediate_size = 19;
    const auto model = make_synthetic("small", config, 3);
    const TensorName down{wllm::TensorKind::kDown, 1};
    std::vector<float> whole(config.hidden_size * config.intermediate_size), row(config.intermediate_size);
    ASSERT_TRUE(model->read_rows(down, 0, config.hidden_size, whole).ok());
    for (uint32_t n = 0; n < config.hidden_size; ++n) {
        ASSERT_TRUE(model->read_rows(down, n, 1, row).ok());
        EXPECT_TRUE(std::equal(row.begin(), row.end(), whole.begin() + n * row.size())) << n;
    }
}

TEST(Synthetic, EveryTypeLoadsAndItsLogitsAreSpreadAsATrainedModelsAre) {
    StdAllocator allocator;
    for (const ElementType type : kElementTypes) {
        const Image image(made("stories260k", 1, type));
        const auto loaded = load_weights(image.bytes(), allocator);
        ASSERT_TRUE(loaded.ok()) << loaded.error().message();
        const Weights& weights = loaded.value();
        ASSERT_TRUE(Tokenizer::make(weights.tokenizer, allocator).ok());
        Transformer transformer =
            Transformer::model_init(weights, testing::operators_of(NumericClass::kMulAdd), allocator, 0)
                .take();
        Logits logits{};
        for (uint32_t position = 0; position < 8; ++position)
            logits = transformer.model_forward(300 + position, position);
        double squares = 0;
        for (uint32_t i = 0; i < weights.config.vocab_size; ++i)
            squares += double{logits.values[i]} * logits.values[i];
        const double spread = std::sqrt(squares / weights.config.vocab_size);
        EXPECT_GT(spread, 1.0) << name_of(type);
        EXPECT_LT(spread, 10.0) << name_of(type);
    }
}

TEST(Synthetic, VocabularyHasAsManyDifferentPiecesAsAsked) {
    for (const uint32_t count : {5u, 259u, 512u, 32000u}) {
        const Vocabulary vocabulary = synthetic_vocabulary(count);
        std::set<std::string> texts;
        for (const auto& piece : vocabulary.pieces) texts.insert(piece.text);
        EXPECT_EQ(texts.size(), count);
        EXPECT_EQ(vocabulary.pieces.size(), count);
    }
}

TEST(Synthetic, AnUnknownShapeIsAnErrorThatNamesTheKnownOnes) {
    const auto unknown = shape_named("stories16m");
    ASSERT_FALSE(unknown.ok());
    for (const KnownShape& shape : known_shapes())
        EXPECT_THAT(std::string(unknown.error().message()), HasSubstr(std::string(shape.name)));
}

TEST(Synthetic, KnownShapesAreTheSizesOfTheModelsTheyAreNamedAfter) {
    // Of the files: FIELD.md, and the models' cards.
    const ModelConfig small = shape_named("stories15m").value(),
                      large = shape_named("tinyllama-1.1b").value();
    const auto parameters = [](const ModelConfig& config) {
        uint64_t sum = 0;
        for (uint32_t i = 0; i < tensor_count(config); ++i) {
            const TensorShape shape = shape_of(config, nth_tensor(config, i).kind);
            sum += uint64_t{shape.rows} * shape.columns;
        }
        return sum;
    };
    EXPECT_EQ(parameters(small), 15'191'712u);
    EXPECT_EQ(parameters(large), 1'100'048'384u);
}

}  // namespace
}  // namespace bareflow
