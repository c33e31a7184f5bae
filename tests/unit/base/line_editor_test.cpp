#include "arch/base/line_editor.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "arch/base/char_width.h"
#include "arch/base/text.h"
#include "tests/unit/base/fake_screen.h"
#include "tests/unit/base/test_allocator.h"

namespace bareflow {
namespace {

using Event = LineEditor::Event;

constexpr const char* kPrompt = "> ";
const std::string kLeft = "\x1b[D", kRight = "\x1b[C", kUp = "\x1b[A", kDown = "\x1b[B", kHome = "\x1b[H",
                  kEnd = "\x1b[F", kDelete = "\x1b[3~";

/// An editor at its screen.
struct Desk {
    explicit Desk(uint32_t width = 80, uint32_t said = 0)
        : screen(width, said), editor(LineEditor::make(screen, allocator).take()) {
        editor.start(kPrompt);
    }
    Event type(std::string_view bytes) {
        Event last = Event::kNone;
        for (char c : bytes) {
            EXPECT_EQ(last, Event::kNone) << "bytes after the end of a line";
            last = editor.feed(static_cast<uint8_t>(c));
        }
        return last;
    }
    /// Types and enters a line, and begins the next.
    std::string enter(std::string_view bytes) {
        EXPECT_EQ(type(std::string(bytes) + "\r"), Event::kLine);
        std::string line(editor.line());
        editor.start(kPrompt);
        return line;
    }
    /// The line with a | where the cursor is, by typing a mark there and taking it back.
    std::string marked() {
        type("|");
        std::string line(editor.line());
        type("\x7f");
        return line;
    }

    TestAllocator allocator;
    FakeScreen screen;
    LineEditor editor;
};

TEST(LineEditor, TakesWhatIsTyped) {
    Desk desk;
    EXPECT_EQ(desk.type("Once upon"), Event::kNone);
    EXPECT_EQ(desk.screen.text(), "> Once upon");
    EXPECT_EQ(desk.screen.column(), 11u);
    EXPECT_EQ(desk.type(" a time\r"), Event::kLine);
    EXPECT_EQ(desk.editor.line(), "Once upon a time");
    EXPECT_EQ(desk.screen.row(), 1u);
    EXPECT_EQ(desk.screen.column(), 0u);
}

TEST(LineEditor, EditsByKeys) {
    const struct {
        std::string keys, line;
    } cases[] = {
        {"abc\x7f", "ab|"},
        {"abc\b\b\b\b", "|"},
        {"abc" + kLeft + kLeft, "a|bc"},
        {"abc" + kLeft + kLeft + kLeft + kLeft + "x", "x|abc"},
        {"abc" + kLeft + kRight + kRight, "abc|"},
        {"abc" + kHome, "|abc"},
        {"abc\x01"
         "x\x05y",
         "xabcy|"},
        {"abc\x1b[1~", "|abc"},
        {"abc\x1b[7~", "|abc"},
        {"abc\x1bOH", "|abc"},
        {"abc\x01\x1b[4~", "abc|"},
        {"abc\x01\x1b[8~", "abc|"},
        {"abc\x01\x1bOF", "abc|"},
        {"abc" + kHome + kDelete, "|bc"},
        {"abc" + kDelete, "abc|"},
        {"abc" + kHome + "\x04", "|bc"},
        {"abc\x02\x02\x06", "ab|c"},
        {"one two" + kLeft + kLeft + "\x0b", "one t|"},
        {"one two" + kLeft + kLeft + "\x15", "|wo"},
        {"one two  \x17", "one |"},
        {"one two" + kLeft + "\x17", "one |o"},
        {"one two\x1b"
         "b",
         "one |two"},
        {"one two\x1b[1;5D\x1b[1;5D", "|one two"},
        {"one two\x01\x1b"
         "f",
         "one| two"},
        {"one two\x01\x1b[1;3C\x1b[1;5C", "one two|"},
        {"one two\x1b[1;2D", "one tw|o"},
        {"one two\x01\x1b"
         "d",
         "| two"},
        {"one two\x1b\x7f", "one |"},
        {"Gr\xC3\xBC\xC3\x9F"
         "e\x7f\x7f",
         "Gr\xC3\xBC|"},
        {"世界" + kLeft + "x", "世x|界"},
        {"e\u0301x" + kLeft + "\x7f", "|x"},  // a letter goes with its accent
        {"e\u0301" + kLeft, "|e\u0301"},
        {"a\tb", "a b|"},
        {"a\x1b[5~\x1b[6~\x1b[2~\x1b[15~b", "ab|"},  // page keys, insert, F5
        {"a\x1b[[Ab\x1bOPc", "abc|"},                // F1 of the Linux console, of xterm
        {"a\x1b[?25h\x1b[>0;95;0cb", "ab|"},         // a terminal's answers
        {"a\x1b[99999999999999999999~b", "ab|"},
        {"a\x1b\x1b[Db", "b|a"},
        {"a\x00\x1d\x1f"
         "b",
         "a|"},  // (the literal ends at its NUL)
        {"a\x1d\x1f"
         "b",
         "ab|"},
        {"a\xFF"
         "b\xC3(\xE2\x82"
         "c",
         "ab(c|"},  // malformed UTF-8 is dropped
        {"a\xC2\x9B"
         "31mb",
         "a31mb|"},  // C1 controls are no text
        {"a\xC3\x1b[Db", "b|a"},
        {"\x1b[200~two\rlines\x1b[201~", "two lines|"},
        {"\x1b[200~two\r\nlines\x1b[201~", "two lines|"},
        {"a\x0c"
         "b",
         "ab|"},
    };
    for (const auto& expected : cases) {
        Desk desk;
        ASSERT_EQ(desk.type(expected.keys), Event::kNone) << testing::PrintToString(expected.keys);
        std::string shown = kPrompt + std::string(desk.editor.line());
        shown =
            shown.substr(0, shown.find_last_not_of(' ') + 1);  // the screen does not tell blanks at the end
        EXPECT_EQ(desk.screen.text(), shown) << testing::PrintToString(expected.keys);
        EXPECT_EQ(desk.marked(), expected.line) << testing::PrintToString(expected.keys);
    }
}

TEST(LineEditor, CrLfAndCrLfEachEndOneLine) {
    Desk desk;
    EXPECT_EQ(desk.type("a\n"), Event::kLine);
    desk.editor.start(kPrompt);
    EXPECT_EQ(desk.type("b\r"), Event::kLine);
    desk.editor.start(kPrompt);
    EXPECT_EQ(desk.type("\n"), Event::kNone);  // the second half of CR LF
    EXPECT_EQ(desk.type("\n"), Event::kLine);
    EXPECT_EQ(desk.editor.line(), "");
}

TEST(LineEditor, CtrlCGivesTheLineUpFromAnywhere) {
    for (std::string before : {"", "abc", "\x1b[", "\x1bO", "\x1b", "\xE2\x82", "\x1b[200~abc"}) {
        Desk desk;
        EXPECT_EQ(desk.type(before + "\x03"), Event::kCancelled) << testing::PrintToString(before);
        EXPECT_EQ(desk.screen.column(), 0u);
        desk.editor.start(kPrompt);
        EXPECT_EQ(desk.enter("next"), "next");
    }
}

TEST(LineEditor, CtrlDEndsTheInputOnAnEmptyLineOnly) {
    Desk desk;
    EXPECT_EQ(desk.type("a\x04\x7f\x04"), Event::kEndOfInput);
}

TEST(LineEditor, HistoryBringsLinesBack) {
    Desk desk;
    desk.enter("first");
    desk.enter("second");
    desk.enter("second");  // once is enough
    desk.enter("");        // nothing to remember
    desk.type("draft" + kUp);
    EXPECT_EQ(desk.editor.line(), "second");
    desk.type(kUp);
    EXPECT_EQ(desk.editor.line(), "first");
    EXPECT_EQ(desk.screen.bells, 0);
    desk.type(kUp);
    EXPECT_EQ(desk.editor.line(), "first");
    EXPECT_EQ(desk.screen.bells, 1);
    desk.type("\x0e" + kDown);
    EXPECT_EQ(desk.editor.line(), "draft");
    desk.type(kDown);
    EXPECT_EQ(desk.screen.bells, 2);
    EXPECT_EQ(desk.enter("\x10"
                         "!"),
              "second!");
    EXPECT_EQ(desk.enter(kUp + kUp), "second");  // an edited copy leaves the original alone
}

TEST(LineEditor, NothingIsAllocatedOnceItIsMade) {
    Desk desk;
    const size_t made = desk.allocator.made;
    for (int i = 0; i < 500; ++i) desk.enter("line " + std::to_string(i) + std::string(100, 'x'));
    desk.type(kUp + kUp + kUp + "世" + kHome);
    EXPECT_EQ(desk.allocator.made, made);
}

TEST(LineHistory, DropsTheOldestLinesWhenItIsFull) {
    TestAllocator allocator;
    LineHistory history = LineHistory::make(allocator).take();
    std::vector<std::string> all;
    for (size_t i = 0; i < 600; ++i) {
        all.push_back(std::to_string(i) + std::string(i % 97, '.'));
        history.add(all.back());
    }
    ASSERT_GT(history.count(), 100u);
    ASSERT_LT(history.count(), 600u);
    size_t bytes = 0;
    for (size_t age = 0; age < history.count(); ++age) {
        EXPECT_EQ(history.line(age), all[all.size() - 1 - age]);
        bytes += history.line(age).size() + 1;
    }
    EXPECT_LE(bytes, LineHistory::kBytes);
    EXPECT_GT(bytes + 200, LineHistory::kBytes);
    const size_t count = history.count();
    history.add(std::string(LineHistory::kBytes, 'x'));  // larger than all of it: left out
    EXPECT_EQ(history.count(), count);
    history.add(std::string(LineHistory::kBytes - 1, 'x'));
    EXPECT_EQ(history.count(), 1u);
}

TEST(LineEditor, ALineThatIsFullRingsTheBellAndKeepsWhatItHas) {
    Desk desk;
    desk.type(std::string(LineEditor::kMaxLine - 1, 'x'));
    EXPECT_EQ(desk.screen.bells, 0);
    desk.type("é");  // two bytes do not fit any more
    EXPECT_EQ(desk.screen.bells, 1);
    desk.type("yz");
    EXPECT_EQ(desk.screen.bells, 2);
    EXPECT_EQ(desk.editor.line(), std::string(LineEditor::kMaxLine - 1, 'x') + "y");
}

TEST(LineEditor, WithoutMemoryItIsNotMade) {
    for (size_t allowed = 0; allowed < 3; ++allowed) {
        TestAllocator allocator;
        allocator.fail_after = allowed;
        FakeScreen screen;
        EXPECT_FALSE(LineEditor::make(screen, allocator).ok());
        EXPECT_EQ(allocator.live, 0u);
    }
}

TEST(LineEditor, LongLinesWrapAndRewrap) {
    Desk desk(10);
    desk.type("abcdefgh");  // fills the first row with the prompt
    EXPECT_EQ(desk.screen.row(), 1u);
    EXPECT_EQ(desk.screen.column(), 0u);
    desk.type("ijklmnopqrstu");
    EXPECT_EQ(desk.screen.text(), "> abcdefgh\nijklmnopqr\nstu");
    desk.type(kHome + "XY");
    EXPECT_EQ(desk.screen.text(), "> XYabcdef\nghijklmnop\nqrstu");
    EXPECT_EQ(desk.screen.row(), 0u);
    EXPECT_EQ(desk.screen.column(), 4u);
    desk.type("\x0b");
    EXPECT_EQ(desk.screen.text(), "> XY");
    desk.type("\r");
    EXPECT_EQ(desk.screen.row(), 1u);
}

TEST(LineEditor, EnterAfterAFullRowGivesNoEmptyRow) {
    Desk desk(10);
    desk.type("abcdefgh\r");
    EXPECT_EQ(desk.screen.row(), 1u);
    EXPECT_EQ(desk.screen.column(), 0u);
}

TEST(LineEditor, WideCharactersAreNotSplitAcrossRows) {
    Desk desk(9);
    desk.type("世界中世");  // 2 + 3 * 2 = 8: the fourth does not fit in the last column
    EXPECT_EQ(desk.screen.text(), "> 世界中\n世");
    desk.type(kHome + "x");
    EXPECT_EQ(desk.screen.text(), "> x世界中\n世");
    desk.type("y");
    EXPECT_EQ(desk.screen.text(), "> xy世界\n中世");
}

TEST(LineEditor, CtrlLClearsTheScreenAndKeepsTheLine) {
    Desk desk(20);
    desk.enter("old");
    desk.type("new" + kLeft + "\x0c");
    EXPECT_EQ(desk.screen.text(), "> new");
    EXPECT_EQ(desk.screen.row(), 0u);
    EXPECT_EQ(desk.screen.column(), 4u);
}

/// What a screen `width` wide must show for a line, worked out from whole characters alone.
std::string laid_out(const std::vector<std::string>& characters, size_t width) {
    std::string text = kPrompt;
    size_t column = 2;
    for (const std::string& c : characters) {
        const size_t columns = c == "世" || c == "😀" ? 2 : 1;
        if (column + columns > width) {
            text += "\n";
            column = 0;
        }
        text += c;
        column += columns;
    }
    std::string trimmed_rows;
    for (size_t begin = 0; begin <= text.size();) {
        size_t end = std::min(text.find('\n', begin), text.size());
        std::string row = text.substr(begin, end - begin);
        trimmed_rows += row.substr(0, row.find_last_not_of(' ') + 1) + "\n";
        begin = end + 1;
    }
    return trimmed_rows.substr(0, trimmed_rows.find_last_not_of('\n') + 1);
}

// Random keys against a list of characters and a position: the plainest possible editor.
TEST(LineEditor, RandomEditingAgreesWithAPlainModelOnScreensOfManyWidths) {
    std::mt19937 random(3);
    const std::vector<std::string> alphabet = {"a", "b", " ", "é", "世", "😀", "e\u0301"};
    for (auto [width, said] : std::initializer_list<std::pair<uint32_t, uint32_t>>{
             {8, 8}, {9, 9}, {10, 10}, {13, 13}, {80, 80}, {40, 11}}) {
        for (int round = 0; round < 30; ++round) {
            Desk desk(width, said);
            std::vector<std::string> model;
            size_t at = 0;
            for (int step = 0; step < 200; ++step) {
                const unsigned choice = random() % 16;
                auto position = [&](size_t index) { return model.begin() + static_cast<ptrdiff_t>(index); };
                if (choice < 8) {
                    const std::string& character = alphabet[random() % alphabet.size()];
                    model.insert(position(at++), character);
                    desk.type(character);
                } else if (choice == 8 && at > 0) {
                    model.erase(position(--at));
                    desk.type("\x7f");
                } else if (choice == 9 && at < model.size()) {
                    model.erase(position(at));
                    desk.type(kDelete);
                } else if (choice == 10 && at > 0) {
                    --at;
                    desk.type(kLeft);
                } else if (choice == 11 && at < model.size()) {
                    ++at;
                    desk.type(kRight);
                } else if (choice == 12) {
                    at = 0;
                    desk.type(kHome);
                } else if (choice == 13) {
                    at = model.size();
                    desk.type(kEnd);
                } else if (choice == 14 && random() % 8 == 0) {
                    model.erase(position(at), model.end());
                    desk.type("\x0b");
                } else if (choice == 15 && random() % 8 == 0) {
                    model.erase(model.begin(), position(at));
                    at = 0;
                    desk.type("\x15");
                }
                std::string expected;
                for (const std::string& c : model) expected += c;
                ASSERT_EQ(desk.editor.line(), expected);
                ASSERT_EQ(desk.screen.text(), laid_out(model, said))
                    << "width " << width << ", step " << step;
            }
            desk.type("!");  // where the cursor was
            model.insert(model.begin() + static_cast<ptrdiff_t>(at), "!");
            ASSERT_EQ(desk.screen.text(), laid_out(model, said));
        }
    }
}

/// A screen that nobody looks at: the fake one does not know the width of every character.
struct DarkScreen : Terminal {
    void write(std::string_view) override {}
    int read() override { return kNone; }
    int poll() override { return kNone; }
    bool interactive() const override { return true; }
    uint32_t columns() override { return 20; }
};

TEST(LineEditor, AnyBytesAtAllLeaveAWellFormedLine) {
    std::mt19937 random(4);
    DarkScreen screen;
    TestAllocator allocator;
    LineEditor editor = LineEditor::make(screen, allocator).take();
    editor.start(kPrompt);
    for (int i = 0; i < 200000; ++i) {
        const auto byte =
            static_cast<uint8_t>(random() % 3 == 0 ? "\x1b[;~0123ABCDOHF\r\n"[random() % 17] : random());
        if (editor.feed(byte) != Event::kNone) editor.start(kPrompt);
        if (i % 64 != 0) continue;
        for (std::string_view line = editor.line(); !line.empty();) {
            const int length = utf8_length(line);
            ASSERT_GT(length, 0);
            ASSERT_FALSE(is_control(code_point_of(line.substr(0, static_cast<size_t>(length)))));
            line.remove_prefix(static_cast<size_t>(length));
        }
    }
}

TEST(CharWidth, KnowsTheCommonCases) {
    const struct {
        const char* character;
        uint32_t code_point;
        unsigned columns;
    } cases[] = {
        {"a", 'a', 1},         {"ß", 0xDF, 1},        {"я", 0x44F, 1},   {"\u0301", 0x301, 0},
        {"\u200D", 0x200D, 0}, {"\uFE0F", 0xFE0F, 0}, {"世", 0x4E16, 2}, {"한", 0xD55C, 2},
        {"ア", 0x30A2, 2},     {"Ａ", 0xFF21, 2},     {"😀", 0x1F600, 2}, {"€", 0x20AC, 1},
        {"“", 0x201C, 1},      {"𠀀", 0x20000, 2},
    };
    for (const auto& c : cases) {
        EXPECT_EQ(code_point_of(c.character), c.code_point) << c.character;
        EXPECT_EQ(columns_of(c.code_point), c.columns) << c.character;
    }
}

}  // namespace
}  // namespace bareflow
