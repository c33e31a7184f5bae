#include "arch/base/char_width.h"

#include <span>

namespace bareflow {
namespace {

struct Range {
    uint32_t first, last;
};

constexpr Range kZeroWidth[] = {
    {0x0300, 0x036F},                                        // combining diacritical marks
    {0x0483, 0x0489},                                        // Cyrillic combining
    {0x0591, 0x05BD},                                        // Hebrew points
    {0x064B, 0x065F},                                        // Arabic marks
    {0x0E31, 0x0E31},                                        // Thai vowels and tones
    {0x0E34, 0x0E3A},   {0x0E47, 0x0E4E}, {0x1AB0, 0x1AFF},  // combining diacritical marks extended
    {0x1DC0, 0x1DFF},                                        // combining diacritical marks supplement
    {0x200B, 0x200F},                                        // zero-width space, joiners, direction marks
    {0x202A, 0x202E},                                        // directional embedding
    {0x2060, 0x2064},                                        // word joiner, invisible operators
    {0x20D0, 0x20FF},                                        // combining marks for symbols
    {0xFE00, 0xFE0F},                                        // variation selectors
    {0xFE20, 0xFE2F},                                        // combining half marks
    {0xFEFF, 0xFEFF},                                        // zero-width no-break space
    {0xE0100, 0xE01EF},                                      // variation selectors supplement
};

constexpr Range kWide[] = {
    {0x1100, 0x115F},    // Hangul Jamo, leading
    {0x2E80, 0x303E},    // CJK radicals, punctuation
    {0x3041, 0x33FF},    // Kana, Bopomofo, CJK compatibility
    {0x3400, 0x4DBF},    // CJK extension A
    {0x4E00, 0x9FFF},    // CJK unified ideographs
    {0xA000, 0xA4CF},    // Yi
    {0xA960, 0xA97F},    // Hangul Jamo extended A
    {0xAC00, 0xD7A3},    // Hangul syllables
    {0xF900, 0xFAFF},    // CJK compatibility ideographs
    {0xFE30, 0xFE6F},    // CJK compatibility forms
    {0xFF00, 0xFF60},    // fullwidth forms
    {0xFFE0, 0xFFE6},    // fullwidth signs
    {0x1F300, 0x1F64F},  // pictographs, emoticons
    {0x1F680, 0x1F6FF},  // transport
    {0x1F900, 0x1F9FF},  // supplemental pictographs
    {0x1FA70, 0x1FAFF},  // pictographs extended
    {0x20000, 0x3FFFD},  // CJK extensions B and later
};

constexpr bool contains(std::span<const Range> ranges, uint32_t code_point) {
    for (const Range& range : ranges) {
        if (code_point < range.first) return false;
        if (code_point <= range.last) return true;
    }
    return false;
}

}  // namespace

uint32_t code_point_of(std::string_view character) {
    auto byte = [&](size_t i) { return uint32_t{static_cast<unsigned char>(character[i])}; };
    if (character.size() <= 1) return character.empty() ? 0 : byte(0);
    // A lead byte of n carries 7 - n bits, each byte after it 6 (Unicode 15, table 3-6).
    uint32_t code_point = byte(0) & (0x7Fu >> character.size());
    for (size_t i = 1; i < character.size(); ++i) code_point = code_point << 6 | (byte(i) & 0x3F);
    return code_point;
}

unsigned columns_of(uint32_t code_point) {
    if (code_point < kZeroWidth[0].first) return 1;
    if (contains(kZeroWidth, code_point)) return 0;
    return contains(kWide, code_point) ? 2 : 1;
}

}  // namespace bareflow
