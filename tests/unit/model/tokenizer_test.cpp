#include "model/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "model/tools/llama2c_tokenizer.h"
#include "model/weights.h"
#include "tests/unit/model/test_models.h"

namespace bareflow {
namespace {

using namespace std::string_literals;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using enum wllm::PieceType;

StdAllocator allocator;

/// A tokenizer with the image that its pieces lie in.
class Loaded {
 public:
    explicit Loaded(const Vocabulary& vocabulary) : image_(image_with(vocabulary)) {
        Weights weights = load_weights(image_.bytes(), allocator).take();
        tokenizer_ = Tokenizer::make(weights.tokenizer, allocator).take();
    }
    static Loaded from_file(const std::string& path) {
        const auto file = InputFile::open(path);
        return Loaded(read_llama2c_tokenizer(file.value()).take());
    }
    const Tokenizer& operator*() const { return tokenizer_; }
    const Tokenizer* operator->() const { return &tokenizer_; }
    std::vector<uint32_t> encode(std::string_view text) const {
        const auto tokens = tokenizer_.encode(text);
        EXPECT_TRUE(tokens.ok());
        return {tokens.value().begin(), tokens.value().end()};
    }
    std::string decode(const std::vector<uint32_t>& tokens) const {
        Detokenizer detokenizer(tokenizer_);
        std::string text;
        for (uint32_t token : tokens) text += detokenizer.next(token);
        return text += detokenizer.finish();
    }

 private:
    static Image image_with(const Vocabulary& vocabulary) {
        ModelConfig config = small_config();
        config.vocab_size = std::max<uint32_t>(3, static_cast<uint32_t>(vocabulary.pieces.size()));
        return image_of(MadeUpModel(config), vocabulary);
    }
    Image image_;
    Tokenizer tokenizer_;
};

const Loaded& stories() {
    static const Loaded loaded = Loaded::from_file("model/bareflow-stories.tokenizer.bin");
    return loaded;
}

struct Vector {
    std::string text;
    std::vector<uint32_t> tokens;
};

// Made with SentencePiece 0.1.97's Encode and the .model files that the vocabularies were exported from.
const std::vector<Vector> kStoriesVectors = {
    {"Once upon a time, there was a little girl named Lily.",
     {841, 842, 261, 455, 985, 406, 283, 261, 479, 531, 407, 429, 634, 976}},
    {"hello", {287, 288, 968}},
    {" hello", {964, 287, 288, 968}},
    {"  hello  world ", {964, 964, 287, 288, 968, 964, 522, 321, 964}},
    {"\tTab and\nnewline\n\n", {964, 12, 990, 966, 986, 286, 13, 969, 965, 977, 975, 725, 13, 13}},
    {"   ", {964, 964, 964, 964}},
    {"a", {261}},
    {"12345 0.5", {964, 52, 53, 54, 55, 56, 964, 51, 976, 56}},
    {"\xE2\x96\x81the\xE2\x96\x81park", {964, 264, 305, 738}},
    {"<s>the</s><unk><0x41>",
     {964, 63, 972, 65, 967, 259, 63, 50, 972, 65, 63, 395, 988, 65, 63, 51, 1006, 55, 52, 65}},
    {"café 日本 🙂", {341, 983, 198, 172, 964, 233, 154, 168, 233, 159, 175, 964, 243, 162, 156, 133}},
    {"A\xCC\x8Aﬁ", {322, 207, 141, 242, 175, 132}},
    {"bad \xFF\xC0\x80 \xE2\x96 end\xF0\x9F",
     {267, 353, 964, 242, 194, 192, 242, 194, 192, 242, 194, 192, 964,
      242, 194, 192, 242, 194, 192, 780, 242, 194, 192, 242, 194, 192}},
    {"nul\0x"s, {291, 496, 3, 1006}},
    {"thethethethe", {264, 967, 259, 967, 259, 967, 259}},
    {"\"I don't know!\" said Tom.", {272, 991, 285, 279, 1004, 967, 766, 360, 293, 711, 980, 976}},
};
const std::vector<Vector> kLlama2Vectors = {
    {"Once upon a time, there was a little girl named Lily.",
     {9038, 2501, 263, 931, 29892, 727, 471, 263, 2217, 7826, 4257, 365, 2354, 29889}},
    {"hello", {22172}},
    {" hello", {29871, 22172}},
    {"  hello  world ", {259, 22172, 29871, 3186, 29871}},
    {"\tTab and\nnewline\n\n", {29871, 12, 8863, 322, 13, 1482, 1220, 13, 13}},
    {"   ", {268}},
    {"12345 0.5", {29871, 29896, 29906, 29941, 29946, 29945, 29871, 29900, 29889, 29945}},
    {"<s>the</s><unk><0x41>",
     {529, 29879, 29958, 1552, 829, 29879, 5299, 2960, 5299, 29900, 29916, 29946, 29896, 29958}},
    {"café 日本 🙂", {274, 28059, 29871, 30325, 30346, 29871, 243, 162, 156, 133}},
    {"A\xCC\x8Aﬁ", {319, 207, 141, 31017}},
    {"bad \xFF\xC0\x80 \xE2\x96 end\xF0\x9F", {4319, 29871, 26308, 30140, 29871, 26308, 1095, 26308}},
    {"thethethethe", {278, 386, 621, 23043}},
    {"\"I don't know!\" said Tom.", {376, 29902, 1016, 29915, 29873, 1073, 3850, 1497, 4335, 29889}},
};

TEST(Tokenizer, EncodesTheStoriesVocabularyAsSentencePieceDoes) {
    for (const auto& [text, tokens] : kStoriesVectors) {
        EXPECT_THAT(stories().encode(text), ElementsAreArray(tokens)) << text;
    }
}

TEST(Tokenizer, EncodesTheLlama2VocabularyAsSentencePieceDoes) {
    SKIP_WITHOUT(shared_model("tokenizer.bin"));
    const Loaded llama = Loaded::from_file(shared_model("tokenizer.bin"));
    for (const auto& [text, tokens] : kLlama2Vectors) {
        EXPECT_THAT(llama.encode(text), ElementsAreArray(tokens)) << text;
    }
}

// llama2.c's own run fed these tokens (shared models' EXPECTED.md).
TEST(Tokenizer, EncodesThePromptOfStories260KAsLlama2cDoes) {
    SKIP_WITHOUT(shared_model("tok512.bin"));
    const Loaded tokenizer = Loaded::from_file(shared_model("tok512.bin"));
    EXPECT_THAT(tokenizer.encode("Lily and Tom went to the"),
                ElementsAre(317, 269, 274, 287, 263, 377, 267, 265));
}

TEST(Tokenizer, GivesNoTokensForEmptyText) { EXPECT_THAT(stories().encode(""), IsEmpty()); }

TEST(Tokenizer, DecodesWhatItEncodedToTheSameText) {
    std::mt19937 random(5);
    const char* const kParts[] = {"Once", " upon", "\n", "  ", "é", "日本", "🙂",
                                  "\t",   "x",     "!",  "\"", "0", "ﬁ"};
    for (int round = 0; round < 500; ++round) {
        std::string text;
        for (uint32_t i = 0; i <= random() % 20; ++i) text += kParts[random() % std::size(kParts)];
        EXPECT_EQ(stories().decode(stories().encode(text)), text);
    }
}

TEST(Tokenizer, EncodesAMegabyteWithoutQuadraticTime) {
    std::string text;
    while (text.size() < (1u << 20)) text += "the the aaaaaaaaaaaa ";
    EXPECT_EQ(stories().decode(stories().encode(text)), text);
}

TEST(Tokenizer, NeverMatchesControlUnknownOrBytePiecesInText) {
    const Loaded small(small_vocabulary());
    for (uint32_t token : small.encode("<unk><s></s><0x41>")) EXPECT_NE(small->type(token), kControl);
    EXPECT_THAT(small.encode("<s>"), ElementsAre(4, 0));
}

/// With marks as people add them to a vocabulary: with the best of scores.
const Loaded& with_marks() {
    static const Loaded loaded({.pieces = {{"<unk>", 0, kUnknown},
                                           {"<s>", 0, kControl},
                                           {"</s>", 0, kControl},
                                           {"<|im_end|>", 0, kUserDefined},
                                           {"[INST]", 0, kUserDefined},
                                           {"<a>", 0, kUserDefined},
                                           {"  ", 0, kUserDefined},
                                           {"<", -2, kNormal},
                                           {"a", -2, kNormal},
                                           {">", -2, kNormal},
                                           {"<a", -1, kNormal},
                                           {" ", -2, kNormal}}});
    return loaded;
}

TEST(Tokenizer, MarksInTextAreFoundOrNotAsIsAskedFor) {
    const Tokenizer& t = *with_marks();
    const auto encode = [&](std::string_view text, Encoding encoding) {
        const Buffer<uint32_t> tokens = t.encode(text, encoding).take();
        return std::vector<uint32_t>(tokens.begin(), tokens.end());
    };
    const Encoding literal{.dummy_prefix = false, .marks_as_text = true};
    EXPECT_THAT(encode("a<|im_end|>", {.dummy_prefix = false}), ElementsAre(8, 3));
    EXPECT_THAT(encode("a<|im_end|>", literal), ::testing::Not(::testing::Contains(3)));
    EXPECT_THAT(encode("[INST]", literal), ::testing::Not(::testing::Contains(4)));
    EXPECT_THAT(encode("<a>", {.dummy_prefix = false}), ElementsAre(5));
    EXPECT_THAT(encode("<a>", literal), ElementsAre(10, 9)) << "nor is it put together from its parts";
    EXPECT_THAT(encode("a  a", literal), ElementsAre(8, 6, 8)) << "blanks are no mark";
    EXPECT_THAT(encode("a", {.marks_as_text = true}), ElementsAre(11, 8));
}

TEST(Tokenizer, FindsAControlOrUserDefinedPieceByItsName) {
    const Tokenizer& t = *with_marks();
    EXPECT_EQ(t.special("</s>"), 2u);
    EXPECT_EQ(t.special("<|im_end|>"), 3u);
    EXPECT_EQ(t.special("<a"), Tokenizer::kNone) << "a piece of text";
    EXPECT_EQ(t.special("<unk>"), Tokenizer::kNone);
    EXPECT_EQ(t.special("<|im_start|>"), Tokenizer::kNone);
}

TEST(Tokenizer, MergesTheBestScoreFirstAndTheLeftmostOfEquals) {
    const Loaded tied({.pieces = {{"<unk>", 0, kUnknown}, {"a", -9, kNormal}, {"aa", -1, kNormal}},
                       .add_dummy_prefix = false});
    EXPECT_THAT(tied.encode("aaa"), ElementsAre(2, 1));
    // "bc" is better than "ab", though it comes later.
    const Loaded scored({.pieces = {{"<unk>", 0, kUnknown},
                                    {"a", -9, kNormal},
                                    {"b", -9, kNormal},
                                    {"c", -9, kNormal},
                                    {"ab", -2, kNormal},
                                    {"bc", -1, kNormal}},
                         .add_dummy_prefix = false});
    EXPECT_THAT(scored.encode("abc"), ElementsAre(1, 5));
    EXPECT_THAT(scored.encode("ab"), ElementsAre(4));
}

TEST(Tokenizer, MakesOneUnknownOfARunWhereThereAreNoBytePieces) {
    const Loaded small(small_vocabulary());  // it has one byte piece: too few to fall back on
    EXPECT_THAT(small.encode("xyzab\xC3\xA9q"), ElementsAre(4, 0, 7, 8, 0));
}

TEST(Tokenizer, FallsBackOnTheBytesOfTheVisibleSpaceWhereThereIsNoSpacePiece) {
    Vocabulary vocabulary{.pieces = {{"<unk>", 0, kUnknown}}};
    for (uint32_t byte = 0; byte < 256; ++byte) {
        const auto text = FixedString<6>::formatted("<0x{}{}>", "0123456789ABCDEF"[byte / 16],
                                                    "0123456789ABCDEF"[byte % 16]);
        vocabulary.pieces.push_back({std::string(text.view()), 0, kByte});
    }
    // SentencePiece writes a space as U+2581 before it looks for pieces.
    EXPECT_THAT(Loaded(vocabulary).encode("a"), ElementsAre(1 + 0xE2, 1 + 0x96, 1 + 0x81, 1 + 'a'));
}

TEST(Tokenizer, KeepsUserDefinedPiecesWholeTheLongestFirst) {
    const Loaded tokenizer({.pieces = {{"<unk>", 0, kUnknown},
                                       {"a", -1, kNormal},
                                       {"<x", 0, kUserDefined},
                                       {"<x>", 0, kUserDefined},
                                       {"a<x>", 5, kNormal}},
                            .add_dummy_prefix = false});
    EXPECT_THAT(tokenizer.encode("a<x>a<xa"), ElementsAre(1, 3, 1, 2, 1));
}

TEST(Tokenizer, UsesUnusedPiecesAsStepsOnly) {
    const Loaded tokenizer({.pieces = {{"<unk>", 0, kUnknown},
                                       {"a", -9, kNormal},
                                       {"b", -9, kNormal},
                                       {"ab", -1, kUnused},
                                       {"abab", -2, kNormal}},
                            .add_dummy_prefix = false});
    EXPECT_THAT(tokenizer.encode("abab"), ElementsAre(4));
    EXPECT_THAT(tokenizer.encode("aba"), ElementsAre(1, 2, 1));
}

TEST(Tokenizer, AddsTheDummyPrefixOnlyWhereTheVocabularyAsks) {
    Vocabulary vocabulary = small_vocabulary();
    EXPECT_THAT(Loaded(vocabulary).encode("ab"), ElementsAre(4, 7));
    vocabulary.add_dummy_prefix = false;
    EXPECT_THAT(Loaded(vocabulary).encode("ab"), ElementsAre(7));
    EXPECT_EQ(Loaded(vocabulary).decode({4, 7}), " ab");
}

TEST(Tokenizer, FindsTheLowerIdOfTwoPiecesAlike) {
    Vocabulary vocabulary = small_vocabulary();
    vocabulary.pieces.push_back({"ab", -1, kNormal});
    EXPECT_THAT(Loaded(vocabulary).encode("ab"), ElementsAre(4, 7));
}

TEST(Tokenizer, RefusesASectionThatIsDamaged) {
    std::vector<uint32_t> words(64, 0);
    const ByteSpan zeros(reinterpret_cast<const uint8_t*>(words.data()), 256);
    EXPECT_FALSE(Tokenizer::make(zeros, allocator).ok());
    EXPECT_FALSE(Tokenizer::make({}, allocator).ok());
    const auto unaligned = Tokenizer::make(zeros.subspan(1), allocator);
    ASSERT_FALSE(unaligned.ok());
    EXPECT_THAT(std::string(unaligned.error().message()), HasSubstr("multiple of 4"));
}

TEST(Tokenizer, SaysWhenMemoryRunsOut) {
    struct Failing final : Allocator {
        explicit Failing(int count) : left(count) {}
        void* allocate(size_t size, size_t alignment) override {
            return left-- > 0 ? heap.allocate(size, alignment) : nullptr;
        }
        void release(void* pointer) override { heap.release(pointer); }
        StdAllocator heap;
        int left;
    };
    const Image image = small_image();
    const Weights weights = load_weights(image.bytes(), allocator).take();
    Failing none(0);
    EXPECT_FALSE(Tokenizer::make(weights.tokenizer, none).ok());
    for (int left = 1;; ++left) {
        ASSERT_LT(left, 20);
        Failing some(left);
        auto tokenizer = Tokenizer::make(weights.tokenizer, some);
        ASSERT_TRUE(tokenizer.ok());
        const auto tokens = tokenizer.value().encode("abab");
        if (tokens.ok()) break;
        EXPECT_EQ(tokens.error().code(), ErrorCode::kOutOfMemory);
    }
}

TEST(Detokenizer, DropsTheSpaceOfTheFirstTokenOnly) {
    EXPECT_EQ(stories().decode({841, 842, 261}), "Once upon a");
    EXPECT_EQ(stories().decode({964, 964, 287}), "  he" + std::string(stories()->piece(287)).substr(3));
    EXPECT_EQ(stories().decode({1, 841, 842}), "Once upon");  // BOS prints nothing and is no start
    constexpr uint32_t kSpaceByte = 3 + ' ';
    EXPECT_EQ(stories().decode({kSpaceByte, 976}), " .");
}

TEST(Detokenizer, HoldsBackACharacterUntilItIsComplete) {
    Detokenizer detokenizer(*stories());
    EXPECT_EQ(detokenizer.next(3 + 0xF0), "");
    EXPECT_EQ(detokenizer.next(3 + 0x9F), "");
    EXPECT_EQ(detokenizer.next(3 + 0x99), "");
    EXPECT_EQ(detokenizer.next(3 + 0x82), "🙂");
    EXPECT_EQ(detokenizer.finish(), "");
}

TEST(Detokenizer, WritesMalformedBytesAsReplacementCharacters) {
    const auto byte = [](uint32_t value) { return 3 + value; };
    EXPECT_EQ(stories().decode({byte(0xFF), 976}), "\uFFFD.");
    EXPECT_EQ(stories().decode({byte(0xE2), byte(0x96), 976}), "\uFFFD\uFFFD.");
    EXPECT_EQ(stories().decode({byte(0xE2), byte(0xC3), byte(0xA9)}), "\uFFFDé");
    EXPECT_EQ(stories().decode({byte(0xC0), byte(0x80)}), "\uFFFD\uFFFD");
    EXPECT_EQ(stories().decode({byte(0xF0), byte(0x9F)}), "\uFFFD\uFFFD");     // cut off by the end
    EXPECT_EQ(stories().decode({byte(0xC3), 2, byte(0xA9)}), "\uFFFD\uFFFD");  // EOS between them
    EXPECT_EQ(stories().decode({byte(0xED), byte(0xA0), byte(0x80)}), "\uFFFD\uFFFD\uFFFD");  // a surrogate
}

TEST(Detokenizer, PrintsThePiecesLargestThatThereMayBe) {
    Vocabulary vocabulary = small_vocabulary();
    vocabulary.pieces.push_back({std::string(wllm::kMaxPieceSize, 'a'), -1, kNormal});
    const Loaded tokenizer(vocabulary);
    EXPECT_EQ(tokenizer.decode({7, 9}), "ab" + std::string(wllm::kMaxPieceSize, 'a'));
}

}  // namespace
}  // namespace bareflow
