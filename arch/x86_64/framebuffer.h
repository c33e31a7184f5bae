// What text is drawn on: a linear framebuffer of direct colours, or VGA text mode (Multiboot2 3.6.12).
#pragma once

#include <cstdint>

#include "arch/x86_64/psf_font.h"
#include "arch/x86_64/text_screen.h"

namespace bareflow {

/// One colour within a pixel.
struct ColourField {
    uint8_t position, bits;
};

/// A screen as the boot loader left it.
struct BootFramebuffer {
    enum Kind : uint8_t { kPalette = 0, kDirect = 1, kText = 2, kNone = 255 };

    uint64_t address = 0;            ///< physical
    uint32_t pitch = 0;              ///< bytes from row to row
    uint32_t width = 0, height = 0;  ///< pixels; of kText, characters
    uint8_t bits_per_pixel = 0;
    Kind kind = kNone;
    ColourField red{}, green{}, blue{};  ///< of kDirect

    uint64_t bytes() const { return uint64_t{pitch} * height; }
};

/// Pixels of 15, 16, 24 or 32 bits. Each pixel of the font is `scale` pixels wide and high.
class FramebufferSurface final : public ScreenSurface {
 public:
    /// kUnsupported for a layout that is none of these, or contradicts itself.
    static Result<void> check(const BootFramebuffer& layout);
    /// Draws at `memory`, layout.bytes() of it, with a loaded font; both must outlive this. The layout must have been checked.
    /// The memory is made black.
    void start(const BootFramebuffer& layout, uint8_t* memory, const PsfFont& font);
    /// The pixels that a pixel of the font takes: 2 and more from 2048 columns of pixels on.
    uint32_t scale() const { return scale_; }

    uint32_t columns() const override { return layout_.width / (font_->width() * scale_); }
    uint32_t rows() const override { return layout_.height / (font_->height() * scale_); }
    uint16_t glyph_of(uint32_t code_point) const override { return font_->find(code_point); }
    void draw(uint32_t column, uint32_t row, ScreenCell cell) override;

 private:
    uint32_t pixel_of(uint8_t colour) const;

    BootFramebuffer layout_;
    uint8_t* memory_ = nullptr;
    const PsfFont* font_ = nullptr;
    uint32_t pixel_bytes_ = 0, scale_ = 1;
};

/// VGA text mode: a character of code page 437 and its colours in two bytes a place.
class VgaTextSurface final : public ScreenSurface {
 public:
    static constexpr uint64_t kAddress = 0xB8000;
    /// False if nothing answers at `memory`, columns * rows places. The screen is made blank.
    bool start(uint16_t* memory, uint32_t columns, uint32_t rows);

    uint32_t columns() const override { return columns_; }
    uint32_t rows() const override { return rows_; }
    uint16_t glyph_of(uint32_t code_point) const override;
    void draw(uint32_t column, uint32_t row, ScreenCell cell) override;

 private:
    volatile uint16_t* memory_ = nullptr;
    uint32_t columns_ = 0, rows_ = 0;
};

}  // namespace bareflow
