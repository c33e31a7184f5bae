// Errors: small, with a text that is there when it is told.
#include "arch/base/result.h"

#include <gtest/gtest.h>

#include <string>

namespace bareflow {
namespace {

static_assert(sizeof(Error) <= 8, "an Error is passed on in a register");

std::string text_of(const Error& error) { return std::string(error.message.view()); }

TEST(Error, SaysWhatItWasMadeOf) {
    const Error error = Error::make(ErrorCode::kDevice, "{} failed at sector {}", "virtio0", 7);
    EXPECT_EQ(error.code, ErrorCode::kDevice);
    EXPECT_EQ(text_of(error), "virtio0 failed at sector 7");
    EXPECT_EQ(text_of(invalid("no fields")), "no fields");
    EXPECT_EQ(text_of(Error{}), "");
}

TEST(Error, KeepsItsTextWhileOthersAreMade) {
    const Error first = invalid("the {} one", "first");
    for (uint32_t i = 1; i < ErrorText::kPlaces; ++i) static_cast<void>(invalid("number {}", i));
    EXPECT_EQ(text_of(first), "the first one");
}

TEST(Error, SaysSoWhenItsTextIsLostAndNeverTellsAnothers) {
    const Error first = invalid("the {} one", "first");
    for (uint32_t i = 0; i < ErrorText::kPlaces; ++i) static_cast<void>(invalid("number {}", i));
    EXPECT_EQ(text_of(first), "an error of which nothing more is known: too many others came after it");
}

TEST(Error, MayQuoteTheTextWhosePlaceItTakes) {
    const Error first = invalid("cause");
    for (uint32_t i = 1; i < ErrorText::kPlaces; ++i) static_cast<void>(invalid("number {}", i));
    EXPECT_EQ(text_of(invalid("because: {}", first.message.view())), "because: cause");
}

TEST(Error, CutsALongTextBetweenCharacters) {
    const std::string longest(ErrorText::kMostBytes - 1, 'a');
    EXPECT_EQ(text_of(invalid("{}{}", std::string_view(longest), "\u00e4")), longest);
}

}  // namespace
}  // namespace bareflow
