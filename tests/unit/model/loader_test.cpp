#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <random>

#include "model/tokenizer.h"
#include "model/weights.h"
#include "tests/unit/model/test_models.h"

namespace bareflow {
namespace {

using ::testing::HasSubstr;
using wllm::SectionKind;
using wllm::TensorKind;

StdAllocator allocator;

/// "" if the image loads, else the message.
std::string refusal(ByteSpan image) {
    const auto weights = load_weights(image, allocator);
    return weights.ok() ? "" : std::string(weights.error().message());
}

float at(const TensorView& view, uint32_t n, uint32_t k) {
    const size_t index = view.layout == Layout::kRowMajor ? n * view.columns + k
                                                          : n / 16 * 16 * view.columns + k * 16 + n % 16;
    return static_cast<const float*>(view.data)[index];
}

TEST(Loader, GivesViewsOfEachTensorWhereItLies) {
    const ModelConfig config = small_config(false);
    const Image image = small_image(ElementType::kF32, Layout::kPanels16, false);
    const auto loaded = load_weights(image.bytes(), allocator);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message();
    const Weights& weights = loaded.value();
    EXPECT_EQ(weights.config, config);
    EXPECT_EQ(weights.chat_template, "zephyr");
    EXPECT_EQ(weights.provenance, "source=made up\n");
    EXPECT_EQ(weights.file_size, image.size());
    ASSERT_EQ(weights.layers.size(), 2u);
    const auto expect_matrix = [&](const TensorView& view, TensorKind kind, uint32_t layer) {
        const TensorShape shape = shape_of(config, kind);
        ASSERT_EQ(view.rows, shape.rows);
        ASSERT_EQ(view.columns, shape.columns);
        EXPECT_GE(view.data, image.data());  // in place: nothing was copied
        EXPECT_LE(static_cast<const uint8_t*>(view.data) + view.bytes(), image.data() + image.size());
        for (uint32_t n : {0u, shape.rows - 1}) {
            EXPECT_EQ(at(view, n, shape.columns - 1),
                      MadeUpModel::weight({kind, layer}, n, shape.columns - 1))
                << wllm::name_of(kind) << layer;
        }
    };
    const auto expect_norm = [&](const float* norm, TensorKind kind, uint32_t layer) {
        for (uint32_t i = 0; i < config.hidden_size; ++i) {
            EXPECT_EQ(norm[i], MadeUpModel::weight({kind, layer}, i, 0)) << wllm::name_of(kind) << layer;
        }
    };
    for (uint32_t l = 0; l < config.num_layers; ++l) {
        const LayerWeights& layer = weights.layers[l];
        expect_matrix(layer.query, TensorKind::kQuery, l);
        expect_matrix(layer.key, TensorKind::kKey, l);
        expect_matrix(layer.value, TensorKind::kValue, l);
        expect_matrix(layer.output, TensorKind::kOutput, l);
        expect_matrix(layer.gate, TensorKind::kGate, l);
        expect_matrix(layer.up, TensorKind::kUp, l);
        expect_matrix(layer.down, TensorKind::kDown, l);
        expect_norm(layer.attention_norm, TensorKind::kAttentionNorm, l);
        expect_norm(layer.ffn_norm, TensorKind::kFfnNorm, l);
    }
    expect_matrix(weights.embedding, TensorKind::kEmbedding, wllm::kNoLayer);
    expect_matrix(weights.lm_head, TensorKind::kLmHead, wllm::kNoLayer);
    expect_norm(weights.final_norm, TensorKind::kFinalNorm, wllm::kNoLayer);
}

TEST(Loader, TakesTheEmbeddingAsTheHeadOfATiedModel) {
    const Image image = small_image();
    const auto loaded = load_weights(image.bytes(), allocator);
    ASSERT_TRUE(loaded.ok());
    EXPECT_NE(loaded.value().embedding.data, nullptr);
    EXPECT_EQ(loaded.value().lm_head.data, loaded.value().embedding.data);
}

TEST(Loader, FreeWeightsGivesTheTablesBack) {
    const Image image = small_image();
    Weights weights = load_weights(image.bytes(), allocator).take();
    free_weights(weights);
    EXPECT_EQ(weights.layers.size(), 0u);
    EXPECT_EQ(weights.final_norm, nullptr);
    free_weights(weights);  // once more does no harm
}

TEST(Loader, SaysWhenItsTablesDoNotFitInMemory) {
    struct Empty final : Allocator {
        void* allocate(size_t, size_t) override { return nullptr; }
        void release(void*) override {}
    } empty;
    const auto loaded = load_weights(small_image().bytes(), empty);
    ASSERT_FALSE(loaded.ok());
    EXPECT_EQ(loaded.error().code(), ErrorCode::kOutOfMemory);
}

TEST(Loader, RefusesTheImageWithAnySingleByteChanged) {
    Image image = small_image();
    ASSERT_EQ(refusal(image.bytes()), "");
    for (size_t i = 0; i < image.size(); ++i) {
        const auto bit = static_cast<uint8_t>(1u << i % 8);
        image[i] ^= bit;
        ASSERT_NE(refusal(image.bytes()), "") << "byte " << i;
        image[i] ^= bit;
    }
}

TEST(Loader, RefusesTheImageCutShortAtAnyLength) {
    const Image image = small_image();
    for (size_t size = 0; size < image.size(); ++size) {
        Image cut(image.bytes().first(size));
        ASSERT_NE(refusal(cut.bytes()), "") << size;
        if (size < sizeof(wllm::WeightHeader)) continue;
        cut.header().file_size = size;
        cut.header().header_crc32c = crc32c(cut.bytes().first(offsetof(wllm::WeightHeader, header_crc32c)));
        ASSERT_NE(refusal(cut.bytes()), "") << "with its header made to fit, " << size;
    }
}

TEST(Loader, RefusesAnImageWithAnythingAppended) {
    const Image image = small_image();
    Bytes longer(image.bytes().begin(), image.bytes().end());
    longer.push_back(0);
    EXPECT_THAT(refusal(Image(longer).bytes()), HasSubstr("file_size (offset 80)"));
    longer.resize(longer.size() + 100, 1);
    Image hostile(longer);
    hostile.header().file_size = hostile.size();
    reseal(hostile);
    EXPECT_THAT(refusal(hostile.bytes()), HasSubstr("lies between sections and tensors and is not 0"));
}

TEST(Loader, RefusesAnImageThatDoesNotLieAligned) {
    const Image image = small_image();
    Bytes room(image.size() + 2 * 64);
    uint8_t* aligned = room.data() + (64 - reinterpret_cast<uintptr_t>(room.data()) % 64) % 64;
    std::copy_n(image.data(), image.size(), aligned + 4);
    EXPECT_THAT(refusal({aligned + 4, image.size()}), HasSubstr("multiple of 64"));
}

/// A change that leaves every checksum right, and what the refusal must speak of.
struct Hostile {
    std::string name;
    std::function<void(Image&)> change;
    std::string expected;
};

// The writer's order: sections directory, tokenizer, template, provenance; tensors embedding, then of layer 0
// attention norm, query, key, …
constexpr uint32_t kTokenizer = 1, kTemplate = 2, kProvenance = 3;
constexpr uint32_t kEmbeddingEntry = 0, kNormEntry = 1, kQueryEntry = 2, kKeyEntry = 3, kValueEntry = 4;
constexpr uint64_t kHuge = 0xFFFFFFFFFFFFFFC0;  // a multiple of 64

std::vector<Hostile> hostile_headers() {
    const float nan = std::numeric_limits<float>::quiet_NaN(),
                infinity = std::numeric_limits<float>::infinity();
    return {
        {"no magic", [](Image& i) { i.header().magic = 0x46554747; }, "magic (offset 0)"},
        {"version 1", [](Image& i) { i.header().version = 1; }, "version (offset 4) is 1"},
        {"header size", [](Image& i) { i.header().header_size = 64; }, "header_size (offset 40)"},
        {"reserved", [](Image& i) { i.header().reserved[3] = 1; }, "reserved (offset 120)"},
        {"file size", [](Image& i) { i.header().file_size = kHuge; }, "file_size (offset 80)"},
        {"model type", [](Image& i) { i.header().model_type = 7; }, "model_type (offset 8)"},
        {"no layers", [](Image& i) { i.header().num_layers = 0; }, "num_layers (offset 12)"},
        {"too many layers", [](Image& i) { i.header().num_layers = 0xFFFFFFFF; }, "num_layers (offset 12)"},
        {"more layers than tensors", [](Image& i) { i.header().num_layers = 4096; }, "tensor directory"},
        {"hidden 0", [](Image& i) { i.header().hidden_size = 0; }, "hidden_size (offset 16)"},
        {"hidden huge", [](Image& i) { i.header().hidden_size = 1u << 24; }, "the header asks for"},
        {"intermediate", [](Image& i) { i.header().intermediate_size = 0x80000000; },
         "intermediate_size (offset 20)"},
        {"vocabulary", [](Image& i) { i.header().vocab_size = 0x40000001; }, "vocab_size (offset 24)"},
        {"vocabulary below the tokenizer", [](Image& i) { i.header().vocab_size = 8; },
         "the tokenizer has 9 pieces"},
        {"heads 0", [](Image& i) { i.header().num_heads = 0; }, "num_heads (offset 28)"},
        {"kv heads 0", [](Image& i) { i.header().num_kv_heads = 0; }, "num_kv_heads (offset 44)"},
        {"kv heads 3", [](Image& i) { i.header().num_kv_heads = 3; }, "no multiple of num_kv_heads"},
        {"kv heads 8", [](Image& i) { i.header().num_kv_heads = 8; }, "num_kv_heads (offset 44)"},
        {"odd heads", [](Image& i) { i.header().head_size = 5; }, "head_size (offset 48) is 5, must be even"},
        {"product of heads",
         [](Image& i) {
             i.header().num_heads = 1u << 20;
             i.header().head_size = 1u << 12;
         },
         "is more than"},
        {"context 0", [](Image& i) { i.header().context_length = 0; }, "context_length (offset 52)"},
        {"context huge", [](Image& i) { i.header().context_length = 0xFFFFFFFF; },
         "context_length (offset 52)"},
        {"theta 0", [](Image& i) { i.header().rope_theta = 0; }, "rope_theta (offset 56)"},
        {"theta NaN", [=](Image& i) { i.header().rope_theta = nan; }, "rope_theta (offset 56)"},
        {"theta infinite", [=](Image& i) { i.header().rope_theta = infinity; }, "rope_theta (offset 56)"},
        {"eps negative", [](Image& i) { i.header().norm_eps = -1e-5f; }, "norm_eps (offset 60)"},
        {"eps NaN", [=](Image& i) { i.header().norm_eps = nan; }, "norm_eps (offset 60)"},
        {"scaling negative", [](Image& i) { i.header().rope_scaling = -2; }, "rope_scaling (offset 104)"},
        {"scaling NaN", [=](Image& i) { i.header().rope_scaling = nan; }, "rope_scaling (offset 104)"},
        {"scaling infinite", [=](Image& i) { i.header().rope_scaling = infinity; },
         "rope_scaling (offset 104)"},
        {"flags", [](Image& i) { i.header().flags |= 2; }, "flags (offset 64)"},
        {"untied without a head", [](Image& i) { i.header().flags = 0; }, "tensor directory"},
        {"bos", [](Image& i) { i.header().bos_id = 10; }, "bos_id (offset 68)"},
        {"eos", [](Image& i) { i.header().eos_id = 0xFFFFFFFF; }, "eos_id (offset 72)"},
        {"unk", [](Image& i) { i.header().unk_id = 10; }, "unk_id (offset 76)"},
        {"total size", [](Image& i) { i.header().total_size += 1; }, "total_size (offset 32)"},
        {"no sections", [](Image& i) { i.header().section_count = 0; }, "section_count (offset 96)"},
        {"sections overflow", [](Image& i) { i.header().section_count = 0x08000001; },
         "section_count (offset 96)"},
        {"table outside", [](Image& i) { i.header().section_table_offset = kHuge; },
         "section_table_offset (offset 88)"},
        {"table unaligned", [](Image& i) { i.header().section_table_offset += 8; },
         "section_table_offset (offset 88)"},
        {"table over the header", [](Image& i) { i.header().section_table_offset = 0; }, "wllm: section"},
    };
}

std::vector<Hostile> hostile_sections() {
    return {
        {"outside", [](Image& i) { i.section(kTokenizer).offset = kHuge; }, "does not lie within"},
        {"size overflows", [](Image& i) { i.section(kTokenizer).size = ~0ull; }, "does not lie within"},
        {"size one too many", [](Image& i) { i.section(kProvenance).size = i.size(); },
         "does not lie within"},
        {"unaligned", [](Image& i) { i.section(kTemplate).offset += 1; }, "not at a multiple of 64"},
        {"empty", [](Image& i) { i.section(kTemplate).size = 0; }, "is empty"},
        {"reserved", [](Image& i) { i.section(kTemplate).reserved = 1; }, "reserved"},
        {"twice", [](Image& i) { i.section(kTemplate).kind = SectionKind::kProvenance; }, "a second time"},
        {"overlapping", [](Image& i) { i.section(kProvenance).offset = i.section(kTemplate).offset; },
         "overlaps"},
        {"over the header", [](Image& i) { i.section(kProvenance).offset = 0; }, "overlaps"},
        {"not UTF-8", [](Image& i) { i[i.section(kTemplate).offset] = 0xFF; }, "is not UTF-8"},
        {"no tokenizer", [](Image& i) { i.section(kTokenizer).kind = SectionKind{77}; }, "no tokenizer"},
        {"no directory", [](Image& i) { i.section(0).kind = SectionKind{77}; }, "no tensor directory"},
        {"directory short", [](Image& i) { i.section(0).size -= 48; }, "tensor directory (offset"},
        {"directory broken", [](Image& i) { i.section(0).size -= 1; }, "tensor directory (offset"},
    };
}

std::vector<Hostile> hostile_tensors() {
    return {
        {"kind 0", [](Image& i) { i.tensor(kQueryEntry).kind = TensorKind{0}; }, "kind is 0"},
        {"kind 13", [](Image& i) { i.tensor(kQueryEntry).kind = TensorKind{13}; }, "kind is 13"},
        {"layer 2 of 2", [](Image& i) { i.tensor(kQueryEntry).layer = 2; }, "layer is 2"},
        {"no layer", [](Image& i) { i.tensor(kQueryEntry).layer = wllm::kNoLayer; }, "layer is 4294967295"},
        {"layer of the embedding", [](Image& i) { i.tensor(kEmbeddingEntry).layer = 0; }, "layer is 0"},
        {"type", [](Image& i) { i.tensor(kQueryEntry).type = ElementType{4}; }, "element type 4"},
        {"quantised, 8 columns", [](Image& i) { i.tensor(kQueryEntry).type = ElementType::kQ8_0; },
         "q8_0 needs panels16 and a multiple of 32 columns, not panels16 and 8"},
        {"quantised rows",
         [](Image& i) {
             i.tensor(kQueryEntry).type = ElementType::kQ4_0;
             i.tensor(kQueryEntry).layout = Layout::kRowMajor;
         },
         "q4_0 needs panels16"},
        {"quantised norm", [](Image& i) { i.tensor(kNormEntry).type = ElementType::kQ8_0; },
         "element type 2"},
        {"layout", [](Image& i) { i.tensor(kQueryEntry).layout = Layout{2}; }, "layout 2"},
        {"f16 norm", [](Image& i) { i.tensor(kNormEntry).type = ElementType::kF16; }, "element type 1"},
        {"norm in panels", [](Image& i) { i.tensor(kNormEntry).layout = Layout::kPanels16; }, "layout 1"},
        {"type without its size", [](Image& i) { i.tensor(kQueryEntry).type = ElementType::kF16; },
         "size is 512"},
        {"rows", [](Image& i) { i.tensor(kQueryEntry).rows = 15; }, "is 15 x 8, the header asks for 16 x 8"},
        {"columns", [](Image& i) { i.tensor(kQueryEntry).columns = 0; }, "is 16 x 0"},
        {"product overflows",
         [](Image& i) {
             i.tensor(kQueryEntry).rows = 0x80000000;
             i.tensor(kQueryEntry).columns = 0x80000000;
         },
         "the header asks for"},
        {"size", [](Image& i) { i.tensor(kQueryEntry).size += 1; }, "size is 513"},
        {"reserved", [](Image& i) { i.tensor(kQueryEntry).reserved = 1; }, "reserved"},
        {"unaligned", [](Image& i) { i.tensor(kQueryEntry).offset += 4; }, "not at a multiple of 64"},
        {"outside", [](Image& i) { i.tensor(kQueryEntry).offset = i.size() / 64 * 64; },
         "does not lie within"},
        {"offset overflows", [](Image& i) { i.tensor(kQueryEntry).offset = kHuge; }, "does not lie within"},
        {"twice", [](Image& i) { i.tensor(kValueEntry).kind = TensorKind::kKey; }, "is there a second time"},
        {"norm twice", [](Image& i) { i.tensor(kNormEntry).kind = TensorKind::kFfnNorm; },
         "is there a second time"},
        {"overlapping", [](Image& i) { i.tensor(kValueEntry).offset = i.tensor(kKeyEntry).offset; },
         "overlaps"},
        {"over the directory", [](Image& i) { i.tensor(kNormEntry).offset = i.section(0).offset; },
         ""},  // its CRC covers itself
        {"head of a tied model", [](Image& i) { i.tensor(kEmbeddingEntry).kind = TensorKind::kLmHead; },
         "is an lm_head, but"},
    };
}

uint64_t tokenizer_at(Image& image) { return image.section(kTokenizer).offset; }
constexpr uint64_t kPieces = 9, kScores = 16, kEnds = kScores + 4 * kPieces, kTypes = kEnds + 4 * kPieces;

std::vector<Hostile> hostile_tokenizers() {
    const auto word = [](uint64_t offset, uint32_t value) {
        return [=](Image& i) { i.at<uint32_t>(tokenizer_at(i) + offset) = value; };
    };
    const auto type = [](uint64_t piece, uint8_t value) {
        return [=](Image& i) { i[tokenizer_at(i) + kTypes + piece] = value; };
    };
    return {
        {"no pieces", word(0, 0), "count (offset 0)"},
        {"count huge", word(0, 0xFFFFFFFF), "count (offset 0)"},
        {"count one more", word(0, kPieces + 1), "do not make a section"},
        {"flags", word(4, 4), "flags (offset 4)"},
        {"text size", word(8, 0xFFFFFFFF), "do not make a section"},
        {"reserved", word(12, 1), "reserved (offset 12)"},
        {"score NaN", word(kScores + 8, 0x7FC00000), "score of piece 2"},
        {"score infinite", word(kScores + 8, 0xFF800000), "score of piece 2"},
        {"end beyond the text", word(kEnds + 8, 1000), "piece 2 ends at 1000"},
        {"ends going down", word(kEnds + 8, 1), "piece 2 ends at 1"},
        {"text left over", word(kEnds + 4 * (kPieces - 1), 23), "the pieces end at 23"},
        {"type 0", type(5, 0), "piece 5 has type 0"},
        {"type 7", type(5, 7), "piece 5 has type 7"},
        {"byte not written so", type(5, 6), "piece 5 is of type byte"},
        {"no unknown", type(0, 1), "no piece is of type unknown"},
        {"not UTF-8", [](Image& i) { i[tokenizer_at(i) + kTypes + kPieces] = 0xFF; }, "piece 0 is not UTF-8"},
        {"short", [](Image& i) { i.section(kTokenizer).size = 12; }, "too few for its header"},
    };
}

TEST(Loader, RefusesHostileImagesWhoseChecksumsAreRight) {
    Image control = small_image();
    reseal(control);
    ASSERT_EQ(refusal(control.bytes()), "");
    for (const auto& cases :
         {hostile_headers(), hostile_sections(), hostile_tensors(), hostile_tokenizers()}) {
        for (const Hostile& hostile : cases) {
            Image image = control;
            hostile.change(image);
            reseal(image);
            const std::string message = refusal(image.bytes());
            EXPECT_NE(message, "") << hostile.name;
            EXPECT_THAT(message, HasSubstr(hostile.expected)) << hostile.name;
            EXPECT_LT(message.size(), 232u) << hostile.name << ": cut off: " << message;
            // The same of a file whose tensors stay where they are.
            const Result<Weights> table = load_weight_table(image.bytes(), image.size(), allocator);
            EXPECT_FALSE(table.ok()) << hostile.name;
        }
    }
}

TEST(Loader, NeverCrashesOnRandomTablesWhoseChecksumsAreRight) {
    const Image control = small_image();
    std::mt19937 random(7);
    size_t refused = 0;
    constexpr size_t kRounds = 5000;
    for (size_t round = 0; round < kRounds; ++round) {
        Image image = control;
        const uint64_t tables_end = image.section(0).offset + image.section(0).size;
        for (uint32_t change = 0; change <= random() % 3; ++change) {
            const uint64_t offset = 8 + random() % (tables_end / 4 - 8) * 4;
            const uint32_t values[] = {
                0, 1, 64, 0x7FFFFFFF, 0xFFFFFFC0, 0xFFFFFFFF, static_cast<uint32_t>(random())};
            if (offset + 4 <= tables_end) image.at<uint32_t>(offset) = values[random() % std::size(values)];
        }
        if (image.header().section_count > wllm::kMaxSections)
            image.header().section_count = wllm::kMaxSections;
        reseal(image);
        refused += !load_weights(image.bytes(), allocator).ok();
    }
    EXPECT_GT(refused, kRounds / 2);  // many changes hit bytes that reseal() makes right again
}

TEST(Loader, SkipsSectionsOfLaterVersionsButChecksTheirBytes) {
    Image image = small_image();
    image.section(kProvenance).kind = SectionKind{1000};
    reseal(image);
    const auto loaded = load_weights(image.bytes(), allocator);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message();
    EXPECT_EQ(loaded.value().provenance, "");
    image[image.section(kProvenance).offset] ^= 1;
    EXPECT_THAT(refusal(image.bytes()), HasSubstr("crc32c"));
}

TEST(Loader, TakesThePlainTemplateWhereTheFileSaysNothing) {
    Image image = small_image();
    image.section(kTemplate).kind = SectionKind{1000};
    reseal(image);
    const auto loaded = load_weights(image.bytes(), allocator);
    ASSERT_TRUE(loaded.ok());
    EXPECT_EQ(loaded.value().chat_template, "plain");
}

TEST(Loader, GivesTheDefaultsWhereTheFileHasSome) {
    Image image = small_image();
    EXPECT_EQ(load_weights(image.bytes(), allocator).value().defaults, "");
    image.section(kProvenance).kind = SectionKind::kDefaults;
    reseal(image);
    EXPECT_EQ(load_weights(image.bytes(), allocator).value().defaults, "source=made up\n");
    image.section(kTemplate).kind = SectionKind::kDefaults;
    reseal(image);
    EXPECT_THAT(refusal(image.bytes()), HasSubstr("a second time"));
    image.section(kTemplate).kind = SectionKind::kChatTemplate;
    image[image.section(kProvenance).offset] = 0xFF;
    reseal(image);
    EXPECT_THAT(refusal(image.bytes()), HasSubstr("not UTF-8"));
}

TEST(Loader, AllowsAVocabularyLargerThanTheTokenizer) {
    const Image image = small_image();  // 10 and 9
    const auto loaded = load_weights(image.bytes(), allocator);
    ASSERT_TRUE(loaded.ok());
    const auto tokenizer = Tokenizer::make(loaded.value().tokenizer, allocator);
    ASSERT_TRUE(tokenizer.ok());
    EXPECT_EQ(tokenizer.value().size(), 9u);
    EXPECT_EQ(tokenizer.value().piece(9), "");
}

/// Runs a check to its end; "" if all is well, else what it says, which it says once.
std::string looked_at(WeightCheck& check) {
    std::string said;
    while (!check.done()) {
        const Result<void> step = check.step();
        if (!step.ok()) said += std::string(step.error().message());
    }
    EXPECT_TRUE(check.step().ok());
    return said;
}

TEST(WeightCheck, LooksAtEachTensorOfALargeImageAfterItWasLoaded) {
    Image image = small_image(ElementType::kF32, Layout::kPanels16, false);
    Weights weights = load_weights(image.bytes(), allocator, 0).take();
    WeightCheck check(weights);
    EXPECT_FALSE(check.done());
    EXPECT_EQ(looked_at(check), "");
    EXPECT_EQ(check.bytes(), weights.weight_bytes);

    const Weights checked = load_weights(image.bytes(), allocator).take();
    EXPECT_TRUE(WeightCheck(checked).done()) << "nothing is left where nobody said so";
}

TEST(WeightCheck, FindsAChangedByteInAnyTensor) {
    Image image = small_image(ElementType::kF32, Layout::kPanels16, false);
    const uint32_t tensors = tensor_count(small_config(false));
    for (uint32_t i = 0; i < tensors; ++i) {
        auto* byte = const_cast<uint8_t*>(image.data()) + image.tensor(i).offset + image.tensor(i).size - 1;
        *byte ^= 1;
        Weights weights = load_weights(image.bytes(), allocator, 0).take();
        WeightCheck check(weights);
        EXPECT_THAT(looked_at(check), HasSubstr(std::string("tensor ") + std::to_string(i) + ": crc32c is"));
        *byte ^= 1;
    }
}

}  // namespace
}  // namespace bareflow
