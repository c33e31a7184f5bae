#include "arch/base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace bareflow {
namespace {

struct Lines : LogSink {
    void write_line(std::string_view line) override { lines.emplace_back(line); }
    std::vector<std::string> lines;
};

/// How a reader splits a record: an independent parser of the format that log.h promises.
std::vector<std::pair<std::string, std::string>> parsed(const std::string& line) {
    std::vector<std::pair<std::string, std::string>> fields;
    size_t i = line.find(' ');
    while (i != std::string::npos && line[i] == ' ') {
        size_t equals = line.find('=', i);
        std::string key = line.substr(i + 1, equals - i - 1), value;
        i = equals + 1;
        if (line[i] != '"') {
            size_t end = line.find_first_of(" \n", i);
            value = line.substr(i, end - i);
            i = end;
        } else {
            for (++i; line[i] != '"'; ++i) {
                if (line[i] != '\\') {
                    value += line[i];
                } else if (line[++i] == 'x') {
                    value += static_cast<char>(std::stoi(line.substr(i + 1, 2), nullptr, 16));
                    i += 2;
                } else {
                    value += line[i];
                }
            }
            ++i;
        }
        fields.emplace_back(key, value);
    }
    return fields;
}

TEST(LogRecord, IsOneLineOfKeysAndValues) {
    Lines sink;
    LogRecord(sink, "model")
        .field("source", "embedded")
        .field("bytes", 123u)
        .field("ms", 1.25)
        .field("ok", true);
    EXPECT_THAT(sink.lines, testing::ElementsAre("model source=embedded bytes=123 ms=1.250 ok=true\n"));
}

TEST(LogRecord, IsSentWhenItGoesOutOfScopeAndNotBefore) {
    Lines sink;
    {
        LogRecord record(sink, "event");
        record.field("a", -1);
        EXPECT_TRUE(sink.lines.empty());
    }
    EXPECT_THAT(sink.lines, testing::ElementsAre("event a=-1\n"));
}

TEST(LogRecord, AnyTextComesBackFromItsQuotes) {
    for (std::string value : {"", "two words", "say \"hi\"", "a\\b", "a=b", "line\nbreak\ttab", "\x7F\x01",
                              "Grüße 世界", "plain", "\xFF malformed \xC3", "\\x41", "\"", "\\"}) {
        Lines sink;
        LogRecord(sink, "e").field("key", value).field("after", 1);
        ASSERT_EQ(sink.lines.size(), 1u);
        const std::string& line = sink.lines[0];
        EXPECT_EQ(line.find('\n'), line.size() - 1) << line;
        auto fields = parsed(line);
        ASSERT_EQ(fields.size(), 2u) << line;
        EXPECT_EQ(fields[0].second, value);
        EXPECT_EQ(fields[1], std::make_pair(std::string("after"), std::string("1")));
    }
}

TEST(LogRecord, WhatIsTooLongIsCutSoThatTheLineStillParses) {
    for (std::string unit : {"a", " ", "\"", "\n", "é", "世", "😀 "}) {
        std::string value;
        while (value.size() < 3000) value += unit;
        Lines sink;
        LogRecord(sink, "e").field("long", value).field("number", 123456789).field("text", "t");
        const std::string& line = sink.lines.at(0);
        EXPECT_LE(line.size(), 1000u);
        EXPECT_GE(line.size(), 980u);
        auto fields = parsed(line);
        EXPECT_EQ(fields.at(0).second, value.substr(0, fields[0].second.size()));
        EXPECT_EQ(fields[0].second.size() % unit.size(), unit == "😀 " ? fields[0].second.size() % 5 : 0u);
        EXPECT_EQ(fields.back(), std::make_pair(std::string("cut"), std::string("true"))) << line;
    }
}

TEST(LogRecord, NeverWritesAPartOfANumber) {
    for (size_t length = 950; length <= 1000; ++length) {
        Lines sink;
        LogRecord(sink, "e").field("long", std::string(length, 'a')).field("number", 123456789);
        for (const auto& [key, value] : parsed(sink.lines.at(0))) {
            EXPECT_TRUE(key != "number" || value == "123456789") << value;
        }
        EXPECT_LE(sink.lines[0].size(), 1000u);
    }
}

}  // namespace
}  // namespace bareflow
