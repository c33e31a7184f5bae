#include "model/tokenizer.h"

#include <bit>

namespace bareflow {
namespace {

using wllm::PieceType;

constexpr uint32_t kBytes = 256;

/// Every byte value in order, so that a byte token's text is a view of one of them.
struct ByteTable {
    char bytes[kBytes];
    constexpr ByteTable() : bytes{} {
        for (uint32_t i = 0; i < kBytes; ++i) bytes[i] = static_cast<char>(i);
    }
};
constexpr ByteTable kByteTable;

/// FNV-1a, 64 bits (Fowler, Noll, Vo; IETF draft-eastlake-fnv), folded to 32.
uint32_t hash_of(std::string_view text) {
    constexpr uint64_t kOffsetBasis = 0xCBF29CE484222325, kPrime = 0x100000001B3;
    uint64_t hash = kOffsetBasis;
    for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * kPrime;
    return static_cast<uint32_t>(hash ^ (hash >> 32));
}

/// Whether a piece of this type may be found in text (SentencePiece's model_interface: pieces_, not reserved_id_map_).
bool stands_for_text(PieceType type) {
    return type == PieceType::kNormal || type == PieceType::kUserDefined || type == PieceType::kUnused;
}

}  // namespace

Result<Tokenizer> Tokenizer::make(ByteSpan section, Allocator& allocator) {
    Tokenizer tokenizer;
    tokenizer.allocator_ = &allocator;
    tokenizer.section_ = TRY(read_tokenizer_section(section));
    TRY(tokenizer.index_pieces(allocator));
    return tokenizer;
}

Result<void> Tokenizer::index_pieces(Allocator& allocator) {
    const size_t slots = std::bit_ceil(size_t{size()} * 2);
    index_ = TRY(Buffer<uint32_t>::make(allocator, slots, "tokenizer: index of pieces"));
    uint32_t bytes_found = 0;
    // From the last piece to the first: of two alike, the lower id is found.
    for (uint32_t token = size(); token-- > 0;) {
        const std::string_view text = name(token);
        const PieceType type = section_.types[token];
        if (type == PieceType::kUnknown) unknown_ = token;
        if (type == PieceType::kByte) {
            uint32_t& slot = byte_tokens_[byte_of_piece(text)];
            bytes_found += slot == 0;
            slot = token;
        }
        if (type == PieceType::kUnused) has_unused_ = true;
        if (type == PieceType::kUserDefined && text.size() > longest_user_defined_) {
            longest_user_defined_ = text.size();
        }
        if (!stands_for_text(type) || text.empty()) continue;
        size_t slot = hash_of(text) & (slots - 1);
        while (index_[slot] != 0 && name(index_[slot] - 1) != text) slot = (slot + 1) & (slots - 1);
        index_[slot] = token + 1;
    }
    has_bytes_ = bytes_found == kBytes;
    return {};
}

uint32_t Tokenizer::find(std::string_view text) const {
    const size_t mask = index_.size() - 1;
    for (size_t slot = hash_of(text) & mask; index_[slot] != 0; slot = (slot + 1) & mask) {
        const uint32_t token = index_[slot] - 1;
        if (name(token) == text) return token;
    }
    return kNone;
}

bool Tokenizer::is_mark(uint32_t token) const {
    const std::string_view text = name(token);
    return type(token) == PieceType::kUserDefined &&
           ((text.starts_with('<') && text.ends_with('>')) || (text.starts_with('[') && text.ends_with(']')));
}

uint32_t Tokenizer::special(std::string_view wanted) const {
    for (uint32_t token = 0; token < size(); ++token) {
        const bool can_be = type(token) == PieceType::kControl || type(token) == PieceType::kUserDefined;
        if (can_be && name(token) == wanted) return token;
    }
    return kNone;
}

std::string_view Tokenizer::piece(uint32_t token) const {
    switch (type(token)) {
        case PieceType::kUnknown:
        case PieceType::kControl:
            return {};
        case PieceType::kByte:
            return {kByteTable.bytes + byte_of_piece(name(token)), 1};
        default:
            return name(token);
    }
}

}  // namespace bareflow
