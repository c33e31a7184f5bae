// A terminal for tests: a small xterm of its own making, with the delayed wrap that real ones have.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "arch/base/terminal.h"

namespace bareflow {

class FakeScreen : public Terminal {
 public:
    /// `width` real columns; the screen says that it has `said` (0: the same).
    explicit FakeScreen(uint32_t width = 80, uint32_t said = 0)
        : width_(width), said_(said == 0 ? width : said) {
        rows_.emplace_back(width_);
    }

    void write(std::string_view text) override {
        written += text;
        for (size_t i = 0; i < text.size();) i += take(text.substr(i));
    }
    int read() override { return kNone; }
    int poll() override { return kNone; }
    bool interactive() const override { return true; }
    uint32_t columns() override { return said_; }

    /// The rows joined by newlines, trailing blanks cut, rows below the last written one left out.
    std::string text() const {
        std::string all;
        for (const auto& row : rows_) {
            std::string line;
            for (const std::string& cell : row) line += cell;
            all += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
        }
        return all.substr(0, all.find_last_not_of('\n') + 1);
    }
    size_t row() const { return row_; }
    size_t column() const { return column_; }

    std::string written;
    int bells = 0;

 private:
    // Widths of the few characters that the tests use, written down here and not taken from the code under test.
    static size_t width_of(std::string_view character) {
        for (std::string_view wide : {"世", "界", "中", "😀"}) {
            if (character == wide) return 2;
        }
        return character == "\u0301" || character == "\u200D" ? 0 : 1;
    }

    size_t take(std::string_view text) {
        const auto byte = static_cast<unsigned char>(text[0]);
        if (byte == 0x1B) return escape(text);
        if (byte == '\n') {
            column_ = 0;
            move_row(row_ + 1);
            return 1;
        }
        if (byte == '\r') {
            column_ = 0;
            pending_wrap_ = false;
            return 1;
        }
        if (byte == '\a') {
            ++bells;
            return 1;
        }
        EXPECT_GE(byte, 0x20) << "control written to the screen";
        size_t length = byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
        put(std::string(text.substr(0, length)));
        return length;
    }

    void put(const std::string& character) {
        const size_t width = width_of(character);
        if (width == 0) {
            size_t at = pending_wrap_ ? column_ : column_ - 1;
            while (at > 0 && rows_[row_][at].empty()) --at;
            rows_[row_][at] += character;
            return;
        }
        if (pending_wrap_ || column_ + width > width_) {
            ADD_FAILURE() << "the terminal had to wrap by itself";
            column_ = 0;
            move_row(row_ + 1);
        }
        rows_[row_][column_] = character;
        if (width == 2) rows_[row_][column_ + 1] = "";
        column_ += width;
        if (column_ == width_) {
            --column_;
            pending_wrap_ = true;
        }
    }

    size_t escape(std::string_view text) {
        EXPECT_EQ(text.substr(0, 2), "\x1b[");
        size_t i = 2, number = 0;
        while (text[i] >= '0' && text[i] <= '9') number = number * 10 + static_cast<size_t>(text[i++] - '0');
        const size_t count = number == 0 ? 1 : number;
        pending_wrap_ = false;
        switch (text[i]) {
            case 'A':
                row_ -= std::min(row_, count);
                break;
            case 'B':
                row_ = std::min(row_ + count, rows_.size() - 1);
                break;
            case 'C':
                column_ = std::min(column_ + count, width_ - 1);
                break;
            case 'D':
                column_ -= std::min(column_, count);
                break;
            case 'H':
                row_ = column_ = 0;
                break;
            case 'J':
                rows_.resize(row_ + 1);
                [[fallthrough]];
            case 'K':
                for (size_t c = column_; c < width_; ++c) rows_[row_][c] = " ";
                break;
            default:
                ADD_FAILURE() << "unknown sequence " << text.substr(0, i + 1);
        }
        return i + 1;
    }

    void move_row(size_t row) {
        row_ = row;
        pending_wrap_ = false;
        while (rows_.size() <= row_) rows_.emplace_back(width_);
    }

    struct Row : std::vector<std::string> {
        Row() = default;
        explicit Row(size_t width) : std::vector<std::string>(width, " ") {}
    };
    size_t width_;
    uint32_t said_;
    std::vector<Row> rows_;
    size_t row_ = 0, column_ = 0;
    bool pending_wrap_ = false;
};

}  // namespace bareflow
