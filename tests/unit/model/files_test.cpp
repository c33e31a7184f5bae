#include "model/tools/files.h"

#include <gtest/gtest.h>

namespace bareflow {
namespace {

TEST(Files, WhatIsPrintableHasNoControlsAndIsUtf8) {
    const std::pair<std::string, std::string> cases[] = {
        {"", ""},
        {"plain, \xC3\xA9\xE2\x96\x81\xF0\x9F\x98\x80", "plain, \xC3\xA9\xE2\x96\x81\xF0\x9F\x98\x80"},
        {"\x1B[2J", "?[2J"},
        {std::string("a\0b\n\tc", 6), "a?b??c"},
        {"DEL\x7F.", "DEL?."},
        {"CSI \xC2\x9B"
         "2J \xC2\x80 \xC2\x9F",
         "CSI ?2J ? ?"},
        {"\xC2\xA0", "\xC2\xA0"},
        {"raw \x9B"
         "2J \xC3\xA9",
         "raw ?2J \xC3\xA9"},
        {"cut \xE2\x96", "cut ??"},
    };
    for (const auto& [text, expected] : cases) EXPECT_EQ(printable(text), expected);
}

}  // namespace
}  // namespace bareflow
