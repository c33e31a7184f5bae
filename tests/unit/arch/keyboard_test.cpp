#include "arch/x86_64/keyboard.h"

#include <gtest/gtest.h>

#include <deque>
#include <string>
#include <vector>

#include "arch/base/key_decoder.h"
#include "arch/base/terminal.h"

namespace bareflow {
namespace {

constexpr uint8_t kLeftShift = 0x2A, kRightShift = 0x36, kControl = 0x1D, kAlt = 0x38, kCapsLock = 0x3A,
                  kNumLock = 0x45;

/// Feeds scancodes; 0x100 + c is the extended key c.
class Keys {
 public:
    explicit Keys(KeyboardLayout layout) { decoder_.set_layout(layout); }
    std::string press(int key) { return feed(key, 0); }
    std::string release(int key) { return feed(key, 0x80); }
    /// What a key gives while others are held.
    std::string typed(int key, std::initializer_list<int> held = {}) {
        for (int other : held) EXPECT_EQ(press(other), "");
        std::string text = press(key);
        EXPECT_EQ(release(key), "");
        for (int other : held) EXPECT_EQ(release(other), "");
        return text;
    }

 private:
    std::string feed(int key, int breaks) {
        if (key >= 0x100) {
            EXPECT_TRUE(decoder_.feed(0xE0).empty());
        }
        return std::string(decoder_.feed(static_cast<uint8_t>((key & 0xFF) | breaks)).view());
    }
    ScancodeDecoder decoder_;
};

std::string row(Keys& keys, int first, int last, std::initializer_list<int> held = {}) {
    std::string text;
    for (int key = first; key <= last; ++key) text += keys.typed(key, held);
    return text;
}

using Rows = std::vector<std::string>;
/// What the four rows of keys type, from the digits down.
Rows rows(Keys& keys, std::initializer_list<int> held = {}) {
    return {row(keys, 0x02, 0x0D, held), row(keys, 0x10, 0x1B, held), row(keys, 0x1E, 0x29, held),
            row(keys, 0x2B, 0x35, held)};
}
TEST(Scancodes, UsLayout) {
    Keys keys(KeyboardLayout::kUs);
    EXPECT_EQ(rows(keys), (Rows{"1234567890-=", "qwertyuiop[]", "asdfghjkl;'`", "\\zxcvbnm,./"}));
    for (int shift : {kLeftShift, kRightShift})
        EXPECT_EQ(rows(keys, {shift}),
                  (Rows{"!@#$%^&*()_+", "QWERTYUIOP{}", "ASDFGHJKL:\"~", "|ZXCVBNM<>?"}));
    EXPECT_EQ(keys.typed(0x39), " ");
    EXPECT_EQ(keys.typed(0x56), "\\");
}

TEST(Scancodes, GermanLayout) {
    Keys keys(KeyboardLayout::kDe);
    EXPECT_EQ(rows(keys), (Rows{"1234567890ß´", "qwertzuiopü+", "asdfghjklöä^", "#yxcvbnm,.-"}));
    EXPECT_EQ(rows(keys, {kLeftShift}),
              (Rows{"!\"§$%&/()=?`", "QWERTZUIOPÜ*", "ASDFGHJKLÖÄ°", "'YXCVBNM;:_"}));
    EXPECT_EQ(row(keys, 0x02, 0x35, {0x100 | kAlt}), "²³{[]}\\\x7F\t@€~\rµ");
    EXPECT_EQ(keys.typed(0x56), "<");
    EXPECT_EQ(keys.typed(0x56, {kLeftShift}), ">");
    EXPECT_EQ(keys.typed(0x56, {0x100 | kAlt}), "|");
}

TEST(Scancodes, CapsLockIsForLettersOnly) {
    Keys keys(KeyboardLayout::kDe);
    keys.typed(kCapsLock);
    EXPECT_EQ(row(keys, 0x10, 0x1B), "QWERTZUIOPÜ+");
    EXPECT_EQ(row(keys, 0x02, 0x05), "1234");
    EXPECT_EQ(keys.typed(0x10, {kLeftShift}), "q");
    EXPECT_EQ(keys.typed(0x02, {kLeftShift}), "!");
    keys.typed(kCapsLock);
    EXPECT_EQ(keys.typed(0x10), "q");
}

TEST(Scancodes, ControlMakesControlCharacters) {
    Keys keys(KeyboardLayout::kDe);
    EXPECT_EQ(keys.typed(0x2E, {kControl}), "\x03");
    EXPECT_EQ(keys.typed(0x20, {0x100 | kControl}), "\x04");
    EXPECT_EQ(keys.typed(0x2C, {kControl}), "\x19") << "the layout's letter y";
    EXPECT_EQ(keys.typed(0x20, {kControl, kLeftShift}), "\x04");
    EXPECT_EQ(keys.typed(0x20), "d");
}

TEST(Scancodes, AShiftStaysHeldUntilBothAreReleased) {
    Keys keys(KeyboardLayout::kUs);
    keys.press(kLeftShift);
    keys.press(kRightShift);
    keys.release(kLeftShift);
    EXPECT_EQ(keys.typed(0x1E), "A");
    keys.release(kRightShift);
    EXPECT_EQ(keys.typed(0x1E), "a");
}

/// What the line editor makes of the bytes of a key.
KeyKind kind_of(const std::string& bytes) {
    KeyDecoder decoder;
    Key key;
    for (const char c : bytes) key = decoder.feed(static_cast<uint8_t>(c));
    return key.kind;
}

TEST(Scancodes, EditingKeysMeanToTheLineEditorWhatTheySay) {
    Keys keys(KeyboardLayout::kUs);
    const struct {
        int key;
        KeyKind kind, with_control, with_alt;
    } cases[] = {
        {0x148, KeyKind::kUp, KeyKind::kUp, KeyKind::kUp},
        {0x150, KeyKind::kDown, KeyKind::kDown, KeyKind::kDown},
        {0x14B, KeyKind::kLeft, KeyKind::kWordLeft, KeyKind::kWordLeft},
        {0x14D, KeyKind::kRight, KeyKind::kWordRight, KeyKind::kWordRight},
        {0x147, KeyKind::kHome, KeyKind::kHome, KeyKind::kHome},
        {0x14F, KeyKind::kEnd, KeyKind::kEnd, KeyKind::kEnd},
        {0x153, KeyKind::kDelete, KeyKind::kDelete, KeyKind::kDelete},
        {0x0E, KeyKind::kBackspace, KeyKind::kBackspace, KeyKind::kEraseWordLeft},
        {0x1C, KeyKind::kEnter, KeyKind::kEnter, KeyKind::kEnter},
        {0x11C, KeyKind::kEnter, KeyKind::kEnter, KeyKind::kEnter},
    };
    for (const auto& c : cases) {
        EXPECT_EQ(kind_of(keys.typed(c.key)), c.kind) << std::hex << c.key;
        EXPECT_EQ(kind_of(keys.typed(c.key, {kControl})), c.with_control) << std::hex << c.key;
        EXPECT_EQ(kind_of(keys.typed(c.key, {kAlt})), c.with_alt) << std::hex << c.key;
    }
    EXPECT_EQ(kind_of(keys.typed(0x20, {kAlt})), KeyKind::kEraseWordRight);
    for (const int silent :
         {0x01, 0x3B, 0x44, 0x57, 0x58, 0x149, 0x151, 0x152, 0x137, 0x15B, 0x46, 0x00, 0x7F})
        EXPECT_EQ(keys.typed(silent), "") << std::hex << silent;
}

TEST(Scancodes, TheKeypadHasNumbersOrArrows) {
    Keys keys(KeyboardLayout::kUs);
    EXPECT_EQ(row(keys, 0x47, 0x53), "789-456+1230.");
    EXPECT_EQ(keys.typed(0x37) + keys.typed(0x135), "*/");
    keys.typed(kNumLock);
    EXPECT_EQ(kind_of(keys.typed(0x48)), KeyKind::kUp);
    EXPECT_EQ(kind_of(keys.typed(0x4B)), KeyKind::kLeft);
    EXPECT_EQ(kind_of(keys.typed(0x53)), KeyKind::kDelete);
    EXPECT_EQ(keys.typed(0x4A), "-");
    EXPECT_EQ(keys.typed(0x4C), "");
}

TEST(Scancodes, TheKeypadsSlashIsOneInEveryLayout) {
    for (const KeyboardLayout layout : {KeyboardLayout::kUs, KeyboardLayout::kDe}) {
        Keys keys(layout);
        EXPECT_EQ(keys.typed(0x135), "/");
        EXPECT_EQ(keys.typed(0x135, {kLeftShift}), "/");
    }
}

TEST(Scancodes, TheShiftsThatComeWithGreyKeysAreNone) {
    Keys keys(KeyboardLayout::kUs);
    keys.press(kLeftShift);
    keys.release(0x100 | kLeftShift);  // a grey key while Shift is held
    EXPECT_EQ(kind_of(keys.typed(0x14B)), KeyKind::kLeft);
    EXPECT_EQ(keys.typed(0x1E), "A") << "Shift is still held";
    keys.release(kLeftShift);
    keys.press(0x100 | kLeftShift);  // one with Num Lock
    EXPECT_EQ(keys.typed(0x1E), "a");
}

TEST(Scancodes, PauseIsSkippedWhole) {
    ScancodeDecoder decoder;
    for (const int code : {0xE1, 0x1D, 0x45, 0xE1, 0x9D, 0xC5})
        EXPECT_TRUE(decoder.feed(static_cast<uint8_t>(code)).empty());
    EXPECT_EQ(decoder.feed(0x2E).view(), "c") << "its Ctrl does not stay";
    EXPECT_EQ(decoder.feed(0x47).view(), "7") << "and Num Lock is as it was";
}

/// An i8042 with a keyboard.
class Controller final : public KeyboardPorts {
 public:
    uint8_t read(uint16_t port) override {
        ++reads;
        if (absent) return 0xFF;
        if (port == 0x64)
            return static_cast<uint8_t>(busy ? 0x02 : 0) | (output.empty() && !stuck_full ? 0 : 0x01) |
                   mouse_bit();
        if (output.empty()) return 0;
        const uint8_t byte = output.front().byte;
        output.pop_front();
        return byte;
    }
    void write(uint16_t port, uint8_t value) override {
        EXPECT_FALSE(busy);
        written.push_back(port << 8 | value);
        if (port == 0x64 && value == 0x20 && !silent) output.push_back({configuration, false});
        if (port == 0x60 && command == 0x60) configuration = value;
        if (port == 0x60 && value == 0xF4 && command != 0x60) output.push_back({0xFA, false});
        command = port == 0x64 ? value : 0;
    }
    void press(std::initializer_list<int> codes) {
        for (const int code : codes) output.push_back({static_cast<uint8_t>(code), false});
    }

    struct Output {
        uint8_t byte;
        bool mouse;
    };
    std::deque<Output> output;
    std::vector<int> written;
    uint8_t configuration = 0x67, command = 0;
    bool absent = false, busy = false, silent = false, stuck_full = false;
    int reads = 0;

 private:
    uint8_t mouse_bit() const { return !output.empty() && output.front().mouse ? 0x20 : 0; }
};

std::string typed(Keyboard& keyboard) {
    std::string text;
    for (int byte; (byte = keyboard.poll()) != Terminal::kNone;) text += static_cast<char>(byte);
    return text;
}

TEST(Keyboard, SetsUpTheControllerAndReadsKeys) {
    Controller controller;
    controller.press({0x1E, 0x9E});  // typed at the boot loader
    Keyboard keyboard;
    ASSERT_TRUE(keyboard.initialise(controller));
    EXPECT_EQ(controller.configuration & 0x73, 0x60) << "no interrupts, keyboard on, mouse off, set 1";
    EXPECT_EQ(typed(keyboard), "") << "neither the old key nor the keyboard's answer";
    controller.press({0x23, 0xA3, 0x17, 0x97});
    EXPECT_EQ(typed(keyboard), "hi");
    keyboard.set_layout(KeyboardLayout::kDe);
    controller.press({0x28, 0xA8});
    EXPECT_EQ(typed(keyboard), "ä");
}

TEST(Keyboard, KeepsWhatIsTypedAheadAndNeverHalfOfAKey) {
    Controller controller;
    Keyboard keyboard;
    ASSERT_TRUE(keyboard.initialise(controller));
    for (int i = 0; i < 200; ++i) controller.press({0xE0, 0x4B, 0xE0, 0xCB});
    std::string got;
    for (int i = 0; i < 5000; ++i) {
        const int byte = keyboard.poll();
        if (byte == Terminal::kNone) break;
        got += static_cast<char>(byte);
    }
    EXPECT_GE(got.size(), 255u);
    EXPECT_EQ(got.size() % 3, 0u);
    for (size_t i = 0; i < got.size(); i += 3) ASSERT_EQ(got.substr(i, 3), "\x1b[D");
}

TEST(Keyboard, WhatTheMouseSaysIsNoKey) {
    Controller controller;
    Keyboard keyboard;
    ASSERT_TRUE(keyboard.initialise(controller));
    controller.output.push_back({0x1E, true});
    controller.press({0x30});
    EXPECT_EQ(typed(keyboard), "b");
}

TEST(Keyboard, AnAbsentOrStuckControllerIsLeftAloneInTime) {
    for (int what = 0; what < 3; ++what) {
        Controller controller;
        controller.absent = what == 0;
        controller.busy = what == 1;
        controller.silent = what == 2;
        Keyboard keyboard;
        EXPECT_FALSE(keyboard.initialise(controller)) << what;
        EXPECT_LE(controller.reads, 200'000);
        controller.reads = 0;
        EXPECT_EQ(keyboard.poll(), Terminal::kNone);
        EXPECT_EQ(controller.reads, 0);
    }
    Controller controller;
    Keyboard keyboard;
    ASSERT_TRUE(keyboard.initialise(controller));
    controller.stuck_full = true;  // always something to read, and it is nothing
    EXPECT_EQ(keyboard.poll(), Terminal::kNone);
    EXPECT_LE(controller.reads, 1000);
}

}  // namespace
}  // namespace bareflow
