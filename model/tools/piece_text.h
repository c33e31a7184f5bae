// Pieces as SentencePiece and Hugging Face write them, with U+2581 for a space, into pieces as a .wllm has them.
#pragma once

#include <string_view>

#include "arch/base/result.h"
#include "model/tools/model_source.h"

namespace bareflow {

constexpr std::string_view kVisibleSpace = "\xE2\x96\x81";  // U+2581

/// One piece. The error says what is wrong with it in words that follow "piece 7 ": no UTF-8, too long, a plain space that
/// text never has, a byte piece that is not written <0xNN>.
Result<Vocabulary::Piece> piece_from_sentencepiece(std::string_view text, float score, wllm::PieceType type);

}  // namespace bareflow
