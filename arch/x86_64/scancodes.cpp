#include "arch/x86_64/scancodes.h"

#include <iterator>

namespace bareflow {
namespace {

// Scancodes of set 1 (IBM PC AT Technical Reference, "Keyboard"; make codes, a break has bit 7).
constexpr uint8_t kBreak = 0x80, kExtended = 0xE0, kPause = 0xE1;
constexpr uint8_t kBackspace = 0x0E, kTab = 0x0F, kEnter = 0x1C, kControl = 0x1D, kLeftShift = 0x2A,
                  kRightShift = 0x36, kKeypadStar = 0x37, kAlt = 0x38, kSpace = 0x39, kCapsLock = 0x3A,
                  kNumLock = 0x45, kKeypadFirst = 0x47, kKeypadLast = 0x53, kBesideLeftShift = 0x56,
                  kKeypadSlash = 0x35, kDelete = 0x53;
constexpr uint8_t kPauseBytes = 2;

/// From 0x02, the key of 1, to 0x35, the one left of the right shift; a space where there is no character.
constexpr uint8_t kFirstKey = 0x02, kLastKey = 0x35;
constexpr size_t kKeys = kLastKey - kFirstKey + 1;
struct KeyTable {
    char16_t plain[kKeys + 1], shifted[kKeys + 1], third[kKeys + 1];
    char16_t beside_left_shift[3];
};
constexpr KeyTable kLayouts[] = {
    {u"1234567890-=  qwertyuiop[]  asdfghjkl;'` \\zxcvbnm,./",
     u"!@#$%^&*()_+  QWERTYUIOP{}  ASDFGHJKL:\"~ |ZXCVBNM<>?",
     u"",
     {u'\\', u'|', 0}},
    {u"1234567890ß´  qwertzuiopü+  asdfghjklöä^ #yxcvbnm,.-",
     u"!\"§$%&/()=?`  QWERTZUIOPÜ*  ASDFGHJKLÖÄ° 'YXCVBNM;:_",
     u" ²³   {[]}\\   @ €        ~                      µ",
     {u'<', u'>', u'|'}},
};
static_assert(kLayouts[1].third[10] == u'\\' && kLayouts[1].third[14] == u'@' &&
              kLayouts[1].third[25] == u'~' && kLayouts[1].third[48] == u'µ' &&
              kLayouts[1].plain[kKeys - 1] == u'-' && kLayouts[1].shifted[kKeys - 1] == u'_' &&
              kLayouts[0].shifted[kKeys - 1] == u'?');

bool is_letter(char16_t c) { return (c >= u'a' && c <= u'z') || c == u'ä' || c == u'ö' || c == u'ü'; }

void append_utf8(FixedString<8>& text, char16_t c) {
    char bytes[3];
    size_t size = 0;
    if (c < 0x80) {
        bytes[size++] = static_cast<char>(c);
    } else {
        if (c >= 0x800) bytes[size++] = static_cast<char>(0xE0 | c >> 12);
        bytes[size] = static_cast<char>(c >= 0x800 ? 0x80 | (c >> 6 & 0x3F) : 0xC0 | c >> 6);
        ++size;
        bytes[size++] = static_cast<char>(0x80 | (c & 0x3F));
    }
    text.append({bytes, size});
}

}  // namespace

FixedString<8> ScancodeDecoder::feed(uint8_t code) {
    if (skip_ > 0) {
        --skip_;
        return {};
    }
    if (code == kExtended || code == kPause) {
        extended_ = code == kExtended;
        if (code == kPause) skip_ = kPauseBytes;
        return {};
    }
    const bool was_extended = extended_, pressed = code < kBreak;
    const uint8_t key = code & ~kBreak;
    extended_ = false;
    switch (key) {
        case kControl:
            (was_extended ? right_control_ : left_control_) = pressed;
            return {};
        case kAlt:
            (was_extended && layout_ != KeyboardLayout::kUs ? alt_graph_ : alt_) = pressed;
            return {};
        case kLeftShift:
        case kRightShift:
            // Extended ones come with the grey keys, whatever is held.
            if (!was_extended) (key == kLeftShift ? left_shift_ : right_shift_) = pressed;
            return {};
    }
    if (!pressed) return {};
    if (was_extended) return extended(key);
    if (key == kCapsLock) caps_lock_ = !caps_lock_;
    if (key == kNumLock) keypad_moves_ = !keypad_moves_;
    if (key >= kKeypadFirst && key <= kKeypadLast) return keypad(key);
    return character(key);
}

FixedString<8> ScancodeDecoder::sequence(char letter) const {
    // XTerm Control Sequences: 1, and 2 for Alt, 4 for Control.
    const int modifiers = 1 + (alt_ ? 2 : 0) + (left_control_ || right_control_ ? 4 : 0);
    if (modifiers == 1) return FixedString<8>::formatted("\x1b[{}", letter);
    return FixedString<8>::formatted("\x1b[1;{}{}", modifiers, letter);
}

/// The grey keys, and the keypad's without numbers: both have the same codes.
FixedString<8> ScancodeDecoder::extended(uint8_t key) const {
    constexpr std::string_view kLetters = "HA  D C FB";  // from Home on
    if (key == kEnter) return character(key);
    if (key == kKeypadSlash) return FixedString<8>("/");
    if (key == kDelete) return FixedString<8>("\x1b[3~");
    const size_t index = static_cast<size_t>(key) - kKeypadFirst;
    if (key < kKeypadFirst || index >= kLetters.size() || kLetters[index] == ' ') return {};
    return sequence(kLetters[index]);
}

FixedString<8> ScancodeDecoder::keypad(uint8_t key) const {
    constexpr std::string_view kCharacters = "789-456+1230.";
    const char c = kCharacters[static_cast<size_t>(key) - kKeypadFirst];
    if (keypad_moves_ && c != '-' && c != '+') return extended(key);
    return FixedString<8>(std::string_view(&c, 1));
}

FixedString<8> ScancodeDecoder::character(uint8_t key) const {
    const KeyTable& layout = kLayouts[static_cast<size_t>(layout_)];
    const bool control = left_control_ || right_control_;
    const bool shift = left_shift_ || right_shift_;
    char16_t c = 0;
    if (key >= kFirstKey && key <= kLastKey) {
        const size_t index = key - kFirstKey;
        c = layout.plain[index];
        if (alt_graph_) {
            c = layout.third[index];
        } else if (shift != (caps_lock_ && is_letter(c))) {
            c = layout.shifted[index];
        }
        if (c == u' ') c = 0;
    } else if (key == kBesideLeftShift) {
        c = layout.beside_left_shift[alt_graph_ ? 2 : shift ? 1 : 0];
    }
    switch (key) {
        case kBackspace:
            c = 0x7F;
            break;
        case kTab:
            c = u'\t';
            break;
        case kEnter:
            c = u'\r';
            break;
        case kSpace:
            c = u' ';
            break;
        case kKeypadStar:
            c = u'*';
            break;
    }
    if (control && c >= u'@' && c < 0x7F) c &= 0x1F;
    FixedString<8> text;
    if (c == 0) return text;
    if (alt_) text.append("\x1b");
    append_utf8(text, c);
    return text;
}

}  // namespace bareflow
