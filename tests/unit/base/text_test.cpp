#include "arch/base/text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <random>
#include <string>

namespace bareflow {
namespace {

TEST(ParseUnsigned, ReadsDecimalAndHexadecimal) {
    EXPECT_EQ(parse_unsigned("0"), 0u);
    EXPECT_EQ(parse_unsigned("007"), 7u);
    EXPECT_EQ(parse_unsigned("18446744073709551615"), UINT64_MAX);
    EXPECT_EQ(parse_unsigned("0xfFfFfFfFfFfFfFfF"), UINT64_MAX);
    EXPECT_EQ(parse_unsigned("0X10"), 16u);
}

TEST(ParseUnsigned, RefusesAllElse) {
    for (const char* text : {"", "0x", "-1", "+1", " 1", "1 ", "1a", "a", "0xg", "18446744073709551616",
                             "1.0", "0x10000000000000000", "99999999999999999999999"}) {
        EXPECT_FALSE(parse_unsigned(text).has_value()) << text;
    }
}

TEST(ParseDouble, AgreesWithStrtodOnShortNumbers) {
    for (const char* text :
         {"0", "0.8", "-1", "+1", ".5", "5.", "1e-5", "1E5", "0.95", "-0.0", "1e+2", "123456.789", "0.1",
          "0.30000000000000", "1e22", "1e-22", "999999999999999", "00000.10"}) {
        ASSERT_TRUE(parse_double(text).has_value()) << text;
        EXPECT_EQ(*parse_double(text), std::strtod(text, nullptr)) << text;
    }
}

TEST(ParseDouble, IsCloseToStrtodOnLongOnes) {
    std::mt19937_64 random(2);
    for (int i = 0; i < 5000; ++i) {
        char text[80];
        snprintf(text, sizeof text, "%lu.%lue%d", random(), random(), static_cast<int>(random() % 560) - 280);
        const double expected = std::strtod(text, nullptr);
        std::optional<double> value = parse_double(text);
        ASSERT_TRUE(value.has_value()) << text;
        ASSERT_NEAR(*value / expected, 1.0, 1e-13) << text;
    }
}

TEST(ParseDouble, KeepsToTheRangeOfADouble) {
    EXPECT_FALSE(parse_double("1e400").has_value());
    EXPECT_FALSE(parse_double("1e309").has_value());
    EXPECT_FALSE(parse_double("1e99999999999999999999").has_value());
    EXPECT_EQ(parse_double("0e400"), 0.0);
    EXPECT_EQ(parse_double("1e-400"), 0.0);
    EXPECT_NEAR(*parse_double("123456789012345e-322") / 1.23456789012345e-308, 1.0, 1e-12);
    EXPECT_TRUE(std::signbit(*parse_double("-0")));
}

TEST(ParseDouble, RefusesAllElse) {
    for (const char* text : {"",    ".",   "-",    "+",  "e5", "1e",    "1e+",   "1e5x", "1..2", "1.2.3",
                             "nan", "inf", "0x10", " 1", "1 ", "1e0x5", "1e0X5", "--1",  "+-1",  "1,5"}) {
        EXPECT_FALSE(parse_double(text).has_value()) << text;
    }
}

TEST(Words, AreTakenOneByOne) {
    std::string_view text = "  set\ttemp  0.5\r\n";
    EXPECT_EQ(take_word(text), "set");
    EXPECT_EQ(text, "temp  0.5");
    EXPECT_EQ(take_word(text), "temp");
    EXPECT_EQ(take_word(text), "0.5");
    EXPECT_EQ(take_word(text), "");
    EXPECT_EQ(trimmed(" \t a b \n"), "a b");
    EXPECT_EQ(trimmed(" \r\n"), "");
}

std::string encoded(uint32_t code_point) {
    auto tail = [&](int shift) { return static_cast<char>(0x80 | ((code_point >> shift) & 0x3F)); };
    if (code_point < 0x80) return {static_cast<char>(code_point)};
    if (code_point < 0x800) return {static_cast<char>(0xC0 | code_point >> 6), tail(0)};
    if (code_point < 0x10000) return {static_cast<char>(0xE0 | code_point >> 12), tail(6), tail(0)};
    return {static_cast<char>(0xF0 | code_point >> 18), tail(12), tail(6), tail(0)};
}

TEST(Utf8Length, AcceptsEveryScalarValueAndNoSurrogate) {
    for (uint32_t code_point = 0; code_point < 0x120000; ++code_point) {
        const std::string text = encoded(code_point);
        const bool valid = code_point <= 0x10FFFF && !(code_point >= 0xD800 && code_point <= 0xDFFF);
        ASSERT_EQ(utf8_length(text), valid ? static_cast<int>(text.size()) : 0) << std::hex << code_point;
        for (size_t cut = 1; valid && cut < text.size(); ++cut) {
            ASSERT_EQ(utf8_length(text.substr(0, cut)), -1) << std::hex << code_point;
        }
    }
}

TEST(Utf8Length, RefusesWhatNoSequenceBeginsWith) {
    for (std::string_view text : {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xF0\x80\x80\x80",
                                  "\xF5", "\xFF", "\xC3(", "\xE2\x82(", "\xF4\x90\x80\x80"}) {
        EXPECT_EQ(utf8_length(text), 0) << testing::PrintToString(text);
    }
    EXPECT_EQ(utf8_length(""), -1);
    EXPECT_EQ(utf8_length("a\xFF"), 1);
}

}  // namespace
}  // namespace bareflow
