// Formatting into a caller's buffer: {} and {:x}-style fields, no allocation, no locale, no libc.
//
// A field is {[:][<|>][0][width][.precision][x|c]}: `{:>8}` right-aligns in 8 columns, `{:016x}` is zero-padded
// hexadecimal, `{:.2}` is a fixed-point double with 2 decimals (at most 9, rounded from the exact value; from 1.8e19 on
// it is written as 1.80e+19), `{:c}` an integer as a character. Numbers stand right in their width, all else left. `{{`
// and `}}` stand for braces. Output that does not fit is cut between UTF-8 characters, and is never terminated by a NUL.
#pragma once

#include <concepts>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

namespace bareflow {

// Arguments are passed as C passes `...`, in registers and with no code of their own, and beside them what they are: a text
// costs its caller little more than its values. Only format.h makes such a call, so that both always agree.

/// What the value of a field is; an integer has 64 bits. kNone stands behind the last one.
enum class FormatKind : uint8_t {
    kNone,
    kSigned,
    kUnsigned,
    kDouble,
    kString,
    kCString,
    kBool,
    kChar,
    kPointer
};
constexpr unsigned kFormatKindBits = 4;
/// The FormatKinds of a text's values, the first one in the lowest bits.
using FormatKinds = uint64_t;

template <typename T>
constexpr FormatKind format_kind() {
    using Value = std::decay_t<T>;
    if constexpr (std::same_as<Value, bool>) {
        return FormatKind::kBool;
    } else if constexpr (std::same_as<Value, char>) {
        return FormatKind::kChar;
    } else if constexpr (std::signed_integral<Value>) {
        return FormatKind::kSigned;
    } else if constexpr (std::integral<Value> || std::is_enum_v<Value>) {
        return FormatKind::kUnsigned;
    } else if constexpr (std::floating_point<Value>) {
        return FormatKind::kDouble;
    } else if constexpr (std::convertible_to<Value, const char*>) {
        return FormatKind::kCString;
    } else if constexpr (std::convertible_to<Value, std::string_view>) {
        return FormatKind::kString;
    } else {
        static_assert(std::convertible_to<Value, const void*>);
        return FormatKind::kPointer;
    }
}

template <typename... Arguments>
constexpr FormatKinds format_kinds() {
    static_assert((sizeof...(Arguments) + 1) * kFormatKindBits < 64);
    FormatKinds kinds = 0;
    unsigned shift = 0;
    ((kinds |= FormatKinds{static_cast<uint8_t>(format_kind<Arguments>())} << shift,
      shift += kFormatKindBits),
     ...);
    return kinds;
}

/// A value as it is passed for its kind.
template <typename T>
auto format_value(const T& value) {
    constexpr FormatKind kKind = format_kind<T>();
    if constexpr (kKind == FormatKind::kSigned) {
        return static_cast<int64_t>(value);
    } else if constexpr (kKind == FormatKind::kDouble) {
        return static_cast<double>(value);
    } else if constexpr (kKind == FormatKind::kString) {
        return static_cast<std::string_view>(value);
    } else if constexpr (kKind == FormatKind::kCString) {
        return static_cast<const char*>(value);
    } else if constexpr (kKind == FormatKind::kPointer) {
        return static_cast<const void*>(value);
    } else {
        return static_cast<uint64_t>(value);
    }
}

/// Writes `pattern` with its fields replaced into `out`; returns the part of `out` that was written.
std::string_view format_list(std::span<char> out, const char* pattern, FormatKinds kinds, va_list values);
/// The same; returns the bytes written.
size_t format_values(char* out, size_t room, const char* pattern, FormatKinds kinds, ...);

/// Type-safe front of format_values(). A field without an argument prints as `{?}`.
template <typename... Arguments>
std::string_view format_to(std::span<char> out, const char* pattern, const Arguments&... arguments) {
    return {out.data(), format_values(out.data(), out.size(), pattern, format_kinds<Arguments...>(),
                                      format_value(arguments)...)};
}

/// How many bytes of `text`, which is UTF-8, fit into `room` without a character being cut in two.
constexpr size_t whole_characters(std::string_view text, size_t room) {
    if (text.size() <= room) return text.size();
    auto continues = [&](size_t i) { return (static_cast<unsigned char>(text[i]) & 0xC0) == 0x80; };
    constexpr size_t kLongestTail = 3;  // more continuation bytes than this are no UTF-8: cut anywhere
    size_t size = room;
    while (size > 0 && room - size < kLongestTail && continues(size)) --size;
    return continues(size) ? room : size;
}

/// A string of at most `Capacity` bytes that carries its own storage: messages, names, log lines.
template <size_t Capacity>
class FixedString {
 public:
    /// What is not used is left as it is.
    constexpr FixedString() {
        if (std::is_constant_evaluated()) {
            for (char& c : data_) c = 0;
        }
    }
    constexpr FixedString(std::string_view text) : FixedString() { append(text); }

    template <typename... Arguments>
    static FixedString formatted(const char* pattern, const Arguments&... arguments) {
        FixedString result;
        result.append_format(pattern, arguments...);
        return result;
    }

    template <typename... Arguments>
    void append_format(const char* pattern, const Arguments&... arguments) {
        size_ += format_values(data_ + size_, Capacity - size_, pattern, format_kinds<Arguments...>(),
                               format_value(arguments)...);
    }

    /// Appends what fits and cuts the rest, between UTF-8 characters.
    constexpr void append(std::string_view text) {
        for (char c : text.substr(0, whole_characters(text, Capacity - size_))) data_[size_++] = c;
    }

    constexpr void clear() { size_ = 0; }
    constexpr void truncate(size_t size) { size_ = size < size_ ? size : size_; }
    constexpr bool empty() const { return size_ == 0; }
    constexpr bool full() const { return size_ == Capacity; }
    constexpr size_t size() const { return size_; }
    constexpr std::string_view view() const { return {data_, size_}; }
    constexpr operator std::string_view() const { return view(); }

 private:
    size_t size_ = 0;
    char data_[Capacity];
};

}  // namespace bareflow
