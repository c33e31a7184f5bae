#include "model/tools/piece_text.h"

#include "model/tokenizer_section.h"

namespace bareflow {

using wllm::PieceType;

Result<Vocabulary::Piece> piece_from_sentencepiece(std::string_view text, float score, PieceType type) {
    const bool in_text =
        type == PieceType::kNormal || type == PieceType::kUserDefined || type == PieceType::kUnused;
    if (text.empty()) return invalid("is empty");
    if (text.size() > wllm::kMaxPieceSize)
        return invalid("has {} bytes, more than {}", text.size(), wllm::kMaxPieceSize);
    if (!is_utf8(text)) return invalid("is not UTF-8");
    if (type == PieceType::kByte && byte_of_piece(text) < 0)
        return invalid("is of type byte, but is not written <0xNN>");
    if (!in_text) return Vocabulary::Piece{std::string(text), score, type};
    if (text.find(' ') != text.npos)
        return invalid("holds a plain space, which such a vocabulary writes as U+2581");
    Vocabulary::Piece piece{{}, score, type};
    while (!text.empty()) {
        const bool space = text.starts_with(kVisibleSpace);
        piece.text += space ? ' ' : text.front();
        text.remove_prefix(space ? kVisibleSpace.size() : 1);
    }
    return piece;
}

}  // namespace bareflow
