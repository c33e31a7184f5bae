#include "arch/base/key_decoder.h"

#include "arch/base/char_width.h"
#include "arch/base/text.h"

namespace bareflow {
namespace {

constexpr uint8_t kEscapeByte = 0x1B, kDeleteByte = 0x7F;
constexpr uint8_t control(char letter) { return static_cast<uint8_t>(letter - '@'); }

KeyKind control_key(uint8_t byte) {
    switch (byte) {
        case control('A'):
            return KeyKind::kHome;
        case control('B'):
            return KeyKind::kLeft;
        case control('C'):
            return KeyKind::kCancel;
        case control('D'):
            return KeyKind::kEndOfInput;
        case control('E'):
            return KeyKind::kEnd;
        case control('F'):
            return KeyKind::kRight;
        case control('H'):
        case kDeleteByte:
            return KeyKind::kBackspace;
        case control('K'):
            return KeyKind::kEraseToEnd;
        case control('L'):
            return KeyKind::kClearScreen;
        case control('N'):
            return KeyKind::kDown;
        case control('P'):
            return KeyKind::kUp;
        case control('U'):
            return KeyKind::kEraseToStart;
        case control('W'):
            return KeyKind::kEraseWordLeft;
        default:
            return KeyKind::kNone;
    }
}

/// The keys that end in a letter, after ESC [ and after ESC O alike.
KeyKind letter_key(uint8_t letter, bool by_words) {
    switch (letter) {
        case 'A':
            return KeyKind::kUp;
        case 'B':
            return KeyKind::kDown;
        case 'C':
            return by_words ? KeyKind::kWordRight : KeyKind::kRight;
        case 'D':
            return by_words ? KeyKind::kWordLeft : KeyKind::kLeft;
        case 'F':
            return KeyKind::kEnd;
        case 'H':
            return KeyKind::kHome;
        default:
            return KeyKind::kNone;
    }
}

Key space() { return {KeyKind::kText, FixedString<4>(" ")}; }

}  // namespace

Key KeyDecoder::feed(uint8_t byte) {
    const bool second_of_crlf = after_cr_ && byte == '\n';
    after_cr_ = false;
    if (second_of_crlf) return {};

    if (state_ != State::kGround && state_ != State::kUtf8) {
        if (byte == kEscapeByte) {  // begins anew, whatever was open
            state_ = State::kEscape;
            return {};
        }
        if (byte < ' ' && state_ != State::kEscape) {  // a control ends a broken sequence and counts
            state_ = State::kGround;
            return ground(byte);
        }
    }
    switch (state_) {
        case State::kGround:
            return ground(byte);
        case State::kUtf8:
            return utf8(byte);
        case State::kEscape:
            return escape(byte);
        case State::kCsi:
            return csi(byte);
        case State::kSs3:
            state_ = State::kGround;
            return {letter_key(byte, false), {}};
        case State::kLinuxFunction:
            state_ = State::kGround;
            return {};
    }
    return {};
}

Key KeyDecoder::ground(uint8_t byte) {
    if (byte == kEscapeByte) {
        state_ = State::kEscape;
        return {};
    }
    if (byte == '\r' || byte == '\n') {
        after_cr_ = byte == '\r';
        return pasting_ ? space() : Key{KeyKind::kEnter, {}};
    }
    if (byte == '\t') return space();
    if (byte == control('C')) pasting_ = false;
    if (byte < ' ' || byte == kDeleteByte) return {control_key(byte), {}};
    character_.clear();
    return utf8(byte);
}

Key KeyDecoder::utf8(uint8_t byte) {
    const char c = static_cast<char>(byte);
    const bool first = character_.empty();
    character_.append({&c, 1});
    const int length = utf8_length(character_);
    if (length < 0) {
        state_ = State::kUtf8;
        return {};
    }
    state_ = State::kGround;
    if (length == 0) {
        // The byte that broke a character begins the next one, or is a key of its own; a second error in it is lost.
        if (first) return {KeyKind::kBad, {}};
        Key next = ground(byte);
        return next.kind == KeyKind::kNone ? Key{KeyKind::kBad, {}} : next;
    }
    if (is_control(code_point_of(character_))) return {};
    return {KeyKind::kText, character_};
}

Key KeyDecoder::escape(uint8_t byte) {
    state_ = State::kGround;
    switch (byte) {
        case '[':
            state_ = State::kCsi;
            private_ = false;
            parameter_ = 0;
            for (uint32_t& parameter : parameters_) parameter = 0;
            return {};
        case 'O':
            state_ = State::kSs3;
            return {};
        case 'b':
            return {KeyKind::kWordLeft, {}};
        case 'f':
            return {KeyKind::kWordRight, {}};
        case 'd':
            return {KeyKind::kEraseWordRight, {}};
        case kDeleteByte:
        case control('H'):
            return {KeyKind::kEraseWordLeft, {}};
        default:
            return byte < ' ' ? ground(byte) : Key{};
    }
}

Key KeyDecoder::csi(uint8_t byte) {
    constexpr uint8_t kFirstFinal = 0x40, kLastFinal = 0x7E;  // ECMA-48 5.4
    if (byte >= '0' && byte <= '9') {
        if (parameter_ < kMaxParameters && parameters_[parameter_] < kLargestParameter) {
            parameters_[parameter_] = parameters_[parameter_] * 10 + (byte - '0');
        }
        return {};
    }
    if (byte == ';') {
        if (parameter_ < kMaxParameters) ++parameter_;
        return {};
    }
    if (byte == '[' && parameter_ == 0 && parameters_[0] == 0) {
        state_ = State::kLinuxFunction;
        return {};
    }
    if (byte < kFirstFinal || byte > kLastFinal) {
        private_ = true;
        return {};
    }
    state_ = State::kGround;
    if (private_) return {};
    if (byte == '~') return {tilde_key(), {}};
    // Modifiers: 1 plus shift 1, alt 2, control 4 (XTerm Control Sequences). Shift alone changes nothing here.
    const uint32_t modifiers = parameters_[1] == 0 ? 0 : parameters_[1] - 1;
    return {letter_key(byte, modifiers > 1), {}};
}

KeyKind KeyDecoder::tilde_key() {
    switch (parameters_[0]) {
        case 1:
        case 7:
            return KeyKind::kHome;  // VT220, rxvt
        case 3:
            return KeyKind::kDelete;
        case 4:
        case 8:
            return KeyKind::kEnd;
        case 200:
            pasting_ = true;
            return KeyKind::kNone;
        case 201:
            pasting_ = false;
            return KeyKind::kNone;
        default:
            return KeyKind::kNone;
    }
}

}  // namespace bareflow
