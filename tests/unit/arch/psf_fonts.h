// Font files for tests, made byte by byte from the formats' descriptions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace bareflow {

inline std::string word(uint32_t value) {
    std::string bytes;
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(value >> shift);
    return bytes;
}

/// A PSF2 file: glyph i is `height` rows that all hold the byte i; `names` is its table, an UTF-8 string a glyph.
inline std::string psf2(const std::vector<std::string>& names, uint32_t height = 16, uint32_t width = 8) {
    const auto count = static_cast<uint32_t>(names.size());
    const uint32_t glyph_bytes = height * ((width + 7) / 8);
    std::string file;
    for (uint32_t value : {0x864AB572u, 0u, 32u, 1u, count, glyph_bytes, height, width}) file += word(value);
    for (uint32_t i = 0; i < count; ++i) file += std::string(glyph_bytes, static_cast<char>(i));
    for (const std::string& name : names) file += name + '\xFF';
    return file;
}

/// A PSF1 file of 256 glyphs; `table` has its UCS-2 words.
inline std::string psf1(uint8_t mode, uint8_t height, const std::vector<uint16_t>& table) {
    std::string file = {'\x36', '\x04', static_cast<char>(mode), static_cast<char>(height)};
    for (int i = 0; i < (mode & 1 ? 512 : 256); ++i) file += std::string(height, static_cast<char>(i));
    for (const uint16_t value : table)
        file += {static_cast<char>(value & 0xFF), static_cast<char>(value >> 8)};
    return file;
}

inline std::vector<uint8_t> bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

}  // namespace bareflow
