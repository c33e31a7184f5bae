// The log: one record a line, `event key=value key=value …`. Values with spaces, quotes, equals signs or controls are
// quoted with backslash escapes, so that a record is always one line and can be split without guessing. A record too
// long for its line ends with cut=true: a text that did not fit is shortened, a number that did not is left out.
#pragma once

#include <string_view>

#include "arch/base/format.h"

namespace bareflow {

/// Where finished lines go: COM2 in the kernel, the --log file on the host. A line arrives with its '\n'.
class LogSink {
 public:
    virtual void write_line(std::string_view line) = 0;

 protected:
    ~LogSink() = default;
};

/// Builds one record and sends it when it goes out of scope:
///     LogRecord(sink, "model").field("source", "embedded").field("bytes", 123);
class LogRecord {
 public:
    /// `event` is one word.
    LogRecord(LogSink& sink, const char* event);
    LogRecord(const LogRecord&) = delete;
    LogRecord& operator=(const LogRecord&) = delete;
    ~LogRecord();

    LogRecord& field(const char* key, std::string_view value);
    LogRecord& field(const char* key, const char* value) { return field(key, std::string_view(value)); }
    /// A double prints with three decimals, an integer as it is, a bool as true or false.
    template <typename Value>
    requires(!std::convertible_to<Value, std::string_view>) LogRecord& field(const char* key, Value value) {
        static_assert(!std::same_as<Value, char>, "give a text");
        if constexpr (std::floating_point<Value>) {
            return number_field(key, static_cast<double>(value));
        } else if constexpr (std::same_as<Value, bool>) {
            return field(key, value ? "true" : "false");
        } else if constexpr (std::signed_integral<Value>) {
            return number_field(key, int64_t{value});
        } else {
            return number_field(key, static_cast<uint64_t>(value));
        }
    }

 private:
    static constexpr size_t kMaxLine = 1000;
    static constexpr std::string_view kCut = " cut=true";

    LogRecord& number_field(const char* key, double value);
    LogRecord& number_field(const char* key, int64_t value);
    LogRecord& number_field(const char* key, uint64_t value);
    LogRecord& append_number(const char* key, std::string_view number);
    /// Bytes that fields may still take: the mark and the newline always fit.
    size_t room() const { return kMaxLine - kCut.size() - 1 - line_.size(); }

    LogSink& sink_;
    FixedString<kMaxLine> line_;
    bool cut_ = false;
};

}  // namespace bareflow
