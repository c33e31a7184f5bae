// Our tokenizer against SentencePiece itself (libsentencepiece-dev): the same ids for whatever text, the same text for
// whatever ids.
#include <gtest/gtest.h>
#include <sentencepiece_processor.h>

#include <set>

#include "arch/base/text.h"
#include "model/tokenizer.h"
#include "model/tools/hf_tokenizer.h"
#include "model/tools/llama2c_tokenizer.h"
#include "model/tools/sentencepiece_model.h"
#include "model/weights.h"
#include "tests/oracle/tokenizer/varied_lines.h"
#include "tests/unit/model/hf_files.h"

namespace bareflow {
namespace {

using namespace std::string_literals;
using testing::VariedLines;

constexpr int kLines = 10000, kFewerLines = 2000;
constexpr uint32_t kSeed = 2026;

StdAllocator allocator;

/// A vocabulary as it comes out of the .wllm that an import makes of it.
class Ours {
 public:
    explicit Ours(const Vocabulary& vocabulary) : image_(image_with(vocabulary)) {
        Weights weights = load_weights(image_.bytes(), allocator).take();
        tokenizer_ = Tokenizer::make(weights.tokenizer, allocator).take();
    }
    std::vector<int> encode(std::string_view text) const {
        const auto tokens = tokenizer_.encode(text).take();
        return {tokens.begin(), tokens.end()};
    }
    std::string decode(const std::vector<int>& tokens) const {
        Detokenizer detokenizer(tokenizer_);
        std::string text;
        for (int token : tokens) text += detokenizer.next(static_cast<uint32_t>(token));
        return text += detokenizer.finish();
    }

 private:
    static Image image_with(const Vocabulary& vocabulary) {
        ModelConfig config = small_config();
        config.vocab_size = static_cast<uint32_t>(vocabulary.pieces.size());
        return image_of(MadeUpModel(config), vocabulary);
    }
    Image image_;
    Tokenizer tokenizer_;
};

class Oracle {
 public:
    explicit Oracle(const std::string& model) {
        const auto loaded = processor_.LoadFromSerializedProto(model);
        EXPECT_TRUE(loaded.ok()) << loaded.ToString();
    }
    std::vector<int> encode(std::string_view text) const {
        std::vector<int> ids;
        EXPECT_TRUE(processor_.Encode({text.data(), text.size()}, &ids).ok());
        return ids;
    }
    std::string decode(const std::vector<int>& ids) const {
        std::string text;
        EXPECT_TRUE(processor_.Decode(ids, &text).ok());
        return text;
    }
    int unknown() const { return processor_.unk_id(); }
    int size() const { return processor_.GetPieceSize(); }

 private:
    sentencepiece::SentencePieceProcessor processor_;
};

std::string text_of(const std::string& path) {
    const Bytes bytes = read_file(path);
    return {bytes.begin(), bytes.end()};
}
Vocabulary default_vocabulary() {
    const auto file = InputFile::open("model/bareflow-stories.tokenizer.bin");
    return read_llama2c_tokenizer(file.value()).take();
}
Vocabulary vocabulary_of(const std::string& model) {
    auto read = parse_sentencepiece_model(testing::as_bytes(model), "tokenizer.model");
    EXPECT_TRUE(read.ok()) << (read.ok() ? "" : read.error().message());
    return std::move(read.value().vocabulary);
}
Vocabulary vocabulary_of_json(const std::string& json) {
    const JsonDocument document = JsonDocument::parse(json, "tokenizer.json").take();
    auto read = parse_hf_tokenizer(document.root());
    EXPECT_TRUE(read.ok()) << (read.ok() ? "" : read.error().message());
    return std::move(read.value().vocabulary);
}

/// The text that decoding must give back: malformed bytes are U+FFFD, U+2581 is a space.
std::string expected_back(std::string_view text) {
    std::string result;
    while (!text.empty()) {
        const int length = utf8_length(text);
        const std::string_view character = text.substr(0, length > 0 ? static_cast<size_t>(length) : 1);
        result += length <= 0 ? "\uFFFD" : character == "\u2581" ? " " : std::string(character);
        text.remove_prefix(character.size());
    }
    return result;
}

std::string hexadecimal(std::string_view text) {
    std::string result;
    for (char c : text) result += FixedString<3>::formatted("{:02x} ", static_cast<uint8_t>(c)).view();
    return result;
}

/// Whether both say the same of a text; `exact_back`: and decoding gives the text back.
::testing::AssertionResult same(const Ours& ours, const Oracle& oracle, const std::string& text) {
    const std::vector<int> mine = ours.encode(text), theirs = oracle.encode(text);
    if (mine != theirs) {
        return ::testing::AssertionFailure()
               << "\"" << text << "\" (" << hexadecimal(text) << ") is " << ::testing::PrintToString(mine)
               << ", for SentencePiece " << ::testing::PrintToString(theirs);
    }
    const std::string back = ours.decode(mine);
    if (back != oracle.decode(mine) || back != expected_back(text)) {
        return ::testing::AssertionFailure()
               << hexadecimal(text) << "comes back as " << hexadecimal(back) << ", from SentencePiece as "
               << hexadecimal(oracle.decode(mine));
    }
    return ::testing::AssertionSuccess();
}

void expect_same_on_varied_lines(const Vocabulary& vocabulary, const Oracle& oracle, int count = kLines) {
    const Ours ours(vocabulary);
    std::vector<std::string> pieces;
    for (const Vocabulary::Piece& piece : vocabulary.pieces) pieces.push_back(piece.text);
    VariedLines lines(kSeed, pieces);
    for (int i = 0; i < count; ++i) ASSERT_TRUE(same(ours, oracle, lines.next())) << "line " << i;
    // What no generator should have to hit upon.
    const std::string texts[] = {"",
                                 " ",
                                 "  ",
                                 "\n",
                                 "\t",
                                 "\u2581",
                                 "\u2581\u2581",
                                 "\u3000",
                                 "\u00A0",
                                 " \u2581 ",
                                 "\0"s,
                                 std::string(20000, 'a'),
                                 std::string(5000, ' '),
                                 std::string(3000, '\xFF'),
                                 std::string(17, ' ') + "x" + std::string(33, ' '),
                                 "a\u0301\u0301\u0301\u0301"};
    for (const std::string& text : texts) EXPECT_TRUE(same(ours, oracle, text)) << text.size();
}

/// Ids in an order that no text has. The unknown token is left out: SentencePiece prints " ⁇ " for it, we nothing.
void expect_same_text_of_random_ids(const Vocabulary& vocabulary, const Oracle& oracle) {
    const Ours ours(vocabulary);
    std::mt19937 random(kSeed);
    for (int i = 0; i < kLines; ++i) {
        std::vector<int> ids;
        for (uint32_t n = random() % 12; n-- > 0;) {
            const uint32_t range =
                random() % 2 == 0 ? 300 : static_cast<uint32_t>(oracle.size());  // bytes are among the first
            ids.push_back(static_cast<int>(random() % range));
            if (ids.back() == oracle.unknown()) ids.pop_back();
        }
        ASSERT_EQ(hexadecimal(ours.decode(ids)), hexadecimal(oracle.decode(ids)))
            << ::testing::PrintToString(ids);
    }
}

TEST(SentencePieceOracle, TheDefaultVocabularyCutsTextAsSentencePieceDoes) {
    const std::string model = testing::sentencepiece_model(default_vocabulary());
    expect_same_on_varied_lines(vocabulary_of(model), Oracle(model));
}

TEST(SentencePieceOracle, TheDefaultVocabularyPrintsIdsAsSentencePieceDoes) {
    const std::string model = testing::sentencepiece_model(default_vocabulary());
    expect_same_text_of_random_ids(vocabulary_of(model), Oracle(model));
}

TEST(SentencePieceOracle, TheDefaultVocabularyAsTokenizerJsonCutsTextAsSentencePieceDoes) {
    const Vocabulary vocabulary = default_vocabulary();
    for (bool pairs_as_lists : {false, true}) {
        expect_same_on_varied_lines(vocabulary_of_json(testing::tokenizer_json(vocabulary, pairs_as_lists)),
                                    Oracle(testing::sentencepiece_model(vocabulary)), kFewerLines);
    }
}

TEST(SentencePieceOracle, WithoutTheDummyPrefixTheDefaultVocabularyCutsTextAsSentencePieceDoes) {
    Vocabulary vocabulary = default_vocabulary();
    vocabulary.add_dummy_prefix = false;
    const std::string model = testing::sentencepiece_model(vocabulary);
    expect_same_on_varied_lines(vocabulary_of(model), Oracle(model), kFewerLines);
    expect_same_text_of_random_ids(vocabulary_of(model), Oracle(model));
}

/// A vocabulary of few letters, so that pieces, ties and steps to other pieces come often: of all types that may stand for
/// text, with byte pieces or without.
Vocabulary made_up_vocabulary(std::mt19937& random, bool bytes) {
    using enum wllm::PieceType;
    Vocabulary vocabulary{.pieces = {{"<unk>", 0, kUnknown}, {"<s>", 0, kControl}, {"</s>", 0, kControl}}};
    vocabulary.add_dummy_prefix = random() % 2 == 0;
    for (uint32_t byte = 0; bytes && byte < 256; ++byte) {
        constexpr std::string_view kDigits = "0123456789ABCDEF";
        const auto text = FixedString<6>::formatted("<0x{:c}{:c}>", kDigits[byte / 16], kDigits[byte % 16]);
        vocabulary.pieces.push_back({std::string(text.view()), 0, kByte});
    }
    std::set<std::string> there;
    for (uint32_t count = random() % 40; count > 0; --count) {
        std::string text;
        for (uint32_t size = 1 + random() % 5; size > 0; --size) {
            static const char* const kLetters[] = {"a", "b", "c", " ", "é", "日"};
            text += kLetters[random() % std::size(kLetters)];
        }
        if (!there.insert(text).second) continue;
        const uint32_t kind = random() % 12;
        const float score = -static_cast<float>(random() % 8);
        vocabulary.pieces.push_back({text, score, kind == 0 ? kUserDefined : kind < 3 ? kUnused : kNormal});
    }
    return vocabulary;
}

TEST(SentencePieceOracle, MadeUpVocabulariesCutTextAsSentencePieceDoes) {
    std::mt19937 random(kSeed);
    for (int i = 0; i < 400; ++i) {
        const Vocabulary vocabulary = made_up_vocabulary(random, i % 2 == 0);
        const std::string model =
            testing::sentencepiece_model(vocabulary, testing::trainer_spec(i % 2 == 0),
                                         testing::normalizer_spec(vocabulary.add_dummy_prefix));
        const Oracle oracle(model);
        const Ours ours(vocabulary_of(model));
        for (int line = 0; line < 50; ++line) {
            std::string text;
            for (uint32_t size = random() % 24; size > 0; --size) {
                static const char* const kLetters[] = {"a", "b", "c", " ", "é", "日", "x", "\u2581", "\xFF"};
                text += kLetters[std::min<size_t>(random() % 24, random() % std::size(kLetters))];
            }
            ASSERT_EQ(ours.encode(text), oracle.encode(text)) << "vocabulary " << i << ", \"" << text << "\"";
        }
    }
}

TEST(SentencePieceOracle, TheModelFileOfTheDefaultVocabularyIsAsItWasTrained) {
    SKIP_WITHOUT(shared_model("hf/tokenizer.model"));
    const std::string model = text_of(shared_model("hf/tokenizer.model"));
    expect_same_on_varied_lines(vocabulary_of(model), Oracle(model));
}

TEST(SentencePieceOracle, Llama2sVocabularyCutsTextAsSentencePieceDoes) {
    SKIP_WITHOUT(shared_model("tokenizer.model"));
    const std::string model = text_of(shared_model("tokenizer.model"));
    expect_same_on_varied_lines(vocabulary_of(model), Oracle(model));
}

TEST(SentencePieceOracle, Llama2sVocabularyPrintsIdsAsSentencePieceDoes) {
    SKIP_WITHOUT(shared_model("tokenizer.model"));
    const std::string model = text_of(shared_model("tokenizer.model"));
    expect_same_text_of_random_ids(vocabulary_of(model), Oracle(model));
}

TEST(SentencePieceOracle, Llama2sVocabularyAsTokenizerJsonCutsTextAsSentencePieceDoes) {
    SKIP_WITHOUT(shared_model("tokenizer.model"));
    const std::string model = text_of(shared_model("tokenizer.model"));
    expect_same_on_varied_lines(vocabulary_of_json(testing::tokenizer_json(vocabulary_of(model))),
                                Oracle(model), kFewerLines);
}

}  // namespace
}  // namespace bareflow
