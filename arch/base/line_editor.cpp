#include "arch/base/line_editor.h"

#include "arch/base/char_width.h"
#include "arch/base/text.h"

namespace bareflow {
namespace {

// ECMA-48 8.3: CUU, CUD, CUF, CUB, ED, EL, CUP.
constexpr char kUp = 'A', kDown = 'B', kForward = 'C', kBack = 'D';
constexpr std::string_view kEraseBelow = "\x1b[J", kEraseRow = "\x1b[K", kHomeAndErase = "\x1b[H\x1b[J";

constexpr uint32_t kFewestColumns = 8;  // room for a prompt and a wide character, whatever a terminal says

}  // namespace

Result<LineEditor> LineEditor::make(Terminal& terminal, Allocator& allocator) {
    LineEditor editor;
    editor.terminal_ = &terminal;
    editor.history_ = TRY(LineHistory::make(allocator));
    editor.line_ = TRY(Buffer<char>::make(allocator, kMaxLine, "line editor"));
    editor.draft_ = TRY(Buffer<char>::make(allocator, kMaxLine, "line editor"));
    return editor;
}

void LineEditor::start(std::string_view prompt) {
    columns_ = terminal_->columns() < kFewestColumns ? kFewestColumns : terminal_->columns();
    prompt_ = prompt;
    size_ = draft_size_ = cursor_ = history_age_ = 0;
    terminal_->write(prompt_);
    place_ = {0, static_cast<uint32_t>(prompt_.size())};
}

LineEditor::Event LineEditor::feed(uint8_t byte) { return apply(keys_.feed(byte)); }

LineEditor::Event LineEditor::apply(const Key& key) {
    switch (key.kind) {
        case KeyKind::kNone:
            break;
        case KeyKind::kText:
            insert(key.text);
            break;
        case KeyKind::kBad:
            bell();
            break;
        case KeyKind::kEnter:
            history_.add(line());
            return finish(Event::kLine, "\n");
        case KeyKind::kCancel:
            return finish(Event::kCancelled, "^C\n");
        case KeyKind::kEndOfInput:
            if (size_ == 0) return finish(Event::kEndOfInput, "\n");
            [[fallthrough]];
        case KeyKind::kDelete:
            erase(cursor_, cell_at(cursor_).end);
            break;
        case KeyKind::kBackspace:
            erase(cell_before(cursor_), cursor_);
            break;
        case KeyKind::kLeft:
            go_to(cell_before(cursor_));
            break;
        case KeyKind::kRight:
            go_to(cell_at(cursor_).end);
            break;
        case KeyKind::kWordLeft:
            go_to(word_left());
            break;
        case KeyKind::kWordRight:
            go_to(word_right());
            break;
        case KeyKind::kHome:
            go_to(0);
            break;
        case KeyKind::kEnd:
            go_to(size_);
            break;
        case KeyKind::kUp:
            older();
            break;
        case KeyKind::kDown:
            newer();
            break;
        case KeyKind::kEraseToEnd:
            erase(cursor_, size_);
            break;
        case KeyKind::kEraseToStart:
            erase(0, cursor_);
            break;
        case KeyKind::kEraseWordLeft:
            erase(word_left(), cursor_);
            break;
        case KeyKind::kEraseWordRight:
            erase(cursor_, word_right());
            break;
        case KeyKind::kClearScreen:
            clear_screen();
            break;
    }
    return Event::kNone;
}

LineEditor::Event LineEditor::finish(Event event, std::string_view mark) {
    go_to(size_);
    // A line that just filled its row has the cursor on a fresh one already.
    const bool on_fresh_row = place_.row > 0 && place_.column == 0;
    if (!(on_fresh_row && mark == "\n")) terminal_->write(mark);
    return event;
}

LineEditor::Cell LineEditor::cell_at(size_t offset) const {
    Cell cell{offset, 0};
    while (cell.end < size_) {
        std::string_view rest = line().substr(cell.end);
        const size_t length = static_cast<size_t>(utf8_length(rest));
        const unsigned columns = columns_of(code_point_of(rest.substr(0, length)));
        if (cell.end > offset && columns > 0) break;
        cell.end += length;
        cell.columns += columns;
    }
    return cell;
}

size_t LineEditor::cell_before(size_t offset) const {
    for (size_t begin = offset; begin > 0;) {
        --begin;
        const int length = utf8_length(line().substr(begin, offset - begin));
        if (length <= 0) continue;  // within a character
        if (begin == 0 || columns_of(code_point_of(line().substr(begin, static_cast<size_t>(length)))) > 0)
            return begin;
    }
    return 0;
}

size_t LineEditor::word_left() const {
    size_t offset = cursor_;
    while (offset > 0 && line_[offset - 1] == ' ') --offset;
    while (offset > 0 && line_[offset - 1] != ' ') --offset;
    return offset;
}

size_t LineEditor::word_right() const {
    size_t offset = cursor_;
    while (offset < size_ && line_[offset] == ' ') ++offset;
    while (offset < size_ && line_[offset] != ' ') ++offset;
    return offset;
}

void LineEditor::insert(std::string_view character) {
    if (character.size() > kMaxLine - size_) return bell();
    // A zero-width character changes the cell before the cursor.
    const bool joins = columns_of(code_point_of(character)) == 0;
    const size_t changed = joins ? cell_before(cursor_) : cursor_;
    __builtin_memmove(line_.data() + cursor_ + character.size(), line_.data() + cursor_, size_ - cursor_);
    __builtin_memcpy(line_.data() + cursor_, character.data(), character.size());
    size_ += character.size();
    cursor_ += character.size();
    draw_from(changed, false);
}

void LineEditor::erase(size_t begin, size_t end) {
    if (begin == end) return;
    __builtin_memmove(line_.data() + begin, line_.data() + end, size_ - end);
    size_ -= end - begin;
    cursor_ = begin;
    draw_from(begin, true);
}

void LineEditor::replace(std::string_view text) {
    __builtin_memmove(line_.data(), text.data(), text.size());
    size_ = cursor_ = text.size();
    draw_from(0, true);
}

void LineEditor::go_to(size_t offset) {
    cursor_ = offset;
    move_to(place_of(offset));
}

void LineEditor::older() {
    if (history_age_ == history_.count()) return bell();
    if (history_age_ == 0) {
        __builtin_memcpy(draft_.data(), line_.data(), size_);
        draft_size_ = size_;
    }
    ++history_age_;
    replace(history_.line(history_age_ - 1));
}

void LineEditor::newer() {
    if (history_age_ == 0) return bell();
    --history_age_;
    replace(history_age_ == 0 ? std::string_view(draft_.data(), draft_size_)
                              : history_.line(history_age_ - 1));
}

void LineEditor::clear_screen() {
    terminal_->write(kHomeAndErase);
    terminal_->write(prompt_);
    place_ = {0, static_cast<uint32_t>(prompt_.size())};
    draw_from(0, false);
}

LineEditor::Place LineEditor::after(Place place, unsigned columns) const {
    if (place.column + columns > columns_) place = {place.row + 1, 0};
    place.column += columns;
    if (place.column == columns_) place = {place.row + 1, 0};
    return place;
}

LineEditor::Place LineEditor::place_of(size_t offset) const {
    Place place{0, static_cast<uint32_t>(prompt_.size())};
    for (size_t at = 0; at < offset;) {
        const Cell cell = cell_at(at);
        place = after(place, cell.columns);
        at = cell.end;
    }
    return place;
}

void LineEditor::move_to(Place target) {
    auto move = [&](uint32_t count, char direction) {
        if (count > 0) terminal_->write(FixedString<16>::formatted("\x1b[{}{}", count, direction));
    };
    if (target.row < place_.row) move(place_.row - target.row, kUp);
    if (target.row > place_.row) move(target.row - place_.row, kDown);
    if (target.column == 0 && place_.column != 0) {
        terminal_->write("\r");
    } else if (target.column < place_.column) {
        move(place_.column - target.column, kBack);
    } else {
        move(target.column - place_.column, kForward);
    }
    place_ = target;
}

void LineEditor::draw_from(size_t offset, bool erase_rest) {
    move_to(place_of(offset));
    write_cells(offset);
    if (erase_rest) terminal_->write(kEraseBelow);
    move_to(place_of(cursor_));
}

void LineEditor::write_cells(size_t offset) {
    while (offset < size_) {
        const Cell cell = cell_at(offset);
        const Place next = after(place_, cell.columns);
        const bool does_not_fit = place_.column + cell.columns > columns_;
        if (does_not_fit) {  // a wide character in the last column
            terminal_->write(kEraseRow);
            terminal_->write("\n");
        }
        terminal_->write(line().substr(offset, cell.end - offset));
        const bool fills_the_row = next.column == 0 && cell.columns > 0;
        if (fills_the_row) terminal_->write("\n");
        place_ = next;
        offset = cell.end;
    }
}

}  // namespace bareflow
