// From a terminal's bytes to keys: control characters, UTF-8, and the escape sequences of xterm, VT100 and the Linux
// console (ECMA-48; XTerm Control Sequences "PC-Style Function Keys"; console_codes(4)).
#pragma once

#include <cstdint>

#include "arch/base/format.h"

namespace bareflow {

enum class KeyKind : uint8_t {
    kNone,  ///< the byte completed nothing, or a key that means nothing here
    kText,  ///< one character to insert
    kBad,   ///< bytes that are no UTF-8
    kEnter,
    kCancel,      ///< Ctrl-C
    kEndOfInput,  ///< Ctrl-D: the end of input on an empty line, else kDelete
    kBackspace,
    kDelete,
    kLeft,
    kRight,
    kWordLeft,
    kWordRight,
    kHome,
    kEnd,
    kUp,
    kDown,
    kEraseToEnd,      ///< Ctrl-K
    kEraseToStart,    ///< Ctrl-U
    kEraseWordLeft,   ///< Ctrl-W, Alt-Backspace
    kEraseWordRight,  ///< Alt-D
    kClearScreen,     ///< Ctrl-L
};

struct Key {
    KeyKind kind = KeyKind::kNone;
    FixedString<4> text;  ///< of kText: one well-formed UTF-8 character, no control
};

class KeyDecoder {
 public:
    /// The key that `byte` completes. CR, LF and CR LF are each one Enter; within a bracketed paste they, and tabs
    /// anywhere, are a space.
    Key feed(uint8_t byte);

 private:
    enum class State : uint8_t {
        kGround,
        kUtf8,           ///< in a multi-byte character
        kEscape,         ///< after ESC
        kCsi,            ///< after ESC [
        kSs3,            ///< after ESC O
        kLinuxFunction,  ///< after ESC [ [: the Linux console's F1 to F5
    };

    Key ground(uint8_t byte);
    Key utf8(uint8_t byte);
    Key escape(uint8_t byte);
    Key csi(uint8_t byte);
    KeyKind tilde_key();

    static constexpr int kMaxParameters = 2;  ///< key number and modifiers; more are not looked at
    static constexpr uint32_t kLargestParameter = 9999;

    State state_ = State::kGround;
    bool after_cr_ = false;
    bool pasting_ = false;
    bool private_ = false;  ///< the control sequence is none of those known here: skipped to its end
    int parameter_ = 0;
    uint32_t parameters_[kMaxParameters] = {};
    FixedString<4> character_;
};

}  // namespace bareflow
