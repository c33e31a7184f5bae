// From a PC keyboard's scancodes (set 1) to the bytes that a terminal would send for the same keys.
#pragma once

#include <cstdint>

#include "arch/base/format.h"
#include "arch/base/options.h"

namespace bareflow {

/// Characters come as UTF-8, Enter as CR, arrows and the like as arch/base/key_decoder.h takes them: after Ctrl and Alt with
/// xterm's modifiers. Ctrl with a letter is a control character, left Alt puts an ESC before a character. Keys that mean
/// nothing to a terminal's line (Esc, F1, …) give no bytes. No dead keys: ´, ` and ^ stand for themselves.
class ScancodeDecoder {
 public:
    void set_layout(KeyboardLayout layout) { layout_ = layout; }
    /// The bytes that `code` completes; mostly none.
    FixedString<8> feed(uint8_t code);

 private:
    FixedString<8> extended(uint8_t key) const;
    FixedString<8> keypad(uint8_t key) const;
    FixedString<8> character(uint8_t key) const;
    FixedString<8> sequence(char letter) const;

    KeyboardLayout layout_ = KeyboardLayout::kUs;
    bool extended_ = false;
    uint8_t skip_ = 0;  ///< scancodes of Pause that are left
    bool left_shift_ = false, right_shift_ = false, left_control_ = false, right_control_ = false;
    bool alt_ = false, alt_graph_ = false, caps_lock_ = false;
    bool keypad_moves_ = false;  ///< Num Lock is off
};

}  // namespace bareflow
