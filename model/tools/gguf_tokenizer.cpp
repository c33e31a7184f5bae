#include "model/tools/gguf_tokenizer.h"

#include <algorithm>
#include <cmath>

#include "model/tokenizer_section.h"

namespace bareflow::gguf {
namespace {

using wllm::PieceType;

constexpr uint64_t kShortText = 256;  ///< bytes of a name that there may be
const std::string kTokens = "tokenizer.ggml.tokens", kScores = "tokenizer.ggml.scores",
                  kTypes = "tokenizer.ggml.token_type";

/// The array at `key` of as many elements of one of two types as there are pieces.
Result<const Value*> array_of(const File& file, const std::string& key, ValueType type, ValueType or_type,
                              uint64_t count) {
    const Value* value = file.find(key);
    if (value == nullptr) return file.missing(key);
    const bool fitting = value->element == type || value->element == or_type;
    if (value->type != ValueType::kArray || !fitting) {
        return invalid("{}: {} (offset {}) is no array of {}", file.name(), std::string_view(key),
                       value->offset, name_of(type));
    }
    if (value->count != count) {
        return invalid("{}: {} (offset {}) has {} elements for {} tokens; the file is damaged", file.name(),
                       std::string_view(key), value->offset, value->count, count);
    }
    return value;
}

/// SentencePiece's own spelling of a space becomes one.
std::string with_plain_spaces(const std::string& text) {
    constexpr std::string_view kVisibleSpace = "\xE2\x96\x81";
    std::string made;
    for (size_t i = 0; i < text.size();) {
        const bool space = std::string_view(text).substr(i).starts_with(kVisibleSpace);
        made += space ? ' ' : text[i];
        i += space ? kVisibleSpace.size() : 1;
    }
    return made;
}

Result<void> read_texts(const File& file, Vocabulary& vocabulary, uint64_t count) {
    const Value* tokens = TRY(array_of(file, kTokens, ValueType::kString, ValueType::kString, count));
    Cursor cursor(file.input(), tokens->offset);
    for (uint64_t i = 0; i < count; ++i) {
        const auto what = FixedString<60>::formatted("{}[{}]", std::string_view(kTokens), i);
        const uint64_t offset = cursor.position();
        const std::string text = TRY(cursor.read_string(what, file.version(), 3 * wllm::kMaxPieceSize));
        std::string piece = with_plain_spaces(text);
        if (!is_utf8(piece)) {
            return invalid("{}: {} (offset {}) is not UTF-8; the file is damaged", file.name(), what.view(),
                           offset);
        }
        if (piece.size() > wllm::kMaxPieceSize) {
            return invalid("{}: {} (offset {}) has {} bytes, more than {}", file.name(), what.view(), offset,
                           piece.size(), wllm::kMaxPieceSize);
        }
        vocabulary.pieces.push_back({std::move(piece), 0, PieceType::kNormal});
    }
    return {};
}

Result<void> read_scores(const File& file, Vocabulary& vocabulary) {
    const Value* scores =
        TRY(array_of(file, kScores, ValueType::kFloat32, ValueType::kFloat64, vocabulary.pieces.size()));
    Cursor cursor(file.input(), scores->offset);
    for (size_t i = 0; i < vocabulary.pieces.size(); ++i) {
        const uint64_t offset = cursor.position();
        const File::Number score = TRY(File::read_number(scores->element, cursor, kScores));
        vocabulary.pieces[i].score = static_cast<float>(score.value);
        if (!std::isfinite(vocabulary.pieces[i].score)) {
            return invalid("{}: {}[{}] (offset {}) is not finite; the file is damaged", file.name(),
                           std::string_view(kScores), i, offset);
        }
    }
    return {};
}

/// From the texts, where the file does not say.
void infer_types(Vocabulary& vocabulary, const SpecialTokens& special) {
    for (Vocabulary::Piece& piece : vocabulary.pieces)
        piece.type = byte_of_piece(piece.text) >= 0 ? PieceType::kByte : PieceType::kNormal;
    for (const uint32_t id : {special.bos, special.eos}) vocabulary.pieces[id].type = PieceType::kControl;
}

Result<void> read_types(const File& file, Vocabulary& vocabulary) {
    const Value* types =
        TRY(array_of(file, kTypes, ValueType::kInt32, ValueType::kUint32, vocabulary.pieces.size()));
    Cursor cursor(file.input(), types->offset);
    for (size_t i = 0; i < vocabulary.pieces.size(); ++i) {
        const uint64_t offset = cursor.position();
        const auto type = TRY(cursor.read<uint32_t>(kTypes));
        constexpr auto kFirst = static_cast<uint32_t>(PieceType::kNormal),
                       kLast = static_cast<uint32_t>(PieceType::kByte);
        if (type < kFirst || type > kLast) {
            return invalid("{}: {}[{}] (offset {}) is {}, must be {} to {}", file.name(),
                           std::string_view(kTypes), i, offset, type, kFirst, kLast);
        }
        Vocabulary::Piece& piece = vocabulary.pieces[i];
        piece.type = static_cast<PieceType>(type);
        if (piece.type == PieceType::kByte && byte_of_piece(piece.text) < 0) {
            return invalid("{}: {}[{}] (offset {}) says byte, but the token is not written <0xNN>",
                           file.name(), std::string_view(kTypes), i, offset);
        }
    }
    return {};
}

}  // namespace

Result<uint32_t> piece_count(const File& file) {
    const Value* tokens = file.find(kTokens);
    if (tokens == nullptr) return file.missing(kTokens);
    if (tokens->type != ValueType::kArray || tokens->element != ValueType::kString) {
        return invalid("{}: {} (offset {}) is no array of strings", file.name(), std::string_view(kTokens),
                       tokens->offset);
    }
    if (tokens->count == 0 || tokens->count > wllm::kMaxDimension) {
        return invalid("{}: {} (offset {}) has {} elements, must have 1 to {}", file.name(),
                       std::string_view(kTokens), tokens->offset, tokens->count, wllm::kMaxDimension);
    }
    return static_cast<uint32_t>(tokens->count);
}

Result<SpecialTokens> read_special_tokens(const File& file, uint32_t pieces) {
    const auto id = [&](const char* key, uint32_t fallback) {
        return file.whole(key, {0, pieces - 1}, std::min(fallback, pieces - 1));
    };
    const uint64_t bos = TRY(id("tokenizer.ggml.bos_token_id", 1));
    const uint64_t eos = TRY(id("tokenizer.ggml.eos_token_id", 2));
    const uint64_t unknown = TRY(id("tokenizer.ggml.unknown_token_id", 0));
    return SpecialTokens{static_cast<uint32_t>(bos), static_cast<uint32_t>(eos),
                         static_cast<uint32_t>(unknown)};
}

Result<Vocabulary> read_vocabulary(const File& file, const SpecialTokens& special) {
    const std::string model = TRY(file.text("tokenizer.ggml.model", kShortText));
    if (model != "llama") {
        const std::string shown = printable(model).substr(0, 40);
        return Error::make(
            ErrorCode::kUnsupported,
            "{}: tokenizer.ggml.model (offset {}) is \"{}\"; only \"llama\" (SentencePiece) can "
            "be read",
            file.name(), file.find("tokenizer.ggml.model")->offset, std::string_view(shown));
    }
    Vocabulary vocabulary;
    const uint32_t count = TRY(piece_count(file));
    TRY(read_texts(file, vocabulary, count));
    TRY(read_scores(file, vocabulary));
    if (file.find(kTypes) != nullptr) {
        TRY(read_types(file, vocabulary));
    } else {
        infer_types(vocabulary, special);
    }
    const bool has_unknown =
        std::any_of(vocabulary.pieces.begin(), vocabulary.pieces.end(),
                    [](const Vocabulary::Piece& piece) { return piece.type == PieceType::kUnknown; });
    if (!has_unknown) vocabulary.pieces[special.unknown].type = PieceType::kUnknown;
    vocabulary.add_dummy_prefix = TRY(file.flag("tokenizer.ggml.add_space_prefix", true));
    vocabulary.add_bos = TRY(file.flag("tokenizer.ggml.add_bos_token", true));
    return vocabulary;
}

}  // namespace bareflow::gguf
