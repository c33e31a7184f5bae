// Formatting into a caller's buffer: {} and {:x}-style fields, no allocation, no locale, no libc.
//
// A field is {[:][<|>][0][width][.precision][x|c]}: `{:>8}` right-aligns in 8 columns, `{:016x}` is zero-padded
// hexadecimal, `{:.2}` is a fixed-point double with 2 decimals (at most 9, rounded from the exact value; from 1.8e19 on
// it is written as 1.80e+19), `{:c}` an integer as a character. Numbers stand right in their width, all else left. `{{`
// and `}}` stand for braces. Output that does not fit is cut between UTF-8 characters, and is never terminated by a NUL.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

namespace bareflow {

/// One value to be formatted, its type erased. Made by format(); never by hand.
struct FormatArgument {
    enum class Kind : uint8_t { kSigned, kUnsigned, kDouble, kString, kBool, kChar, kPointer };
    Kind kind;
    union {
        int64_t as_signed;
        uint64_t as_unsigned;
        double as_double;
        std::string_view as_string;
    };

    template <typename T>
    requires(std::integral<T> || std::is_enum_v<T>) constexpr FormatArgument(T value)
        : kind(Kind::kUnsigned), as_unsigned(0) {
        if constexpr (std::same_as<T, bool>) {
            kind = Kind::kBool;
            as_unsigned = value;
        } else if constexpr (std::same_as<T, char>) {
            kind = Kind::kChar;
            as_unsigned = static_cast<unsigned char>(value);
        } else if constexpr (std::is_enum_v<T>) {
            as_unsigned = static_cast<uint64_t>(value);
        } else if constexpr (std::signed_integral<T>) {
            kind = Kind::kSigned;
            as_signed = value;
        } else {
            as_unsigned = value;
        }
    }
    constexpr FormatArgument(double value) : kind(Kind::kDouble), as_double(value) {}
    constexpr FormatArgument(std::string_view value) : kind(Kind::kString), as_string(value) {}
    constexpr FormatArgument(const char* value) : kind(Kind::kString), as_string(value) {}
    FormatArgument(const void* value)
        : kind(Kind::kPointer), as_unsigned(reinterpret_cast<uintptr_t>(value)) {}
};

/// Writes `pattern` with its fields replaced into `out`; returns the part of `out` that was written.
std::string_view format_arguments(std::span<char> out, std::string_view pattern,
                                  std::span<const FormatArgument> arguments);

/// Type-safe front of format_arguments(). A field without an argument prints as `{?}`.
template <typename... Arguments>
std::string_view format_to(std::span<char> out, std::string_view pattern, const Arguments&... arguments) {
    if constexpr (sizeof...(arguments) == 0) {
        return format_arguments(out, pattern, {});
    } else {
        const FormatArgument erased[] = {FormatArgument(arguments)...};
        return format_arguments(out, pattern, erased);
    }
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
    constexpr FixedString() = default;
    constexpr FixedString(std::string_view text) { append(text); }

    template <typename... Arguments>
    static FixedString formatted(std::string_view pattern, const Arguments&... arguments) {
        FixedString result;
        result.append_format(pattern, arguments...);
        return result;
    }

    template <typename... Arguments>
    void append_format(std::string_view pattern, const Arguments&... arguments) {
        size_ += format_to(std::span<char>(data_ + size_, Capacity - size_), pattern, arguments...).size();
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
    char data_[Capacity] = {};
};

}  // namespace bareflow
