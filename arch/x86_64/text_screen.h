// A terminal on a grid of cells: UTF-8 and the control sequences that the chat writes (ECMA-48), drawn on a surface that is
// written to and never read.
#pragma once

#include <cstdint>
#include <string_view>

#include "arch/base/allocator.h"
#include "arch/base/format.h"

namespace bareflow {

/// What one place of the screen shows.
struct ScreenCell {
    uint16_t glyph;
    uint8_t ink, paper;  ///< ECMA-48 8.3.117: bit 0 red, 1 green, 2 blue; 3 bright

    bool operator==(const ScreenCell&) const = default;
};

/// Where cells are drawn.
class ScreenSurface {
 public:
    virtual uint32_t columns() const = 0;
    virtual uint32_t rows() const = 0;
    /// What draws a character; a box where there is nothing for it.
    virtual uint16_t glyph_of(uint32_t code_point) const = 0;
    virtual void draw(uint32_t column, uint32_t row, ScreenCell cell) = 0;

 protected:
    ~ScreenSurface() = default;
};

/// The screen wraps late, as terminals do: a row that is full stays the cursor's until the next character.
///
/// What is written changes cells in memory; then, once for the whole text, the cells that differ from what is shown are
/// drawn. Combining marks take no cell and are left out; of a wide character the second cell is blank.
class TextScreen {
 public:
    /// On `surface`, which must be all blank and outlive the screen.
    Result<void> start(ScreenSurface& surface, Allocator& allocator);
    bool started() const { return surface_ != nullptr; }
    uint32_t columns() const { return columns_; }
    uint32_t rows() const { return rows_; }
    /// Before start() nothing happens. A text may end within a character or sequence, and the next one go on with it.
    void write(std::string_view text);

 private:
    enum class State : uint8_t { kGround, kEscape, kSequence };
    static constexpr int kMostParameters = 8;
    static constexpr uint32_t kLargestParameter = 9999;

    void take(uint8_t byte);
    void character(uint8_t byte);
    void sequence(uint8_t byte);
    void run_sequence(uint8_t final);
    void set_graphics();
    void put(uint32_t code_point);
    void move(uint32_t row, uint32_t column);
    void next_row();
    void erase(uint32_t from, uint32_t to);  ///< cells, counted along the rows
    void show();

    ScreenCell* row_cells(uint32_t row) const { return cells_.data() + (top_ + row) % rows_ * columns_; }
    ScreenCell blank() const;

    ScreenSurface* surface_ = nullptr;
    uint32_t columns_ = 0, rows_ = 0;
    Buffer<ScreenCell> cells_;  // (rows, columns), the first row at top_
    Buffer<ScreenCell> shown_;  // (rows, columns)
    uint32_t top_ = 0;
    uint32_t first_changed_ = 0, last_changed_ = 0;  ///< rows
    uint32_t row_ = 0, column_ = 0;
    bool wraps_ = false;  ///< the row is full: the next character begins another
    uint8_t ink_ = 0, paper_ = 0;
    bool bold_ = false, inverse_ = false;

    State state_ = State::kGround;
    FixedString<4> partial_;  ///< the beginning of a character
    bool private_ = false;    ///< the sequence is none of those known here
    int parameter_ = 0;
    uint32_t parameters_[kMostParameters] = {};
};

}  // namespace bareflow
