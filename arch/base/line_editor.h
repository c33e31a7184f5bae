// A line editor for a terminal: a state machine fed byte by byte. It writes to the terminal and never reads from it.
//
// The cursor is moved relatively, and the line is wrapped by the editor itself at Terminal::columns(): right on every
// screen that is at least that wide. A line that needs more rows than the screen has is edited rightly, but what has
// scrolled off the top is not drawn again.
#pragma once

#include <string_view>

#include "arch/base/allocator.h"
#include "arch/base/key_decoder.h"
#include "arch/base/line_history.h"
#include "arch/base/result.h"
#include "arch/base/terminal.h"

namespace bareflow {

class LineEditor {
 public:
    enum class Event : uint8_t {
        kNone,
        kLine,        ///< Enter: line() is complete
        kCancelled,   ///< Ctrl-C: the line was given up
        kEndOfInput,  ///< Ctrl-D on an empty line
    };
    static constexpr size_t kMaxLine = 4096;  ///< bytes; what does not fit rings the bell

    /// `terminal` must outlive the editor.
    static Result<LineEditor> make(Terminal& terminal, Allocator& allocator);

    /// Begins a new line after `prompt` (printable, shorter than a row; kept as a view). The cursor must stand at the
    /// start of a row.
    void start(std::string_view prompt);
    /// Takes one byte from the terminal. After any event but kNone the cursor stands at the start of a fresh row, and
    /// start() begins the next line.
    Event feed(uint8_t byte);
    /// The line so far: well-formed UTF-8 without controls. Valid until the next start().
    std::string_view line() const { return {line_.data(), size_}; }

 private:
    struct Place {
        uint32_t row = 0, column = 0;  ///< row 0 is that of the prompt
        bool operator==(const Place&) const = default;
    };
    struct Cell {
        size_t end;        ///< offset of the byte after it
        unsigned columns;  ///< how wide it is
    };

    Event apply(const Key& key);
    Event finish(Event event, std::string_view mark);

    // A cell is a character with the zero-width ones after it: what the cursor steps over.
    Cell cell_at(size_t offset) const;
    size_t cell_before(size_t offset) const;
    size_t word_left() const;
    size_t word_right() const;

    void insert(std::string_view character);
    void erase(size_t begin, size_t end);
    void replace(std::string_view text);
    void go_to(size_t offset);
    void older();
    void newer();
    void clear_screen();

    Place after(Place place, unsigned columns) const;
    Place place_of(size_t offset) const;
    void move_to(Place target);
    /// Draws the line from `offset` on and leaves the cursor at cursor_; what was drawn further on is erased if asked.
    void draw_from(size_t offset, bool erase_rest);
    void write_cells(size_t offset);
    void bell() { terminal_->write("\a"); }

    Terminal* terminal_ = nullptr;
    KeyDecoder keys_;
    LineHistory history_;
    size_t history_age_ = 0;  ///< 0: the new line; n: a copy of history line n - 1
    Buffer<char> line_;       // (kMaxLine)
    Buffer<char> draft_;      // (kMaxLine): the new line, while history is looked at
    size_t size_ = 0, draft_size_ = 0;
    size_t cursor_ = 0;  ///< offset in the line
    std::string_view prompt_;
    uint32_t columns_ = 0;
    Place place_;  ///< where the terminal's cursor is
};

}  // namespace bareflow
