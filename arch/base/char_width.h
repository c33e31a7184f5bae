// How many columns of a terminal a character takes: an approximation of Unicode's East Asian Width (UAX 11), by blocks.
#pragma once

#include <cstdint>
#include <string_view>

namespace bareflow {

/// The code point that the well-formed UTF-8 sequence `character` encodes.
uint32_t code_point_of(std::string_view character);

/// 0 for combining marks, joiners and variation selectors, 2 for the blocks of CJK, Hangul, fullwidth forms and emoji,
/// 1 for all else. Sequences that a terminal may join into one glyph (flags, families) count by their parts.
unsigned columns_of(uint32_t code_point);

/// C0 and C1 controls and DEL: never put on a screen as they are.
constexpr bool is_control(uint32_t code_point) {
    return code_point < 0x20 || (code_point >= 0x7F && code_point < 0xA0);
}

}  // namespace bareflow
