// Reading numbers and words from text, without locale or libc. Nothing throws; what does not fit is nullopt.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace bareflow {

/// A whole decimal number, or hexadecimal after 0x; nothing may follow it.
std::optional<uint64_t> parse_unsigned(std::string_view text);
/// A decimal fraction such as 0.8, -1 or 1e-5; nothing may follow it. Rounded correctly with up to 15 digits and
/// exponents within ±22, to a relative 1e-14 else. What is too large for a double is nullopt, what is too small 0.
std::optional<double> parse_double(std::string_view text);

constexpr bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
/// `text` without the white space at both its ends.
std::string_view trimmed(std::string_view text);
/// Splits off and returns the first word of `text`; `text` keeps the rest, trimmed.
std::string_view take_word(std::string_view& text);

/// Length in bytes (1 to 4) of the well-formed UTF-8 sequence that `text` starts with; 0 if it is malformed, and
/// -1 if it is well-formed so far but cut off (Unicode 15, table 3-7).
int utf8_length(std::string_view text);

}  // namespace bareflow
