#include "arch/x86_64/framebuffer.h"

#include <algorithm>

namespace bareflow {
namespace {

constexpr uint32_t kMostSide = 16384, kMostScale = kMostSide / 2048;
constexpr uint8_t kRed = 1, kGreen = 2, kBlue = 4, kBright = 8;

bool is_sound(ColourField field, uint32_t bits) {
    return field.bits <= 16 && field.position + field.bits <= bits;
}

/// 0, 85, 170 or 255 as in VGA's palette, in as many bits as the field has.
uint32_t field_of(ColourField field, uint8_t colour, uint8_t component) {
    const uint32_t level = (colour & component ? 170u : 0u) + (colour & kBright ? 85u : 0u);
    return (level * 0x101 >> (16 - field.bits)) << field.position;
}

/// The row of a glyph that is not in the font: a box, within its cell.
uint32_t box_row(uint32_t y, uint32_t width, uint32_t height) {
    const uint32_t inner = (1u << (width - 2)) - 1, edges = 1u << (width - 2) | 2u;
    if (y < 2 || y + 3 > height) return 0;
    return y == 2 || y + 3 == height ? inner << 1 & ~1u : edges;
}

/// By words, several a turn: under TCG that is ten times as quick as memset(). Non-temporal stores, since a compiler may make
/// another one of a zero read what it overwrites (`and $0`), and video memory is slow to read.
void blacken(uint8_t* memory, uint64_t bytes) {
    using Word = long long;
    auto* const words = reinterpret_cast<Word*>(memory);
    const uint64_t count = bytes / sizeof(Word);
#pragma GCC unroll 8
    for (uint64_t i = 0; i < count; ++i) __builtin_ia32_movnti64(words + i, 0);
    for (uint64_t i = count * sizeof(Word); i < bytes; ++i) memory[i] = 0;
}

// Code page 437 from 0x80 on (Unicode's mapping table CP437.TXT).
constexpr char16_t kCodePage437[] =
    u"ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµ"
    u"τΦΘΩδ∞φε∩"
    u"≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00A0";
static_assert(std::size(kCodePage437) == 128 + 1);
constexpr uint16_t kFirstTabled = 0x80, kSquare = 0xFE;

}  // namespace

Result<void> FramebufferSurface::check(const BootFramebuffer& layout) {
    const uint32_t bits = layout.bits_per_pixel, pixel_bytes = (bits + 7) / 8;
    if (layout.kind != BootFramebuffer::kDirect || bits < 15 || bits > 32 || !is_sound(layout.red, bits) ||
        !is_sound(layout.green, bits) || !is_sound(layout.blue, bits)) {
        return Error::make(
            ErrorCode::kUnsupported,
            "a framebuffer of kind {} with {} bits a pixel cannot be drawn on; only direct colours "
            "of 15 to 32 bits can",
            static_cast<int>(layout.kind), bits);
    }
    if (layout.width - 1 >= kMostSide || layout.height - 1 >= kMostSide ||
        layout.pitch < layout.width * pixel_bytes || layout.pitch > kMostSide * 4) {
        return Error::make(ErrorCode::kUnsupported,
                           "a framebuffer of {}x{} pixels of {} bits and {} bytes a row is none that can be",
                           layout.width, layout.height, bits, layout.pitch);
    }
    return {};
}

void FramebufferSurface::start(const BootFramebuffer& layout, uint8_t* memory, const PsfFont& font) {
    layout_ = layout;
    pixel_bytes_ = (layout.bits_per_pixel + 7u) / 8;
    memory_ = memory;
    font_ = &font;
    scale_ = (layout.width + 2047) / 2048;
    blacken(memory, layout.bytes());
}

uint32_t FramebufferSurface::pixel_of(uint8_t colour) const {
    return field_of(layout_.red, colour, kRed) | field_of(layout_.green, colour, kGreen) |
           field_of(layout_.blue, colour, kBlue);
}

void FramebufferSurface::draw(uint32_t column, uint32_t row, ScreenCell cell) {
    const uint32_t width = font_->width(), height = font_->height(), ink = pixel_of(cell.ink),
                   paper = pixel_of(cell.paper), row_bytes = (width + 7) / 8;
    const uint8_t* bitmap = cell.glyph < font_->count() ? font_->bitmap(cell.glyph) : nullptr;
    uint8_t* target = memory_ + size_t{row} * height * scale_ * layout_.pitch +
                      size_t{column} * width * scale_ * pixel_bytes_;
    // A pixel is stored as four bytes, of which the next one overwrites what it has no use for.
    uint8_t line[PsfFont::kMostPixels * kMostScale * 4 + 4];
    for (uint32_t y = 0; y < height; ++y) {
        uint32_t pixels = 0;  // the leftmost in bit width - 1
        if (bitmap == nullptr) {
            pixels = box_row(y, width, height);
        } else {
            for (uint32_t i = 0; i < row_bytes; ++i) pixels = pixels << 8 | *bitmap++;
            pixels >>= row_bytes * 8 - width;
        }
        uint8_t* at = line;
        for (uint32_t x = width; x-- > 0;) {
            const uint32_t pixel = pixels >> x & 1 ? ink : paper;
            for (uint32_t i = 0; i < scale_; ++i, at += pixel_bytes_) __builtin_memcpy(at, &pixel, 4);
        }
        for (uint32_t i = 0; i < scale_; ++i, target += layout_.pitch)
            __builtin_memcpy(target, line, static_cast<size_t>(at - line));
    }
}

bool VgaTextSurface::start(uint16_t* memory, uint32_t columns, uint32_t rows) {
    memory_ = memory;
    columns_ = columns;
    rows_ = rows;
    for (uint32_t i = 0; i < columns * rows; ++i) memory_[i] = 0x0720;
    return memory_[0] == 0x0720;  // the one reading: a bus without a VGA gives ones
}

uint16_t VgaTextSurface::glyph_of(uint32_t code_point) const {
    if (code_point < kFirstTabled) return static_cast<uint16_t>(code_point);
    const std::u16string_view table(kCodePage437, 128);
    const size_t found = code_point < 0x10000 ? table.find(static_cast<char16_t>(code_point)) : table.npos;
    return found == table.npos ? kSquare : static_cast<uint16_t>(kFirstTabled + found);
}

void VgaTextSurface::draw(uint32_t column, uint32_t row, ScreenCell cell) {
    // VGA has blue where ECMA-48 has red; a bright paper would blink.
    auto vga = [](uint8_t colour) {
        return (colour & (kGreen | kBright)) | (colour & 1) << 2 | (colour >> 2 & 1);
    };
    memory_[row * columns_ + column] =
        static_cast<uint16_t>(cell.glyph | vga(cell.ink) << 8 | (vga(cell.paper) & 7) << 12);
}

}  // namespace bareflow
