#include "arch/x86_64/psf_font.h"

#include "arch/base/char_width.h"
#include "arch/base/text.h"

namespace bareflow {
namespace {

struct Psf1Header {
    uint16_t magic;
    uint8_t mode, glyph_bytes;
};
constexpr uint16_t kPsf1Magic = 0x0436;
constexpr uint8_t kPsf1Has512 = 1, kPsf1HasTable = 2 | 4;
constexpr uint16_t kPsf1Separator = 0xFFFF, kPsf1Sequence = 0xFFFE;

struct Psf2Header {
    uint32_t magic, version, header_bytes, flags, count, glyph_bytes, height, width;
};
static_assert(sizeof(Psf2Header) == 32);
constexpr uint32_t kPsf2Magic = 0x864AB572, kPsf2HasTable = 1;
constexpr uint8_t kPsf2Separator = 0xFF, kPsf2Sequence = 0xFE;

}  // namespace

Result<void> PsfFont::load(ByteSpan file) {
    PsfFont font;
    ByteReader reader(file);
    Psf2Header header;
    if (const auto old = reader.read<Psf1Header>(); old.magic == kPsf1Magic) {
        header = {.magic = kPsf2Magic,
                  .version = 0,
                  .header_bytes = sizeof old,
                  .flags = (old.mode & kPsf1HasTable) != 0,
                  .count = old.mode & kPsf1Has512 ? 512u : 256u,
                  .glyph_bytes = old.glyph_bytes,
                  .height = old.glyph_bytes,
                  .width = 8};
    } else {
        font.utf8_ = true;
        reader = ByteReader(file);
        header = reader.read<Psf2Header>();
        if (header.magic != kPsf2Magic) return invalid("font: no PSF header at offset 0");
        if (header.version != 0 || header.header_bytes < sizeof header)
            return invalid("font: PSF2 version {} with a header of {} bytes at offset 4 is not known",
                           header.version, header.header_bytes);
        reader = ByteReader(file);
        reader.take(header.header_bytes);
    }
    if (header.width - 1 >= kMostPixels || header.height - 1 >= kMostPixels || header.count - 1 >= kNoGlyph ||
        header.glyph_bytes != header.height * ((header.width + 7) / 8)) {
        return invalid("font: {} glyphs of {}x{} pixels in {} bytes each; at most {}x{} pixels are read",
                       header.count, header.width, header.height, header.glyph_bytes, kMostPixels,
                       kMostPixels);
    }
    font.bitmaps_ = reader.take(uint64_t{header.count} * header.glyph_bytes);
    if (!reader.ok()) return invalid("font: {} bytes are too few for {} glyphs", file.size(), header.count);
    font.count_ = header.count;
    font.width_ = header.width;
    font.height_ = header.height;
    font.glyph_bytes_ = header.glyph_bytes;
    font.has_table_ = header.flags & kPsf2HasTable;
    if (font.has_table_) font.table_ = reader.take(reader.left());
    *this = font;
    return {};
}

/// The next character of the table, kEndOfGlyph, or kNothing.
uint32_t PsfFont::next(ByteReader& reader) const {
    if (!utf8_) {
        uint16_t value = reader.read<uint16_t>();
        if (value == kPsf1Sequence) {
            while (reader.left() >= sizeof value && value != kPsf1Separator) value = reader.read<uint16_t>();
        }
        // An odd byte at the end reads as zero, and ends the table.
        return value == kPsf1Separator ? kEndOfGlyph
               : reader.ok()           ? value
                                       : (reader.take(reader.left()), kNothing);
    }
    uint8_t lead = reader.read<uint8_t>();
    if (lead == kPsf2Sequence) {
        while (reader.left() > 0 && lead != kPsf2Separator) lead = reader.read<uint8_t>();
    }
    if (lead == kPsf2Separator) return kEndOfGlyph;
    const std::string_view rest(reinterpret_cast<const char*>(table_.data()) + reader.position() - 1,
                                reader.left() + 1);
    const int length = utf8_length(rest);
    if (length <= 0) return kNothing;  // no UTF-8: the byte is skipped
    reader.take(static_cast<uint64_t>(length) - 1);
    return code_point_of(rest.substr(0, static_cast<size_t>(length)));
}

uint16_t PsfFont::find(uint32_t code_point) const {
    if (!has_table_) return code_point < count_ ? static_cast<uint16_t>(code_point) : kNoGlyph;
    ByteReader reader(table_);
    for (uint32_t glyph = 0; glyph < count_ && reader.left() > 0;) {
        const uint32_t value = next(reader);
        if (value == code_point) return static_cast<uint16_t>(glyph);
        if (value == kEndOfGlyph) ++glyph;
    }
    return kNoGlyph;
}

}  // namespace bareflow
