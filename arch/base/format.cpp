#include "arch/base/format.h"

#include <algorithm>

namespace bareflow {
namespace {

class Writer {
 public:
    explicit Writer(std::span<char> out) : out_(out) {}
    void put(char c) { put(std::string_view(&c, 1)); }
    void put(std::string_view text) {
        size_t fitting = whole_characters(text, out_.size() - size_);
        for (char c : text.substr(0, fitting)) out_[size_++] = c;
        if (fitting < text.size()) out_ = out_.first(size_);  // nothing may follow what was cut
    }
    void fill(char c, size_t count) {
        while (count-- > 0 && size_ < out_.size()) put(c);
    }
    std::string_view written() const { return {out_.data(), size_}; }

 private:
    std::span<char> out_;
    size_t size_ = 0;
};

struct Field {
    char align = 0;  ///< '<', '>' or 0: numbers right, text left
    bool zeros = false;
    size_t width = 0;
    size_t precision = 6;
    char type = 0;  ///< 'x', 'c' or 0
};

/// Parses what stands between '{' and '}'.
Field parse_field(std::string_view text) {
    Field field;
    size_t i = 0;
    if (i < text.size() && text[i] == ':') ++i;
    if (i < text.size() && (text[i] == '<' || text[i] == '>')) field.align = text[i++];
    if (i < text.size() && text[i] == '0') {
        field.zeros = true;
        ++i;
    }
    for (; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i)
        field.width = field.width * 10 + (text[i] - '0');
    if (i < text.size() && text[i] == '.') {
        field.precision = 0;
        for (++i; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i) {
            field.precision = field.precision * 10 + (text[i] - '0');
        }
    }
    if (i < text.size()) field.type = text[i];
    return field;
}

constexpr size_t kMaxNumber = 64;

std::string_view unsigned_digits(char (&buffer)[kMaxNumber], uint64_t value, unsigned base) {
    char* p = buffer + kMaxNumber;
    do {
        *--p = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    return {p, static_cast<size_t>(buffer + kMaxNumber - p)};
}

/// Digits written backwards from the end of a buffer.
class Backwards {
 public:
    explicit Backwards(char (&buffer)[kMaxNumber]) : end_(buffer + kMaxNumber), p_(end_) {}
    void put(char c) { *--p_ = c; }
    void put_digits(uint64_t value, size_t at_least) {
        for (; value != 0 || at_least > 0; value /= 10, at_least -= at_least > 0) {
            put(static_cast<char>('0' + value % 10));
        }
    }
    std::string_view text() const { return {p_, static_cast<size_t>(end_ - p_)}; }

 private:
    char* end_;
    char* p_;
};

constexpr size_t kMaxPrecision = 9;

/// whole.fraction, `precision` decimals, rounded to nearest (ties to even) from the value's exact binary digits.
void put_fixed(Backwards& out, double value, size_t precision) {
    uint64_t scale = 1;
    for (size_t i = 0; i < precision; ++i) scale *= 10;
    uint64_t whole = static_cast<uint64_t>(value);
    // What is left is mantissa / 2^shift with mantissa < 2^53; times the scale it stays below 2^83.
    constexpr int kMantissaBits = 52, kExponentBias = 1075, kLargestShift = 120;
    const uint64_t bits = __builtin_bit_cast(uint64_t, value - static_cast<double>(whole));
    const uint64_t stored = bits & ((uint64_t{1} << kMantissaBits) - 1);
    const int exponent = static_cast<int>(bits >> kMantissaBits);
    const int shift = kExponentBias - exponent;
    uint64_t fraction = 0;
    if (exponent != 0 && shift <= kLargestShift) {
        using Wide = unsigned __int128;
        const Wide scaled = Wide{stored | (uint64_t{1} << kMantissaBits)} * scale;
        const Wide rest = scaled & ((Wide{1} << shift) - 1), half = Wide{1} << (shift - 1);
        fraction = static_cast<uint64_t>(scaled >> shift);
        const bool odd = (precision == 0 ? whole : fraction) & 1;
        if (rest > half || (rest == half && odd)) ++fraction;
    }
    if (fraction >= scale) {
        ++whole;
        fraction -= scale;
    }
    out.put_digits(fraction, precision);
    if (precision > 0) out.put('.');
    out.put_digits(whole, 1);
}

/// Digits of a finite, non-negative value.
std::string_view double_digits(char (&buffer)[kMaxNumber], double value, size_t precision) {
    constexpr double kLargestFixed = 1.8e19;  // whole parts up to here fit in 64 bits
    if (precision > kMaxPrecision) precision = kMaxPrecision;
    Backwards out(buffer);
    if (value >= kLargestFixed) {
        unsigned exponent = 0;
        for (; value >= 10; value /= 10) ++exponent;
        out.put_digits(exponent, 2);
        out.put('+');
        out.put('e');
    }
    put_fixed(out, value, precision);
    return out.text();
}

void put_value(Writer& out, const Field& field, FormatKind kind, va_list& values) {
    char buffer[kMaxNumber];
    std::string_view body;
    bool negative = false, numeric = true, zeros = field.zeros;
    const bool integer = kind == FormatKind::kSigned || kind == FormatKind::kUnsigned;
    if (field.type == 'c' && integer) kind = FormatKind::kChar;
    switch (kind) {
        case FormatKind::kNone:
            body = "{?}";
            numeric = false;
            break;
        case FormatKind::kSigned:
        case FormatKind::kUnsigned:
        case FormatKind::kPointer: {
            const auto bits = va_arg(values, uint64_t);
            const unsigned base = field.type == 'x' || kind == FormatKind::kPointer ? 16 : 10;
            negative = kind == FormatKind::kSigned && static_cast<int64_t>(bits) < 0 && base == 10;
            body = unsigned_digits(buffer, negative ? 0 - bits : bits, base);
            break;
        }
        case FormatKind::kBool:
            body = va_arg(values, uint64_t) != 0 ? "true" : "false";
            numeric = false;
            break;
        case FormatKind::kChar:
            buffer[0] = static_cast<char>(va_arg(values, uint64_t));
            body = {buffer, 1};
            numeric = false;
            break;
        case FormatKind::kString:
            body = va_arg(values, std::string_view);
            numeric = false;
            break;
        case FormatKind::kCString:
            body = va_arg(values, const char*);
            numeric = false;
            break;
        case FormatKind::kDouble: {
            const auto value = va_arg(values, double);
            negative = __builtin_signbit(value) && value == value;
            if (value != value || __builtin_isinf(value)) {
                body = value != value ? "nan" : "inf";
                zeros = false;
            } else {
                body = double_digits(buffer, negative ? -value : value, field.precision);
            }
            break;
        }
    }
    size_t size = body.size() + negative;
    size_t padding = field.width > size ? field.width - size : 0;
    bool right = field.align == '>' || (field.align == 0 && numeric);
    zeros = zeros && numeric && right;
    if (right && !zeros) out.fill(' ', padding);
    if (negative) out.put('-');
    if (zeros) out.fill('0', padding);
    out.put(body);
    if (!right) out.fill(' ', padding);
}

}  // namespace

std::string_view format_list(std::span<char> out, const char* pattern, FormatKinds kinds, va_list values) {
    Writer writer(out);
    va_list rest;  // what is passed as va_list is a pointer here, and put_value() wants the list itself
    va_copy(rest, values);
    for (; *pattern != '\0'; ++pattern) {
        const char c = *pattern;
        if ((c == '{' || c == '}') && pattern[1] == c) {
            writer.put(c);
            ++pattern;
        } else if (c == '{') {
            const char* const field = pattern + 1;
            while (*pattern != '}' && pattern[1] != '\0') ++pattern;
            const auto kind = static_cast<FormatKind>(kinds % (1u << kFormatKindBits));
            put_value(writer, parse_field({field, std::max(field, pattern)}), kind, rest);
            kinds >>= kFormatKindBits;
        } else {
            writer.put(c);
        }
    }
    va_end(rest);
    return writer.written();
}

size_t format_values(char* out, size_t room, const char* pattern, FormatKinds kinds, ...) {
    va_list values;
    va_start(values, kinds);
    const size_t size = format_list({out, room}, pattern, kinds, values).size();
    va_end(values);
    return size;
}

}  // namespace bareflow
