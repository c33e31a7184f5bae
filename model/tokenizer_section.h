// The tokenizer section of a .wllm, checked: typed views of its arrays where they lie.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "arch/base/bytes.h"
#include "arch/base/result.h"
#include "model/wllm.h"

namespace bareflow {

struct TokenizerSection {
    std::span<const float> scores;           // (count), finite
    std::span<const uint32_t> ends;          // (count), ascending; the last is text.size()
    std::span<const wllm::PieceType> types;  // (count), each one that there is
    std::string_view text;                   ///< all pieces, one after another; each well-formed UTF-8
    bool add_dummy_prefix = true;
    bool add_bos = true;  ///< a text begins with BOS

    uint32_t count() const { return static_cast<uint32_t>(ends.size()); }
    std::string_view piece(uint32_t token) const {
        const uint32_t begin = token == 0 ? 0 : ends[token - 1];
        return text.substr(begin, ends[token] - begin);
    }
};

/// The byte that a piece of type kByte stands for: "<0x41>" is 0x41. -1 if the piece is not written so.
int byte_of_piece(std::string_view piece);

/// Whether `text` is well-formed UTF-8 throughout.
bool is_utf8(std::string_view text);

/// Checks `section` (4-byte aligned, alive as long as what is returned); errors name the offset within the section.
Result<TokenizerSection> read_tokenizer_section(ByteSpan section);

}  // namespace bareflow
