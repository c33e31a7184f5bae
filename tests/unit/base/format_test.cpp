#include "arch/base/format.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <limits>
#include <random>
#include <string>

namespace bareflow {
namespace {

template <typename... Arguments>
std::string formatted(const char* pattern, const Arguments&... arguments) {
    char buffer[400];
    return std::string(format_to(buffer, pattern, arguments...));
}

enum class Fruit : uint8_t { kApple = 3 };

TEST(Format, WritesEachTypeInItsPlainForm) {
    EXPECT_EQ(formatted("{} {} {}", 0, -1, 42u), "0 -1 42");
    EXPECT_EQ(formatted("{}", std::numeric_limits<int64_t>::min()), "-9223372036854775808");
    EXPECT_EQ(formatted("{}", std::numeric_limits<uint64_t>::max()), "18446744073709551615");
    EXPECT_EQ(formatted("{}", static_cast<uint8_t>(200)), "200");
    EXPECT_EQ(formatted("{}|{}|{}", 'a', true, false), "a|true|false");
    EXPECT_EQ(formatted("{}{}{}", "char*", std::string_view(" view "), std::string("string")),
              "char* view string");
    EXPECT_EQ(formatted("{}", Fruit::kApple), "3");
    EXPECT_EQ(formatted("{}", reinterpret_cast<const void*>(0xB8000)), "b8000");
}

TEST(Format, TakesMoreValuesThanThereAreRegisters) {
    const std::string_view text = "text";
    EXPECT_EQ(formatted("{} {} {:.1} {} {} {} {:.1} {} {} {:.1} {} {} {} {}", 1, text, 0.5, 'c', text, -2,
                        1.5, "C", text, 2.5, true, uint64_t{1} << 63, text, int8_t{-3}),
              "1 text 0.5 c text -2 1.5 C text 2.5 true 9223372036854775808 text -3");
}

TEST(Format, AgreesWithPrintfOnWidthsAndBases) {
    for (int64_t value : {int64_t{0}, int64_t{7}, int64_t{-7}, int64_t{1} << 40, -(int64_t{1} << 40)}) {
        char expected[100];
        snprintf(expected, sizeof expected, "[%6ld|%-6ld|%06ld|%lx|%016lx]", value, value, value, value,
                 value);
        EXPECT_EQ(formatted("[{:6}|{:<6}|{:06}|{:x}|{:016x}]", value, value, value, value, value), expected);
    }
}

TEST(Format, AlignsTextLeftAndNumbersRight) {
    EXPECT_EQ(formatted("[{:5}]", "ab"), "[ab   ]");
    EXPECT_EQ(formatted("[{:>5}]", "ab"), "[   ab]");
    EXPECT_EQ(formatted("[{:<5}]", 12), "[12   ]");
    EXPECT_EQ(formatted("[{:5}]", true), "[true ]");
    EXPECT_EQ(formatted("[{:3}]", "abcdef"), "[abcdef]");
    EXPECT_EQ(formatted("[{:05}]", "ab"), "[ab   ]");
}

TEST(Format, WritesAnIntegerAsACharacterIfAsked) {
    EXPECT_EQ(formatted("{:c}{:c}", 65, static_cast<uint8_t>('z')), "Az");
    EXPECT_EQ(formatted("[{:3c}]", 65), "[A  ]");
    EXPECT_EQ(formatted("{:c} {:c} {}", 1.5, "text", 2), "1.500000 text 2") << "of integers only";
    EXPECT_EQ(formatted("{:c}|{"), "{?}|{?}");
}

TEST(Format, DoublesAgreeWithPrintf) {
    std::mt19937_64 random(1);
    auto check = [](double value) {
        for (int precision = 0; precision <= 9; ++precision) {
            char expected[64];
            snprintf(expected, sizeof expected, "%.*f", precision, value);
            const std::string pattern = "{:." + std::to_string(precision) + "}";
            ASSERT_EQ(formatted(pattern.c_str(), value), expected) << std::hexfloat << value;
        }
    };
    for (double value : {0.0, -0.0, 0.5, 1.5, 2.5, -2.5, 0.15, 0.285, 1.005, 0.999999, 9.9999999999, 1e-9,
                         4.9e-324, 5e-10, 1e15, 1.7e19, 123456789.125, 0.0625, 1.0 / 3}) {
        check(value);
    }
    for (int i = 0; i < 20000; ++i) {
        double magnitude = std::ldexp(1.0, static_cast<int>(random() % 90) - 40);
        check(static_cast<double>(static_cast<int64_t>(random())) * 0x1p-63 * magnitude);
        check(static_cast<double>(random() % 100000) / 1000);  // near-ties in decimal
        check(static_cast<double>(random() % 100000) / 1024);  // exact ties
    }
}

TEST(Format, DoublesBeyondSixtyFourBitsUseAnExponent) {
    EXPECT_EQ(formatted("{:.2}", 1e20), "1.00e+20");
    EXPECT_EQ(formatted("{:.3}", -1.7976931348623157e308), "-1.798e+308");
    EXPECT_EQ(formatted("{:.1} {:.1} {:.1}", NAN, INFINITY, -INFINITY), "nan inf -inf");
    EXPECT_EQ(formatted("[{:06}]", INFINITY), "[   inf]");
    EXPECT_EQ(formatted("{}", 1.5), "1.500000");
    EXPECT_EQ(formatted("[{:8.2}|{:08.2}|{:<8.2}]", -1.5, -1.5, -1.5), "[   -1.50|-0001.50|-1.50   ]");
}

TEST(Format, BracesAndMissingArgumentsAreHarmless) {
    EXPECT_EQ(formatted("{{}} {}", 1), "{} 1");
    EXPECT_EQ(formatted("{{{}}}", 1), "{1}");
    EXPECT_EQ(formatted("{} {}", 1), "1 {?}");
    EXPECT_EQ(formatted("{}"), "{?}");
    EXPECT_EQ(formatted("a } b"), "a } b");
    EXPECT_EQ(formatted("tail {", 1), "tail 1");
    EXPECT_EQ(formatted("none", 1), "none");
}

TEST(Format, OutputThatDoesNotFitIsCutBetweenCharacters) {
    char four[4];
    EXPECT_EQ(format_to(four, "{}", 123456), "1234");
    EXPECT_EQ(format_to(four, "{}", "ab€x"), "ab");  // € takes three bytes, and nothing follows the cut
    EXPECT_EQ(format_to(four, "{}", "a€x"), "a€");
    EXPECT_EQ(format_to(four, "{:1000000000}", 1), "    ");
    EXPECT_EQ(format_to(std::span<char>(), "{}", 1), "");
    EXPECT_EQ(format_to(four, "{}", "\x80\x80\x80\x80\x80"), "\x80\x80\x80\x80");  // no UTF-8: anywhere
}

TEST(FixedString, AppendsUntilItIsFull) {
    FixedString<8> text("abc");
    text.append_format("{:x}", 0xDEu);
    EXPECT_EQ(text.view(), "abcde");
    text.append("fghij");
    EXPECT_EQ(text.view(), "abcdefgh");
    EXPECT_TRUE(text.full());
    text.truncate(2);
    EXPECT_EQ(text.view(), "ab");
    text.append("12345€");
    EXPECT_EQ(text.view(), "ab12345");
    text.clear();
    EXPECT_TRUE(text.empty());
    EXPECT_EQ(FixedString<4>::formatted("{}-{}", 1, 2).view(), "1-2");
}

}  // namespace
}  // namespace bareflow
