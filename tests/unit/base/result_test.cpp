// Errors: small, with a text that is there when it is told.
#include "arch/base/result.h"

#include <gtest/gtest.h>

#include <string>

namespace bareflow {
namespace {

static_assert(sizeof(Error) == 4 && sizeof(Result<void>) == 4 && sizeof(Result<uint32_t>) == 8);
// So that it comes back in registers (System V ABI, AMD64 supplement, 3.2.3).
static_assert(std::is_trivially_copyable_v<Result<const char*>> && sizeof(Result<const char*>) == 16);

std::string text_of(const Error& error) { return std::string(error.message()); }

TEST(Error, SaysWhatItWasMadeOf) {
    const Error error = Error::make(ErrorCode::kDevice, "{} failed at sector {}", "virtio0", 7);
    EXPECT_EQ(error.code(), ErrorCode::kDevice);
    EXPECT_EQ(text_of(error), "virtio0 failed at sector 7");
    EXPECT_EQ(text_of(invalid("no fields")), "no fields");
}

TEST(Error, KeepsItsTextWhileOthersAreMade) {
    const Error first = invalid("the {} one", "first");
    for (uint32_t i = 1; i < Error::kPlaces; ++i) static_cast<void>(invalid("number {}", i));
    EXPECT_EQ(text_of(first), "the first one");
}

TEST(Error, SaysSoWhenItsTextIsLostAndNeverTellsAnothers) {
    const Error first = invalid("the {} one", "first");
    for (uint32_t i = 0; i < Error::kPlaces; ++i) static_cast<void>(invalid("number {}", i));
    EXPECT_EQ(text_of(first), "an error of which nothing more is known: too many others came after it");
}

TEST(Error, MayQuoteTheTextWhosePlaceItTakes) {
    const Error first = invalid("cause");
    for (uint32_t i = 1; i < Error::kPlaces; ++i) static_cast<void>(invalid("number {}", i));
    EXPECT_EQ(text_of(invalid("because: {}", first.message())), "because: cause");
}

TEST(Result, KeepsAValueOrAnError) {
    Result<std::string> text(std::string("a text that is too long to stand in the string itself"));
    const Result<std::string> moved(std::move(text));
    ASSERT_TRUE(moved.ok());
    EXPECT_EQ(moved.value(), "a text that is too long to stand in the string itself");
    const Result<std::string> failed(Error::make(ErrorCode::kInvalid, "no text"));
    ASSERT_FALSE(failed.ok());
    EXPECT_EQ(failed.error().code(), ErrorCode::kInvalid);
    EXPECT_EQ(text_of(failed.error()), "no text");
}

TEST(Error, CutsALongTextBetweenCharacters) {
    const std::string longest(Error::kMostBytes - 1, 'a');
    EXPECT_EQ(text_of(invalid("{}{}", std::string_view(longest), "\u00e4")), longest);
}

}  // namespace
}  // namespace bareflow
