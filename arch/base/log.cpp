#include "arch/base/log.h"

#include "arch/base/text.h"

namespace bareflow {
namespace {

using Number = FixedString<40>;

bool needs_quotes(std::string_view value) {
    if (value.empty()) return true;
    for (char c : value) {
        if (static_cast<unsigned char>(c) <= ' ' || c == '"' || c == '\\' || c == '=' || c == 0x7F)
            return true;
    }
    return false;
}

/// How one character stands within quotes; `c` may be a part of a UTF-8 sequence.
FixedString<4> escaped(char c) {
    if (c == '"' || c == '\\') return FixedString<4>::formatted("\\{}", c);
    const auto byte = static_cast<unsigned char>(c);
    if (byte < ' ' || byte == 0x7F) return FixedString<4>::formatted("\\x{:02x}", byte);
    FixedString<4> plain;
    plain.append({&c, 1});
    return plain;
}

}  // namespace

LogRecord::LogRecord(LogSink& sink, const char* event) : sink_(sink), line_(std::string_view(event)) {}

LogRecord& LogRecord::field(const char* key, std::string_view value) {
    constexpr size_t kSmallest = 4;  // ' ', '=' and two quotes
    if (std::string_view(key).size() + kSmallest > room()) {
        cut_ = true;
        return *this;
    }
    line_.append_format(" {}=", key);
    if (!needs_quotes(value) && value.size() <= room()) {
        line_.append(value);
        return *this;
    }
    line_.append("\"");
    for (size_t i = 0; i < value.size();) {
        const int length = utf8_length(value.substr(i));
        const size_t end = i + (length > 0 ? static_cast<size_t>(length) : 1);
        FixedString<8> character;
        for (; i < end; ++i) character.append(escaped(value[i]));
        if (character.size() + 1 > room()) {
            cut_ = true;
            break;
        }
        line_.append(character);
    }
    line_.append("\"");
    return *this;
}

LogRecord& LogRecord::append_number(const char* key, std::string_view number) {
    if (std::string_view(key).size() + number.size() + 2 > room()) {
        cut_ = true;
    } else {
        line_.append_format(" {}={}", key, number);
    }
    return *this;
}

LogRecord& LogRecord::number_field(const char* key, double value) {
    return append_number(key, Number::formatted("{:.3}", value));
}
LogRecord& LogRecord::number_field(const char* key, int64_t value) {
    return append_number(key, Number::formatted("{}", value));
}
LogRecord& LogRecord::number_field(const char* key, uint64_t value) {
    return append_number(key, Number::formatted("{}", value));
}

LogRecord::~LogRecord() {
    if (cut_) line_.append(kCut);
    line_.append("\n");
    sink_.write_line(line_);
}

}  // namespace bareflow
