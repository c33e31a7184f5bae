// Console fonts: PC Screen Font 1 and 2, as the Linux console reads them (the kbd package's psfgettable.c and its PSF notes).
#pragma once

#include <cstdint>

#include "arch/base/bytes.h"
#include "arch/base/result.h"

namespace bareflow {

/// A font over the bytes of its file, which must outlive it.
class PsfFont {
 public:
    static constexpr uint16_t kNoGlyph = 0xFFFF;
    static constexpr uint32_t kMostPixels = 32;  ///< of a glyph's width, and of its height

    /// Takes a font file. kInvalid says what breaks the format, and where; the font is then as it was.
    Result<void> load(ByteSpan file);

    bool loaded() const { return count_ > 0; }
    uint32_t width() const { return width_; }
    uint32_t height() const { return height_; }
    uint32_t count() const { return count_; }
    /// height() rows of (width() + 7) / 8 bytes, the leftmost pixel in the highest bit. `glyph` must be below count().
    const uint8_t* bitmap(uint16_t glyph) const { return bitmaps_.data() + size_t{glyph} * glyph_bytes_; }
    uint32_t glyph_bytes() const { return glyph_bytes_; }
    /// The glyph of a character, or kNoGlyph; the earlier it stands in the table, the quicker. Without a Unicode table the first
    /// glyph is that of U+0000, and so on.
    uint16_t find(uint32_t code_point) const;

    /// Calls entry(glyph, code_point) for each character of the Unicode table; sequences of characters that make one glyph
    /// are left out.
    template <typename Entry>
    void each(Entry&& entry) const {
        ByteReader reader(table_);
        for (uint32_t glyph = 0; glyph < count_ && reader.left() > 0;) {
            const uint32_t value = next(reader);
            if (value == kEndOfGlyph) {
                ++glyph;
            } else if (value != kNothing) {
                entry(static_cast<uint16_t>(glyph), value);
            }
        }
    }

 private:
    static constexpr uint32_t kEndOfGlyph = 0xFFFF'FFFF, kNothing = 0xFFFF'FFFE;

    uint32_t next(ByteReader& reader) const;

    ByteSpan bitmaps_, table_;
    uint32_t count_ = 0, width_ = 0, height_ = 0, glyph_bytes_ = 0;
    bool utf8_ = false, has_table_ = false;  ///< PSF2's table is UTF-8, PSF1's UCS-2
};

}  // namespace bareflow
