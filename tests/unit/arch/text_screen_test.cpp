#include "arch/x86_64/text_screen.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/base/test_allocator.h"

namespace bareflow {
namespace {

/// What was drawn, as text; a glyph is its character.
class Paper final : public ScreenSurface {
 public:
    Paper(uint32_t columns, uint32_t rows)
        : columns_(columns), cells_(rows, std::vector<ScreenCell>(columns, {' ', 7, 0})) {}
    uint32_t columns() const override { return columns_; }
    uint32_t rows() const override { return static_cast<uint32_t>(cells_.size()); }
    uint16_t glyph_of(uint32_t code_point) const override {
        return code_point < 0x3000 ? static_cast<uint16_t>(code_point) : 0xFFFF;
    }
    void draw(uint32_t column, uint32_t row, ScreenCell cell) override {
        ++drawn;
        cells_.at(row).at(column) = cell;
    }
    const ScreenCell& at(size_t row, size_t column) const { return cells_.at(row).at(column); }
    /// A row, the blanks at its end cut off; a box is #.
    std::u32string row(size_t index) const {
        std::u32string text;
        for (const ScreenCell& cell : cells_[index]) text += cell.glyph == 0xFFFF ? U'#' : cell.glyph;
        return text.substr(0, text.find_last_not_of(U' ') + 1);
    }
    int drawn = 0;

 private:
    uint32_t columns_;
    std::vector<std::vector<ScreenCell>> cells_;
};

struct TextScreenTest : testing::Test {
    TextScreenTest() { EXPECT_TRUE(screen.start(paper, allocator).ok()); }
    /// Where cells have the cursor's exchanged colours, as row * 100 + column; only one may.
    int cursor() const {
        int found = -1;
        for (size_t row = 0; row < paper.rows(); ++row) {
            for (size_t column = 0; column < paper.columns(); ++column) {
                if (paper.at(row, column).paper == 0) continue;
                EXPECT_EQ(found, -1) << "two cursors";
                found = static_cast<int>(row * 100 + column);
            }
        }
        return found;
    }
    TestAllocator allocator;
    Paper paper{10, 4};
    TextScreen screen;
};

TEST_F(TextScreenTest, WritesTextAndShowsTheCursorBehindIt) {
    screen.write("Once\nupon");
    EXPECT_EQ(paper.row(0), U"Once");
    EXPECT_EQ(paper.row(1), U"upon");
    EXPECT_EQ(cursor(), 104);
    screen.write("\rU\b\bu");
    EXPECT_EQ(paper.row(1), U"upon");
    EXPECT_EQ(cursor(), 101);
    screen.write("\tx\ty");
    EXPECT_EQ(paper.row(1), U"upon    xy") << "tabs stop at each eighth column, and at the last one";
}

TEST_F(TextScreenTest, ARowThatIsFullWrapsWithTheNextCharacterOnly) {
    screen.write("0123456789");
    EXPECT_EQ(cursor(), 9);
    screen.write("\r\nab");
    EXPECT_EQ(paper.row(1), U"ab") << "the line editor's own newline leaves no empty row";
    screen.write("\r0123456789X");
    EXPECT_EQ(paper.row(2), U"X");
    EXPECT_EQ(cursor(), 201);
}

TEST_F(TextScreenTest, ScrollsAndDrawsOnlyWhatDiffers) {
    screen.write("one\ntwo\nthree\nfour");
    screen.write("\nfive\nsix");
    EXPECT_EQ(paper.row(0), U"three");
    EXPECT_EQ(paper.row(3), U"six");
    EXPECT_EQ(cursor(), 303);
    paper.drawn = 0;
    screen.write("!");
    EXPECT_EQ(paper.drawn, 2) << "the character, and the cursor";
    paper.drawn = 0;
    screen.write("\x1b[A\x1b[B");
    EXPECT_EQ(paper.drawn, 0);
    std::string much;
    for (int i = 0; i < 1000; ++i) much += "line " + std::to_string(i) + "\n";
    screen.write(much);
    EXPECT_LE(paper.drawn, 40) << "a text of many rows is drawn once";
    EXPECT_EQ(paper.row(2), U"line 999");
}

TEST_F(TextScreenTest, TakesUtf8ThatIsSplitAcrossWrites) {
    const std::string text = "aä€│";
    for (const char c : text) screen.write({&c, 1});
    EXPECT_EQ(paper.row(0), U"aä€│");
    EXPECT_EQ(cursor(), 4);
}

TEST_F(TextScreenTest, ShowsABoxForWhatIsNoUtf8AndGoesOn) {
    screen.write(
        "a\xFF"
        "b\xC3"
        "c\xE2\x82"
        "d\x80");
    // A box for the byte, the two cut characters and the stray byte.
    EXPECT_EQ(paper.row(0), U"a#b#c#d#");
    screen.write("\r\x1b[K\xE2\x82\n");
    EXPECT_EQ(paper.row(0), U"#") << "a newline ends a character and counts";
    EXPECT_EQ(cursor(), 100);
}

TEST_F(TextScreenTest, WideCharactersTakeTwoCellsAndCombiningOnesNone) {
    screen.write("世e\u0301\u200Dx");
    EXPECT_EQ(paper.row(0), U"# ex");
    EXPECT_EQ(cursor(), 4);
    screen.write("\r012345678世");
    EXPECT_EQ(paper.row(0), U"012345678") << "it does not fit into the last column";
    EXPECT_EQ(paper.row(1), U"#");
    EXPECT_EQ(cursor(), 102);
}

TEST_F(TextScreenTest, MovesTheCursorWithinTheScreen) {
    screen.write("\x1b[3;4Hx");
    EXPECT_EQ(paper.row(2), U"   x");
    screen.write("\x1b[2A\x1b[3Dy");
    EXPECT_EQ(paper.row(0), U" y");
    screen.write("\x1b[99A\x1b[99D");
    EXPECT_EQ(cursor(), 0);
    screen.write("\x1b[99B\x1b[99C");
    EXPECT_EQ(cursor(), 309);
    screen.write("\x1b[99;99H\x1b[A\x1b[D");
    EXPECT_EQ(cursor(), 208);
    screen.write("\x1b[H");
    EXPECT_EQ(cursor(), 0);
}

TEST_F(TextScreenTest, ErasesAsTheLineEditorWantsIt) {
    auto fill = [&] { screen.write("\x1b[H\x1b[Jabcdefghij\nklmnopqrst\nuvwxyz\x1b[2;4H"); };
    fill();
    screen.write("\x1b[K");
    EXPECT_EQ(paper.row(0), U"abcdefghij");
    EXPECT_EQ(paper.row(1), U"klm");
    EXPECT_EQ(paper.row(2), U"uvwxyz");
    fill();
    screen.write("\x1b[J");
    EXPECT_EQ(paper.row(1), U"klm");
    EXPECT_EQ(paper.row(2), U"");
    fill();
    screen.write("\x1b[1K");
    EXPECT_EQ(paper.row(1), U"    opqrst");
    EXPECT_EQ(paper.row(0), U"abcdefghij");
    fill();
    screen.write("\x1b[1J");
    EXPECT_EQ(paper.row(0), U"");
    EXPECT_EQ(paper.row(1), U"    opqrst");
    fill();
    screen.write("\x1b[2J");
    for (size_t row = 0; row < 3; ++row) EXPECT_EQ(paper.row(row), U"");
    EXPECT_EQ(cursor(), 103);
}

TEST_F(TextScreenTest, ColoursFollowTheGraphicRendition) {
    screen.write("\x1b[31ma\x1b[1mb\x1b[44mc\x1b[7md\x1b[me\x1b[92;47mf\x1b[39;49mg");
    const struct {
        uint8_t ink, paper;
    } expected[] = {{1, 0}, {9, 0}, {9, 4}, {4, 9}, {7, 0}, {10, 7}, {7, 0}};
    for (size_t i = 0; i < std::size(expected); ++i) {
        EXPECT_EQ(paper.at(0, i).ink, expected[i].ink) << i;
        EXPECT_EQ(paper.at(0, i).paper, expected[i].paper) << i;
    }
}

TEST_F(TextScreenTest, LeavesOutSequencesThatItDoesNotKnow) {
    screen.write("a\x1b[?25lb\x1b[2qc\x1b(d\x1b[5;5;5;5;5;5;5;5;5;5;5zE\a\x7F\x01");
    EXPECT_EQ(paper.row(0), U"abcdE");
    screen.write("\x1b[99999999999999C|\x1b[3\nx");
    EXPECT_EQ(paper.row(1), U"x") << "a newline within a sequence ends it and counts";
    screen.write("\x1b[1\x1b[2;1Hy");
    EXPECT_EQ(paper.row(1), U"y");
}

TEST(TextScreen, DoesNothingBeforeItHasASurfaceAndRefusesOneThatIsTooSmall) {
    TestAllocator allocator;
    TextScreen screen;
    screen.write("nothing");
    Paper narrow(1, 5);
    EXPECT_FALSE(screen.start(narrow, allocator).ok());
    screen.write("nothing");
    EXPECT_EQ(narrow.drawn, 0);
    allocator.fail_after = allocator.made + 1;
    Paper usual(10, 5);
    EXPECT_FALSE(screen.start(usual, allocator).ok());
    EXPECT_FALSE(screen.started());
}

TEST(TextScreen, AnyBytesStayOnTheScreen) {
    TestAllocator allocator;
    Paper paper(7, 3);  // its at() throws beyond the screen
    TextScreen screen;
    ASSERT_TRUE(screen.start(paper, allocator).ok());
    uint32_t state = 1;
    std::string text;
    for (int i = 0; i < 300'000; ++i) {
        state = state * 1664525 + 1013904223;
        const char common[] = "\x1b[;19ABCDHJKm\n\r\b\t世x";
        text += state >> 31 ? common[(state >> 16) % (sizeof common - 1)] : static_cast<char>(state >> 20);
        if (text.size() > (state >> 24)) screen.write(text), text.clear();
    }
}

}  // namespace
}  // namespace bareflow
