#include "model/tokenizer_section.h"

#include <limits>

#include "arch/base/text.h"

namespace bareflow {
namespace {

using wllm::PieceType;
using wllm::TokenizerHeader;

constexpr const char* kAgain = "import the model again";

bool is_finite(float value) { return __builtin_fabsf(value) <= std::numeric_limits<float>::max(); }

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

Result<void> check_piece(const TokenizerSection& section, uint32_t token) {
    const std::string_view piece = section.piece(token);
    const PieceType type = section.types[token];
    if (piece.size() > wllm::kMaxPieceSize) {
        return invalid("tokenizer: piece {} has {} bytes, more than {}; {}", token, piece.size(),
                       wllm::kMaxPieceSize, kAgain);
    }
    if (!is_utf8(piece)) return invalid("tokenizer: piece {} is not UTF-8; {}", token, kAgain);
    if (type < PieceType::kNormal || type > PieceType::kByte) {
        return invalid("tokenizer: piece {} has type {}, which is not one of 1 to 6; {}", token, type,
                       kAgain);
    }
    if (type == PieceType::kByte && byte_of_piece(piece) < 0) {
        return invalid("tokenizer: piece {} is of type byte, but is not written <0xNN>; {}", token, kAgain);
    }
    if (!is_finite(section.scores[token])) {
        return invalid("tokenizer: the score of piece {} is not a finite number; {}", token, kAgain);
    }
    return {};
}

}  // namespace

int byte_of_piece(std::string_view piece) {
    constexpr std::string_view kPrefix = "<0x";
    constexpr size_t kSize = 6;
    if (piece.size() != kSize || !piece.starts_with(kPrefix) || piece.back() != '>') return -1;
    const int high = hex_digit(piece[3]), low = hex_digit(piece[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

bool is_utf8(std::string_view text) {
    while (!text.empty()) {
        const int length = utf8_length(text);
        if (length <= 0) return false;
        text.remove_prefix(static_cast<size_t>(length));
    }
    return true;
}

Result<TokenizerSection> read_tokenizer_section(ByteSpan section) {
    if (reinterpret_cast<uintptr_t>(section.data()) % alignof(float) != 0) {
        return invalid(
            "tokenizer: the section does not lie at a multiple of 4 in memory; load the image at a page");
    }
    ByteReader reader(section);
    const auto header = reader.read<TokenizerHeader>();
    if (!reader.ok()) {
        return invalid("tokenizer: {} bytes are too few for its header of {}; {}", section.size(),
                       sizeof(TokenizerHeader), kAgain);
    }
    if (header.count == 0 || header.count > wllm::kMaxDimension) {
        return invalid("tokenizer: count (offset 0) is {}, must be 1 to {}; {}", header.count,
                       wllm::kMaxDimension, kAgain);
    }
    if ((header.flags & ~wllm::kTokenizerFlags) != 0) {
        return invalid(
            "tokenizer: flags (offset 4) are {:x}, with bits this version does not know; take a newer "
            "BareFlow",
            header.flags);
    }
    if (header.reserved != 0) {
        return invalid("tokenizer: reserved (offset 12) is {:x}, must be 0; {}", header.reserved, kAgain);
    }

    const uint64_t count = header.count;
    const ByteSpan scores = reader.take(count * sizeof(float));
    const ByteSpan ends = reader.take(count * sizeof(uint32_t));
    const ByteSpan types = reader.take(count * sizeof(PieceType));
    const ByteSpan text = reader.take(header.text_size);
    if (!reader.ok() || reader.left() != 0) {
        return invalid(
            "tokenizer: {} pieces with {} bytes of text (offset 8) do not make a section of {} bytes; {}",
            count, header.text_size, section.size(), kAgain);
    }
    TokenizerSection result{
        .scores = {reinterpret_cast<const float*>(scores.data()), count},
        .ends = {reinterpret_cast<const uint32_t*>(ends.data()), count},
        .types = {reinterpret_cast<const PieceType*>(types.data()), count},
        .text = {reinterpret_cast<const char*>(text.data()), text.size()},
        .add_dummy_prefix = (header.flags & wllm::kTokenizerAddDummyPrefix) != 0,
        .add_bos = (header.flags & wllm::kTokenizerNoBos) == 0,
    };

    uint32_t previous = 0;
    bool has_unknown = false;
    for (uint32_t token = 0; token < header.count; ++token) {
        if (result.ends[token] < previous || result.ends[token] > header.text_size) {
            return invalid("tokenizer: piece {} ends at {}, not between {} and the text's {} bytes; {}",
                           token, result.ends[token], previous, header.text_size, kAgain);
        }
        previous = result.ends[token];
        TRY(check_piece(result, token));
        has_unknown |= result.types[token] == PieceType::kUnknown;
    }
    if (previous != header.text_size) {
        return invalid("tokenizer: the pieces end at {}, but there are {} bytes of text (offset 8); {}",
                       previous, header.text_size, kAgain);
    }
    if (!has_unknown) return invalid("tokenizer: no piece is of type unknown (2); {}", kAgain);
    return result;
}

}  // namespace bareflow
