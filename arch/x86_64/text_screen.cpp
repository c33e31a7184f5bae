#include "arch/x86_64/text_screen.h"

#include <algorithm>

#include "arch/base/char_width.h"
#include "arch/base/text.h"

namespace bareflow {
namespace {

constexpr uint8_t kEscapeByte = 0x1B, kInk = 7, kPaper = 0, kBright = 8;
constexpr uint32_t kTab = 8, kReplacement = 0xFFFD;

}  // namespace

Result<void> TextScreen::start(ScreenSurface& surface, Allocator& allocator) {
    columns_ = surface.columns();
    rows_ = surface.rows();
    if (columns_ < 2 || rows_ == 0)
        return invalid("a screen of {}x{} characters is too small", columns_, rows_);
    cells_ = TRY(Buffer<ScreenCell>::make(allocator, size_t{columns_} * rows_, "screen"));
    shown_ = TRY(Buffer<ScreenCell>::make(allocator, size_t{columns_} * rows_, "screen"));
    parameters_[0] = 0;
    parameter_ = 0;
    surface_ = &surface;
    set_graphics();
    std::fill(cells_.begin(), cells_.end(), blank());
    std::copy(cells_.begin(), cells_.end(), shown_.begin());
    return {};
}

void TextScreen::write(std::string_view text) {
    if (!started() || text.empty()) return;
    // A report of a fault may come while a text is being written.
    row_ = std::min(row_, rows_ - 1);
    column_ = std::min(column_, columns_ - 1);
    first_changed_ = last_changed_ = row_;
    for (const char c : text) take(static_cast<uint8_t>(c));
    show();
}

void TextScreen::take(uint8_t byte) {
    if (byte < ' ' && !partial_.empty()) {
        partial_.clear();
        put(kReplacement);
    }
    if (byte == kEscapeByte) {
        state_ = State::kEscape;
        return;
    }
    if (state_ == State::kSequence) return sequence(byte);
    if (state_ == State::kEscape) {
        state_ = byte == '[' ? State::kSequence : State::kGround;
        private_ = false;
        parameter_ = 0;
        for (uint32_t& parameter : parameters_) parameter = 0;
        return;
    }
    switch (byte) {
        case '\n':
            next_row();
            [[fallthrough]];
        case '\r':
            return move(row_, 0);
        case '\b':
            return move(row_, column_ - (column_ > 0));
        case '\t':
            return move(row_, std::min(column_ / kTab * kTab + kTab, columns_ - 1));
        default:
            return character(byte);
    }
}

void TextScreen::character(uint8_t byte) {
    const bool first = partial_.empty();
    const char c = static_cast<char>(byte);
    partial_.append({&c, 1});
    const int length = utf8_length(partial_);
    if (length < 0) return;
    const uint32_t code_point = length > 0 ? code_point_of(partial_) : kReplacement;
    partial_.clear();
    if (!is_control(code_point)) put(code_point);
    if (length == 0 && !first) take(byte);  // what broke a character may begin another
}

void TextScreen::put(uint32_t code_point) {
    const unsigned width = columns_of(code_point);
    if (width == 0) return;
    if (wraps_ || column_ + width > columns_) {
        next_row();
        move(row_, 0);
    }
    ScreenCell* cells = row_cells(row_) + column_;
    cells[0] = blank();
    cells[width - 1] = cells[0];
    cells[0].glyph = surface_->glyph_of(code_point);
    last_changed_ = std::max(last_changed_, row_);
    wraps_ = column_ + width >= columns_;
    column_ = std::min(column_ + width, columns_ - 1);
}

void TextScreen::move(uint32_t row, uint32_t column) {
    wraps_ = false;
    row_ = row;
    column_ = column;
    first_changed_ = std::min(first_changed_, row);
    last_changed_ = std::max(last_changed_, row);
}

void TextScreen::next_row() {
    if (row_ + 1 < rows_) return move(row_ + 1, column_);
    top_ = (top_ + 1) % rows_;
    first_changed_ = 0;
    std::fill_n(row_cells(row_), columns_, blank());
}

void TextScreen::erase(uint32_t from, uint32_t to) {
    const ScreenCell cell = blank();
    for (uint32_t at = from; at < to; ++at) row_cells(at / columns_)[at % columns_] = cell;
    move(row_, column_);
    first_changed_ = std::min(first_changed_, from / columns_);
    last_changed_ = std::max(last_changed_, std::min(to / columns_, rows_ - 1));
}

void TextScreen::sequence(uint8_t byte) {
    constexpr uint8_t kFirstFinal = 0x40, kLastFinal = 0x7E;  // ECMA-48 5.4
    if (byte >= '0' && byte <= '9') {
        uint32_t& parameter = parameters_[parameter_];
        if (parameter < kLargestParameter) parameter = parameter * 10 + (byte - '0');
    } else if (byte == ';') {
        if (parameter_ < kMostParameters - 1) ++parameter_;
    } else if (byte >= kFirstFinal && byte <= kLastFinal) {
        state_ = State::kGround;
        if (!private_) run_sequence(byte);
    } else if (byte < ' ') {  // a control ends a broken sequence and counts
        state_ = State::kGround;
        take(byte);
    } else {
        private_ = true;
    }
}

/// ECMA-48 8.3: CUU, CUD, CUF, CUB, CUP, ED, EL, SGR. Others are left out.
void TextScreen::run_sequence(uint8_t final) {
    const uint32_t count = std::max(parameters_[0], 1u);
    const uint32_t cursor = row_ * columns_ + column_, row_start = row_ * columns_;
    switch (final) {
        case 'A':
            return move(row_ - std::min(row_, count), column_);
        case 'B':
            return move(std::min(row_ + count, rows_ - 1), column_);
        case 'C':
            return move(row_, std::min(column_ + count, columns_ - 1));
        case 'D':
            return move(row_, column_ - std::min(column_, count));
        case 'H':
            return move(std::min(count, rows_) - 1, std::min(std::max(parameters_[1], 1u), columns_) - 1);
        case 'J':
            return erase(parameters_[0] == 0 ? cursor : 0,
                         parameters_[0] == 1 ? cursor + 1 : columns_ * rows_);
        case 'K':
            return erase(parameters_[0] == 0 ? cursor : row_start,
                         parameters_[0] == 1 ? cursor + 1 : row_start + columns_);
        case 'm':
            return set_graphics();
    }
}

void TextScreen::set_graphics() {
    for (int i = 0; i <= parameter_; ++i) {
        const uint32_t value = parameters_[i], colour = value % 10;
        if (value == 0) {
            ink_ = kInk;
            paper_ = kPaper;
            bold_ = inverse_ = false;
        } else if (value == 1 || value == 22) {
            bold_ = value == 1;
        } else if (value == 7 || value == 27) {
            inverse_ = value == 7;
        } else if (value / 10 == 3 && colour != 8) {
            ink_ = static_cast<uint8_t>(colour == 9 ? kInk : colour);
        } else if (value / 10 == 4 && colour != 8) {
            paper_ = static_cast<uint8_t>(colour == 9 ? kPaper : colour);
        } else if (value / 10 == 9 && colour < 8) {
            ink_ = static_cast<uint8_t>(colour | kBright);
        }
    }
}

ScreenCell TextScreen::blank() const {
    const auto ink = static_cast<uint8_t>(bold_ ? ink_ | kBright : ink_);
    return {surface_->glyph_of(' '), inverse_ ? paper_ : ink, inverse_ ? ink : paper_};
}

/// Draws what differs from what is shown. The cursor is the cell where the next character comes, in exchanged colours.
void TextScreen::show() {
    for (uint32_t row = first_changed_; row <= last_changed_; ++row) {
        const ScreenCell* cells = row_cells(row);
        ScreenCell* shown = shown_.data() + size_t{row} * columns_;
        for (uint32_t column = 0; column < columns_; ++column) {
            ScreenCell cell = cells[column];
            if (row == row_ && column == column_) std::swap(cell.ink, cell.paper);
            if (cell == shown[column]) continue;
            shown[column] = cell;
            surface_->draw(column, row, cell);
        }
    }
}

}  // namespace bareflow
