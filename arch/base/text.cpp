#include "arch/base/text.h"

namespace bareflow {
namespace {

constexpr int digit_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return 16;
}

constexpr uint64_t kMaxExponent = 400;  // beyond every double's

/// value * 10^exponent, by powers that are finite themselves. One step, and so one rounding, within ±22.
double scaled_by_power_of_ten(double value, int exponent) {
    constexpr int kLargestStep = 300;
    for (int left = exponent < 0 ? -exponent : exponent; left > 0 && value != 0;) {
        const int step = left < kLargestStep ? left : kLargestStep;
        double power = 1;
        for (int i = 0; i < step; ++i) power *= 10;
        value = exponent < 0 ? value / power : value * power;
        if (__builtin_isinf(value)) break;
        left -= step;
    }
    return value;
}

}  // namespace

std::optional<uint64_t> parse_unsigned(std::string_view text) {
    int base = 10;
    if (text.starts_with("0x") || text.starts_with("0X")) {
        base = 16;
        text.remove_prefix(2);
    }
    if (text.empty()) return std::nullopt;
    uint64_t value = 0;
    for (char c : text) {
        int digit = digit_value(c);
        if (digit >= base) return std::nullopt;
        if (__builtin_mul_overflow(value, static_cast<uint64_t>(base), &value) ||
            __builtin_add_overflow(value, static_cast<uint64_t>(digit), &value)) {
            return std::nullopt;
        }
    }
    return value;
}

std::optional<double> parse_double(std::string_view text) {
    bool negative = text.starts_with('-');
    if (negative || text.starts_with('+')) text.remove_prefix(1);

    uint64_t mantissa = 0;
    int exponent = 0;
    bool any_digit = false, after_point = false;
    size_t i = 0;
    for (; i < text.size(); ++i) {
        char c = text[i];
        if (c == '.' && !after_point) {
            after_point = true;
        } else if (c >= '0' && c <= '9') {
            any_digit = true;
            if (mantissa < 100'000'000'000'000) {  // 15 digits are exact in a double; more only shift
                mantissa = mantissa * 10 + static_cast<uint64_t>(c - '0');
                exponent -= after_point;
            } else {
                exponent += !after_point;
            }
        } else {
            break;
        }
    }
    if (!any_digit) return std::nullopt;
    if (i < text.size()) {
        if (text[i] != 'e' && text[i] != 'E') return std::nullopt;
        text.remove_prefix(i + 1);
        bool negative_exponent = text.starts_with('-');
        if (negative_exponent || text.starts_with('+')) text.remove_prefix(1);
        const bool hexadecimal = text.starts_with("0x") || text.starts_with("0X");
        std::optional<uint64_t> digits = hexadecimal ? std::nullopt : parse_unsigned(text);
        if (!digits || *digits > kMaxExponent) return std::nullopt;
        exponent += negative_exponent ? -static_cast<int>(*digits) : static_cast<int>(*digits);
    }
    double value = scaled_by_power_of_ten(static_cast<double>(mantissa), exponent);
    if (__builtin_isinf(value)) return std::nullopt;
    return negative ? -value : value;
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
    while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
    return text;
}

std::string_view take_word(std::string_view& text) {
    text = trimmed(text);
    size_t end = 0;
    while (end < text.size() && !is_space(text[end])) ++end;
    std::string_view word = text.substr(0, end);
    text = trimmed(text.substr(end));
    return word;
}

int utf8_length(std::string_view text) {
    if (text.empty()) return -1;
    auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
    unsigned char lead = byte(0);
    if (lead < 0x80) return 1;
    int length = lead >= 0xC2 && lead <= 0xDF   ? 2
                 : (lead & 0xF0) == 0xE0        ? 3
                 : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                : 0;
    if (length == 0) return 0;
    // The second byte's range excludes overlong forms, surrogates and what lies beyond U+10FFFF.
    unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    for (int i = 1; i < length; ++i) {
        if (static_cast<size_t>(i) == text.size()) return -1;
        if (byte(i) < low || byte(i) > high) return 0;
        low = 0x80;
        high = 0xBF;
    }
    return length;
}

}  // namespace bareflow
