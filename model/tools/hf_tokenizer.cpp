#include "model/tools/hf_tokenizer.h"

#include <algorithm>
#include <unordered_map>

#include "arch/base/text.h"
#include "model/tokenizer_section.h"
#include "model/tools/hf_tokenizer_form.h"
#include "model/tools/piece_text.h"

namespace bareflow {
namespace {

using wllm::PieceType;

constexpr uint32_t kMostMerges = 1u << 24;  // so that a rank is exact as a float
constexpr uint32_t kNoRank = 0xFFFFFFFF;

/// The pieces while they are put together, as the file writes them.
struct Pieces {
    struct Piece {
        std::string_view text;
        PieceType type = PieceType::kNormal;
        uint32_t first_rank = kNoRank, last_rank = kNoRank;  ///< of the merges that make it
        uint32_t merges = 0;
    };
    std::vector<Piece> list;  ///< by id
    std::unordered_map<std::string_view, uint32_t> ids;

    uint32_t find(std::string_view text) const {
        const auto found = ids.find(text);
        return found == ids.end() ? kNoRank : found->second;
    }
};

/// Places `vocab`: each id from 0 on once. The texts stay the document's.
Result<void> read_vocabulary(const JsonValue& vocab, Pieces& pieces) {
    if (!vocab.is_object() || vocab.size() == 0)
        return vocab.wrong("must be an object of pieces and their ids");
    const uint64_t count = std::min<uint64_t>(vocab.size(), wllm::kMaxDimension);
    pieces.list.resize(count);
    const auto visit = [&](std::string_view text, const JsonValue& value) -> Result<void> {
        const uint64_t id = TRY(value.count(0, count - 1));
        if (!pieces.list[id].text.empty()) return value.wrong("its id is another piece's too");
        if (text.empty()) return value.wrong("an empty piece");
        if (text.size() > wllm::kMaxPieceSize) return value.wrong("its piece is longer than any can be");
        pieces.list[id].text = text;
        pieces.ids.emplace(text, static_cast<uint32_t>(id));
        return {};
    };
    return vocab.for_each(visit);
}

/// What BPE may be asked to do beside merging.
Result<void> check_model(const JsonValue& model) {
    const JsonValue type = TRY(model.at("type"));
    if (TRY(type.text()) != "BPE") return type.unsupported("must be BPE, as Llama's");
    if (const auto dropout = model.find("dropout")) return dropout->unsupported("must be null");
    for (std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
        const std::optional<JsonValue> affix = model.find(key);
        if (affix && !TRY(affix->text()).empty()) return affix->unsupported("must be null, as Llama's");
    }
    const std::optional<JsonValue> ignore = model.find("ignore_merges"),
                                   fallback = model.find("byte_fallback");
    if (ignore && TRY(ignore->boolean())) return ignore->unsupported("must be false, as Llama's");
    if (!fallback || !TRY(fallback->boolean()))
        return model.unsupported("byte_fallback must be true; a vocabulary of byte-level BPE cannot be used");
    return {};
}

/// "a b", or ["a", "b"].
Result<std::pair<std::string_view, std::string_view>> read_pair(const JsonValue& merge) {
    std::vector<std::string_view> sides;
    if (merge.is_array() && merge.size() == 2) {
        const auto visit = [&](std::string_view, const JsonValue& side) -> Result<void> {
            sides.push_back(TRY(side.text()));
            return {};
        };
        TRY(merge.for_each(visit));
    } else {
        const std::string_view text = TRY(merge.text());
        const size_t space = text.find(' ');
        if (space != text.npos && text.find(' ', space + 1) == text.npos)
            sides = {text.substr(0, space), text.substr(space + 1)};
    }
    if (sides.size() != 2 || sides[0].empty() || sides[1].empty()) return merge.wrong("must be two pieces");
    return std::pair(sides[0], sides[1]);
}

Result<void> read_merges(const JsonValue& merges, Pieces& pieces) {
    if (!merges.is_array() || merges.size() > kMostMerges) return merges.wrong("must be a list of pairs");
    uint32_t rank = 0;
    const auto visit = [&](std::string_view, const JsonValue& merge) -> Result<void> {
        const auto [left, right] = TRY(read_pair(merge));
        const uint32_t id = pieces.find(std::string(left) + std::string(right));
        if (id == kNoRank || pieces.find(left) == kNoRank || pieces.find(right) == kNoRank)
            return merge.wrong("is not of pieces of the vocabulary");
        Pieces::Piece& piece = pieces.list[id];
        if (piece.merges == 0) piece.first_rank = rank;
        piece.last_rank = rank++;
        ++piece.merges;
        return {};
    };
    return merges.for_each(visit);
}

/// Every cut of a piece into two pieces must be among its merges: ours would merge it.
Result<void> check_complete(const JsonValue& merges, const Pieces& pieces) {
    const auto in_text = [&](std::string_view text) {
        const uint32_t id = pieces.find(text);
        return id != kNoRank && pieces.list[id].type == PieceType::kNormal;
    };
    for (const Pieces::Piece& piece : pieces.list) {
        if (piece.type != PieceType::kNormal) continue;
        uint32_t cuts = 0;
        for (size_t at = 0; at < piece.text.size();) {
            const int length = utf8_length(piece.text.substr(at));
            at += length > 0 ? static_cast<size_t>(length) : 1;
            cuts +=
                at < piece.text.size() && in_text(piece.text.substr(0, at)) && in_text(piece.text.substr(at));
        }
        if (cuts == piece.merges) continue;
        return Error::make(ErrorCode::kUnsupported,
                           "{}: \"{}\" can be cut into two pieces in {} ways, but has {} merges; "
                           "give its tokenizer.model",
                           std::string_view(merges.where()), piece.text.substr(0, 60), cuts, piece.merges);
    }
    return {};
}

/// The scores of pieces, by id: the better, the earlier the first of their merges. Merges are written by descending score;
/// so where those of two pieces are mixed, their scores were equal.
std::vector<float> scores_of(const Pieces& pieces, size_t merges) {
    std::vector<uint32_t> by_rank;
    for (uint32_t id = 0; id < pieces.list.size(); ++id) {
        if (pieces.list[id].merges != 0) by_rank.push_back(id);
    }
    std::sort(by_rank.begin(), by_rank.end(),
              [&](uint32_t a, uint32_t b) { return pieces.list[a].first_rank < pieces.list[b].first_rank; });
    std::vector<float> scores(pieces.list.size(), -static_cast<float>(merges));
    uint32_t begin = 0, last = 0;  // of the ranks of one score
    for (uint32_t id : by_rank) {
        const Pieces::Piece& piece = pieces.list[id];
        if (piece.first_rank > last) begin = piece.first_rank;
        last = std::max(last, piece.last_rank);
        scores[id] = -static_cast<float>(begin);
    }
    return scores;
}

Result<std::vector<AddedToken>> read_added(const JsonValue& root) {
    std::vector<AddedToken> added;
    const std::optional<JsonValue> list = root.find("added_tokens");
    if (!list) return added;
    const auto flag = [](const JsonValue& token, std::string_view key) -> Result<bool> {
        const std::optional<JsonValue> value = token.find(key);
        if (!value) return false;
        return value->boolean();
    };
    const auto visit = [&](std::string_view, const JsonValue& token) -> Result<void> {
        const JsonValue id = TRY(token.at("id")), content = TRY(token.at("content"));
        AddedToken result{static_cast<uint32_t>(TRY(id.count(0, wllm::kMaxDimension - 1))),
                          std::string(TRY(content.text())), TRY(flag(token, "special"))};
        for (std::string_view key : {"lstrip", "rstrip", "single_word"}) {
            if (!result.special && TRY(flag(token, key)))
                return token.unsupported("must take no white space with it");
        }
        added.push_back(std::move(result));
        return {};
    };
    TRY(list->for_each(visit));
    std::sort(added.begin(), added.end(),
              [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
    return added;
}

}  // namespace

uint32_t id_of(const Vocabulary& vocabulary, std::string_view text, uint32_t otherwise) {
    const auto found = std::find_if(vocabulary.pieces.begin(), vocabulary.pieces.end(),
                                    [&](const Vocabulary::Piece& piece) { return piece.text == text; });
    return found == vocabulary.pieces.end() ? otherwise
                                            : static_cast<uint32_t>(found - vocabulary.pieces.begin());
}

Result<void> add_tokens(Vocabulary& vocabulary, const std::vector<AddedToken>& added,
                        const std::string& name) {
    for (const AddedToken& token : added) {
        const PieceType type = token.special ? PieceType::kControl : PieceType::kUserDefined;
        const auto piece = piece_from_sentencepiece(token.text, 0, type);
        if (!piece.ok()) {
            return invalid("{}: added token {} {}", std::string_view(name), token.id,
                           piece.error().message());
        }
        if (token.id < vocabulary.pieces.size()) {
            const Vocabulary::Piece& there = vocabulary.pieces[token.id];
            const auto as_text = piece_from_sentencepiece(token.text, 0, PieceType::kUserDefined);
            if (there.text == token.text || (as_text.ok() && there.text == as_text.value().text)) continue;
            return invalid("{}: added token {} is \"{}\", but the vocabulary has \"{}\" there",
                           std::string_view(name), token.id, std::string_view(token.text).substr(0, 40),
                           std::string_view(there.text).substr(0, 40));
        }
        if (token.id != vocabulary.pieces.size()) {
            return invalid("{}: added token {} leaves a gap; the vocabulary ends at {}",
                           std::string_view(name), token.id, vocabulary.pieces.size());
        }
        vocabulary.pieces.push_back(piece.value());
    }
    return {};
}

Result<HfTokenizer> parse_hf_tokenizer(const JsonValue& root) {
    const JsonValue model = TRY(root.at("model"));
    TRY(check_model(model));
    const JsonValue vocab = TRY(model.at("vocab")), merges = TRY(model.at("merges")),
                    unknown = TRY(model.at("unk_token"));
    Pieces pieces;
    TRY(read_vocabulary(vocab, pieces));
    HfTokenizer result;
    result.unk_id = pieces.find(TRY(unknown.text()));
    if (result.unk_id == kNoRank) return unknown.wrong("is no piece of the vocabulary");
    const std::vector<AddedToken> added = TRY(read_added(root));
    for (const AddedToken& token : added) {
        if (token.id >= pieces.list.size()) continue;
        pieces.list[token.id].type = token.special ? PieceType::kControl : PieceType::kUserDefined;
    }
    uint32_t bytes = 0;
    for (Pieces::Piece& piece : pieces.list) {
        if (piece.type != PieceType::kNormal || byte_of_piece(piece.text) < 0) continue;
        piece.type = PieceType::kByte;
        ++bytes;
    }
    if (bytes != 256)
        return vocab.unsupported("must have all 256 byte pieces, <0x00> to <0xFF>; give its tokenizer.model");
    pieces.list[result.unk_id].type = PieceType::kUnknown;
    TRY(read_merges(merges, pieces));
    TRY(check_complete(merges, pieces));

    result.vocabulary.add_dummy_prefix = TRY(adds_dummy_prefix(root));
    const std::vector<float> scores = scores_of(pieces, merges.size());
    for (size_t id = 0; id < pieces.list.size(); ++id) {
        const Pieces::Piece& piece = pieces.list[id];
        const auto made = piece_from_sentencepiece(piece.text, scores[id], piece.type);
        if (!made.ok())
            return invalid("{}: piece {} {}", std::string_view(vocab.where()), id, made.error().message());
        result.vocabulary.pieces.push_back(made.value());
    }
    TRY(add_tokens(result.vocabulary, added, root.where()));
    return result;
}

}  // namespace bareflow
