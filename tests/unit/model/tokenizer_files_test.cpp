// Vocabularies in SentencePiece's and Hugging Face's files. That text is cut as SentencePiece cuts it is shown in
// tests/oracle/tokenizer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/tools/hf_tokenizer.h"
#include "model/tools/llama2c_tokenizer.h"
#include "model/tools/sentencepiece_model.h"
#include "tests/unit/model/hf_files.h"

namespace bareflow {
namespace {

using ::testing::HasSubstr;
using testing::normalizer_spec;
using testing::ProtobufWriter;
using testing::trainer_spec;
using enum wllm::PieceType;

Vocabulary default_vocabulary() {
    const auto file = InputFile::open("model/bareflow-stories.tokenizer.bin");
    return read_llama2c_tokenizer(file.value()).take();
}

/// The pieces that are `expected`; scores only where `scores`.
void expect_pieces(const Vocabulary& vocabulary, const Vocabulary& expected, bool scores) {
    ASSERT_EQ(vocabulary.pieces.size(), expected.pieces.size());
    EXPECT_EQ(vocabulary.add_dummy_prefix, expected.add_dummy_prefix);
    for (size_t id = 0; id < expected.pieces.size(); ++id) {
        EXPECT_EQ(vocabulary.pieces[id].text, expected.pieces[id].text);
        EXPECT_EQ(vocabulary.pieces[id].type, expected.pieces[id].type);
        if (scores) {
            EXPECT_EQ(vocabulary.pieces[id].score, expected.pieces[id].score);
        }
    }
}

std::string refusal_of_model(const std::string& bytes) {
    const auto read = parse_sentencepiece_model(testing::as_bytes(bytes), "t.model");
    return read.ok() ? "" : std::string(read.error().message());
}

TEST(SentencePieceModel, HoldsTheVocabularyThatWasWritten) {
    Vocabulary vocabulary = default_vocabulary();
    vocabulary.pieces.push_back({" user defined", 0, kUserDefined});
    vocabulary.pieces.push_back({"unused", -3, kUnused});
    for (bool prefix : {true, false}) {
        vocabulary.add_dummy_prefix = prefix;
        const auto read =
            parse_sentencepiece_model(testing::as_bytes(testing::sentencepiece_model(vocabulary)), "t.model");
        ASSERT_TRUE(read.ok()) << read.error().message();
        expect_pieces(read.value().vocabulary, vocabulary, true);
        EXPECT_EQ(read.value().bos_id, 1);
        EXPECT_EQ(read.value().unk_id, 0u);
    }
}

TEST(SentencePieceModel, OfTheDefaultModelIsTheVocabularyThatLlama2cHas) {
    SKIP_WITHOUT(shared_model("hf/tokenizer.model"));
    const SentencePieceModel model = read_sentencepiece_model(shared_model("hf/tokenizer.model")).take();
    expect_pieces(model.vocabulary, default_vocabulary(), true);
}

TEST(SentencePieceModel, IsRefusedIfTextIsCutOtherwise) {
    const Vocabulary vocabulary = default_vocabulary();
    const auto with = [&](const ProtobufWriter& trainer, const ProtobufWriter& normalizer) {
        return refusal_of_model(testing::sentencepiece_model(vocabulary, trainer, normalizer));
    };
    const auto trainer = trainer_spec();
    ASSERT_EQ(with(trainer, normalizer_spec()), "");
    EXPECT_THAT(with(trainer_spec().number(3, 1), normalizer_spec()),
                HasSubstr("t.model: trainer_spec.model_type: a unigram"));
    EXPECT_THAT(with(trainer_spec().number(3, 4), normalizer_spec()),
                HasSubstr("trainer_spec.model_type: must be BPE"));
    EXPECT_THAT(with(trainer_spec().number(24, 1), normalizer_spec()),
                HasSubstr("treat_whitespace_as_suffix"));
    EXPECT_THAT(with(trainer_spec(false), normalizer_spec()),
                HasSubstr("256 pieces are of type byte, but trainer_spec.byte_fallback is false"));
    EXPECT_THAT(with(trainer, normalizer_spec().text(2, "rules")),
                HasSubstr("normalizer_spec.precompiled_charsmap: has rules"));
    EXPECT_THAT(with(trainer, normalizer_spec().number(4, 1)),
                HasSubstr("normalizer_spec.remove_extra_whitespaces: must be false"));
    EXPECT_THAT(with(trainer, normalizer_spec().number(5, 0)),
                HasSubstr("normalizer_spec.escape_whitespaces: must be true"));
    // The .proto's defaults: a unigram model, and extra white space removed.
    EXPECT_THAT(with(ProtobufWriter(), normalizer_spec()), HasSubstr("a unigram model"));
    EXPECT_THAT(with(trainer, ProtobufWriter()), HasSubstr("remove_extra_whitespaces"));
    const std::string denormaliser = ProtobufWriter().text(2, "rules").bytes();
    EXPECT_THAT(refusal_of_model(testing::sentencepiece_model(vocabulary) +
                                 ProtobufWriter().text(5, denormaliser).bytes()),
                HasSubstr("denormalizer_spec.precompiled_charsmap: has rules"));
}

TEST(SentencePieceModel, IsRefusedWithThePieceThatIsWrong) {
    const auto with = [&](const ProtobufWriter& piece) {
        Vocabulary vocabulary{.pieces = {{"<unk>", 0, kUnknown}}};
        return refusal_of_model(
            testing::sentencepiece_model(vocabulary, trainer_spec(false), normalizer_spec()) +
            ProtobufWriter().text(1, piece.bytes()).bytes());
    };
    const auto piece = [](std::string_view text) { return ProtobufWriter().text(1, text); };
    ASSERT_EQ(with(piece("a")), "");
    EXPECT_THAT(with(piece("\xFF")), HasSubstr("piece 1 (offset 54) is not UTF-8"));
    EXPECT_THAT(with(piece("")), HasSubstr("piece 1 (offset 54) is empty"));
    EXPECT_THAT(with(piece("a b")), HasSubstr("piece 1 (offset 54) holds a plain space"));
    EXPECT_THAT(with(piece(std::string(481, 'a'))), HasSubstr("has 481 bytes, more than 480"));
    EXPECT_THAT(with(piece("a").number(3, 9)), HasSubstr("piece 1 (offset 54) is of type 9, must be 1 to 6"));
    EXPECT_THAT(with(piece("a").number(3, 0)), HasSubstr("is of type 0"));
    EXPECT_THAT(with(piece("a").real(2, std::numeric_limits<float>::infinity())),
                HasSubstr("is not a finite number"));
    EXPECT_THAT(with(piece("a").number(3, 6)), HasSubstr("is of type byte, but is not written <0xNN>"));
    EXPECT_THAT(with(piece("b").number(3, 2)), HasSubstr("2 pieces are of type unknown"));
    EXPECT_THAT(with(piece("<0x41>").number(3, 6)), HasSubstr("1 pieces are of type byte"));
    EXPECT_THAT(with(piece("<unk>")), HasSubstr("pieces 0 and 1 are the same"));
}

TEST(SentencePieceModel, IsRefusedCutShortAtAnyLength) {
    const std::string model = testing::sentencepiece_model(default_vocabulary());
    for (size_t size = 0; size < model.size(); size += size < 200 || size + 200 > model.size() ? 1 : 101)
        ASSERT_NE(refusal_of_model(model.substr(0, size)), "") << size;
    EXPECT_THAT(refusal_of_model(model + '\x0A'), HasSubstr("no SentencePiece model from offset"));
    EXPECT_THAT(refusal_of_model(std::string(11, '\xFF')), HasSubstr("no SentencePiece model from offset"));
    EXPECT_THAT(refusal_of_model("\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"),
                HasSubstr("no SentencePiece model"));
}

std::string refusal_of_json(const std::string& text) {
    const auto document = JsonDocument::parse(text, "tokenizer.json");
    if (!document.ok()) return std::string(document.error().message());
    const auto read = parse_hf_tokenizer(document.value().root());
    return read.ok() ? "" : std::string(read.error().message());
}
Vocabulary vocabulary_of_json(const std::string& text) {
    const JsonDocument document = JsonDocument::parse(text, "tokenizer.json").take();
    auto read = parse_hf_tokenizer(document.root());
    EXPECT_TRUE(read.ok()) << (read.ok() ? "" : read.error().message());
    return read.ok() ? std::move(read.value().vocabulary) : Vocabulary{};
}

/// Few pieces, all bytes among them.
Vocabulary byte_vocabulary() {
    Vocabulary vocabulary = default_vocabulary();
    vocabulary.pieces.resize(259);
    for (const char* text : {"a", "b", "c"}) vocabulary.pieces.push_back({text, -9, kNormal});
    vocabulary.pieces.push_back({"ab", -1, kNormal});
    vocabulary.pieces.push_back({"bc", -2, kNormal});
    vocabulary.pieces.push_back({"abc", -3, kNormal});
    return vocabulary;
}

TEST(HfTokenizerJson, HoldsTheVocabularyThatWasWrittenInBothSpellingsOfMerges) {
    const Vocabulary vocabulary = default_vocabulary();
    for (bool pairs_as_lists : {false, true})
        expect_pieces(vocabulary_of_json(testing::tokenizer_json(vocabulary, pairs_as_lists)), vocabulary,
                      false);
}

TEST(HfTokenizerJson, MakesScoresOfRanks) {
    const auto pieces = vocabulary_of_json(testing::tokenizer_json(byte_vocabulary())).pieces;
    EXPECT_GT(pieces[262].score, pieces[263].score);
    EXPECT_GT(pieces[263].score, pieces[264].score);
    Vocabulary tied = byte_vocabulary();
    for (const char* text : {"aa", "aaa", "aaaa"}) tied.pieces.push_back({text, -1e9f, kNormal});
    const auto runs = vocabulary_of_json(testing::tokenizer_json(tied)).pieces;
    // Their merges are mixed, as those of Llama 2's runs of spaces: of equal score.
    EXPECT_EQ(runs[266].score, runs[267].score);
    EXPECT_LT(runs[267].score, runs[264].score);
}

TEST(HfTokenizerJson, AddsItsAddedTokens) {
    std::string json = testing::tokenizer_json(byte_vocabulary());
    json.replace(
        json.find("\"added_tokens\":["), 16,
        R"("added_tokens":[{"id":266,"content":"<tool>","special":false},{"id":265,"content":"<|end|>","special":true},)");
    const auto pieces = vocabulary_of_json(json).pieces;
    ASSERT_EQ(pieces.size(), 267u);
    EXPECT_EQ(pieces[265].text, "<|end|>");
    EXPECT_EQ(pieces[265].type, kControl);
    EXPECT_EQ(pieces[266].type, kUserDefined);
    json.replace(json.find("\"id\":266"), 8, "\"id\":267");
    EXPECT_THAT(refusal_of_json(json),
                HasSubstr("tokenizer.json: added token 267 leaves a gap; the vocabulary ends at 266"));
}

TEST(HfTokenizerJson, SaysWhetherASpaceIsPrepended) {
    Vocabulary vocabulary = byte_vocabulary();
    const std::string decoder(testing::kLlamaDecoder);
    const std::string replace = R"({"type":"Replace","pattern":{"String":" "},"content":"▁"})";
    const std::string bare_decoder =
        R"({"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},)"
        R"({"type":"ByteFallback"},{"type":"Fuse"}]})";
    const std::string metaspace = R"({"type":"Metaspace","replacement":"▁","split":false,"prepend_scheme":)";
    const struct {
        std::string around;
        bool prefix;
    } kForms[] = {
        {"\"normalizer\":" + replace + ",\"decoder\":" + bare_decoder, false},
        {"\"normalizer\":null,\"pre_tokenizer\":" + metaspace + "\"first\"},\"decoder\":" + decoder, true},
        {"\"normalizer\":null,\"pre_tokenizer\":" + metaspace + "\"always\"},\"decoder\":" + decoder, true},
        {"\"normalizer\":null,\"pre_tokenizer\":" + metaspace + "\"never\"},\"decoder\":" + bare_decoder,
         false},
    };
    for (const auto& [around, prefix] : kForms)
        EXPECT_EQ(vocabulary_of_json(testing::tokenizer_json(vocabulary, false, around)).add_dummy_prefix,
                  prefix)
            << around;
}

TEST(HfTokenizerJson, IsRefusedIfTextIsCutOtherwise) {
    const std::string good = testing::tokenizer_json(byte_vocabulary());
    ASSERT_EQ(refusal_of_json(good), "");
    const auto with = [&](std::string_view from, std::string_view to) {
        std::string json = good;
        const size_t at = json.find(from);
        EXPECT_NE(at, json.npos) << from;
        return refusal_of_json(json.replace(at, from.size(), to));
    };
    EXPECT_THAT(with("\"BPE\"", "\"Unigram\""), HasSubstr("tokenizer.json: model.type: must be BPE"));
    EXPECT_THAT(with("\"byte_fallback\":true", "\"byte_fallback\":false"),
                HasSubstr("byte_fallback must be true"));
    EXPECT_THAT(with("\"dropout\":null", "\"dropout\":0.1"), HasSubstr("model.dropout: must be null"));
    EXPECT_THAT(with("\"end_of_word_suffix\":null", "\"end_of_word_suffix\":\"</w>\""),
                HasSubstr("end_of_word_suffix: must be null"));
    EXPECT_THAT(with("\"fuse_unk\":true", "\"ignore_merges\":true"),
                HasSubstr("model.ignore_merges: must be false"));
    EXPECT_THAT(with("\"unk_token\":\"<unk>\"", "\"unk_token\":\"?\""),
                HasSubstr("model.unk_token: is no piece"));
    EXPECT_THAT(with("\"type\":\"Prepend\"", "\"type\":\"NFKC\""),
                HasSubstr("normalizer.normalizers[0]: is no normaliser of Llama's"));
    EXPECT_THAT(with(testing::kLlamaNormalizer, "null"), HasSubstr("normalizer: must replace spaces"));
    EXPECT_THAT(with("\"pre_tokenizer\":null", "\"pre_tokenizer\":{\"type\":\"ByteLevel\"}"),
                HasSubstr("pre_tokenizer: must not follow"));
    EXPECT_THAT(with("\"type\":\"Strip\"", "\"type\":\"Fuse\""), HasSubstr("decoder: must be Llama's"));
    EXPECT_THAT(with("\"type\":\"ByteFallback\"", "\"type\":\"ByteLevel\""),
                HasSubstr("decoder.decoders[1]: is no decoder of Llama's"));
    EXPECT_THAT(with("\"<0x00>\":3", "\"zero\":3"), HasSubstr("must have all 256 byte pieces"));
    // A piece that can be made in a way that the merges do not list, as a trainer of Hugging Face's own leaves them.
    EXPECT_THAT(with(",\"ab c\"", ""),
                HasSubstr("\"abc\" can be cut into two pieces in 2 ways, but has 1 merges"));
}

TEST(HfTokenizerJson, IsRefusedWithTheFieldThatIsWrong) {
    const std::string good = testing::tokenizer_json(byte_vocabulary());
    const auto with = [&](std::string_view from, std::string_view to) {
        std::string json = good;
        const size_t at = json.find(from);
        EXPECT_NE(at, json.npos) << from;
        return refusal_of_json(json.replace(at, from.size(), to));
    };
    EXPECT_THAT(with("\"abc\":264", "\"abc\":265"), HasSubstr("model.vocab.abc is 265, must be 0 to 264"));
    EXPECT_THAT(with("\"abc\":264", "\"abc\":263"), HasSubstr("its id is another piece's too"));
    EXPECT_THAT(with("\"abc\":264", "\"abc\":-1"), HasSubstr("model.vocab.abc must be a whole number"));
    EXPECT_THAT(with("\"abc\":264", "\"\":264"), HasSubstr("an empty piece"));
    EXPECT_THAT(with("\"abc\":264", "\"ab\":264"), HasSubstr("the key \"ab\" stands twice"));
    EXPECT_THAT(with("\"ab c\"", "\"ab d\""), HasSubstr("is not of pieces of the vocabulary"));
    EXPECT_THAT(with("\"ab c\"", "\"abc\""), HasSubstr("must be two pieces"));
    EXPECT_THAT(with("\"ab c\"", "\"a b c\""), HasSubstr("must be two pieces"));
    EXPECT_THAT(with("\"ab c\"", "[\"ab\",\"c\",\"d\"]"), HasSubstr("must be a text"));
    EXPECT_THAT(with("\"content\":\"<s>\"", "\"content\":\"<t>\""),
                HasSubstr("added token 1 is \"<t>\", but the vocabulary has \"<s>\""));
    EXPECT_THAT(refusal_of_json("{}"), HasSubstr("tokenizer.json: model is missing"));
    EXPECT_THAT(
        refusal_of_json(
            R"({"model":{"type":"BPE","byte_fallback":true,"unk_token":"x","vocab":[],"merges":[]}})"),
        HasSubstr("model.vocab: must be an object"));
}

}  // namespace
}  // namespace bareflow
