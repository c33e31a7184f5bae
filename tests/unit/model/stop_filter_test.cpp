#include "model/stop_filter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace bareflow {
namespace {

using ::testing::ElementsAre;

/// What is shown piece by piece, then at the end.
std::vector<std::string> shown(std::vector<std::string_view> stops, const std::vector<std::string>& pieces) {
    StopFilter filter(stops);
    std::vector<std::string> all;
    for (const std::string& piece : pieces) all.emplace_back(filter.next(piece));
    all.emplace_back(filter.finish());
    return all;
}

std::string joined(const std::vector<std::string>& pieces) {
    std::string all;
    for (const std::string& piece : pieces) all += piece;
    return all;
}

TEST(StopFilter, WithoutStopsEverythingGoesThroughAtOnce) {
    EXPECT_THAT(shown({}, {"a", "", "bc"}), ElementsAre("a", "", "bc", ""));
}

TEST(StopFilter, HoldsBackWhatMightBeTheBeginningOfAStop) {
    EXPECT_THAT(shown({"<end>"}, {"say <", "e", "nd", "> more", "x"}),
                ElementsAre("say ", "", "", "", "", ""));
    EXPECT_THAT(shown({"<end>"}, {"1 <", "2", " <en", "<end", "?"}),
                ElementsAre("1 ", "<2", " ", "<en", "<end?", ""));
    EXPECT_THAT(shown({"<end>"}, {"say <en"}), ElementsAre("say ", "<en"));
}

TEST(StopFilter, TheStopThatBeginsFirstCounts) {
    EXPECT_THAT(shown({"world", "lo w"}, {"hello world"}), ElementsAre("hel", ""));
    EXPECT_THAT(shown({"abcd", "bc"}, {"abc"}), ElementsAre("a", "")) << "the longer one never came";
    EXPECT_THAT(shown({"a"}, {"a"}), ElementsAre("", ""));
}

TEST(StopFilter, OverlappingBeginningsAreNotMissed) {
    EXPECT_EQ(joined(shown({"aab"}, {"a", "a", "a", "b", "c"})), "a");
    EXPECT_EQ(joined(shown({"\n\nUser"}, {"x\n", "\n", "\nUs", "er"})), "x\n");
}

TEST(StopFilter, CountsWhatWasShown) {
    const std::string_view stops[] = {"<end>"};
    StopFilter filter(stops);
    filter.next("12345<");
    EXPECT_EQ(filter.shown(), 5u);
    filter.next("6");
    EXPECT_EQ(filter.shown(), 7u);
    filter.next("8<end>");
    EXPECT_EQ(filter.shown(), 8u);
    EXPECT_TRUE(filter.stopped());
}

TEST(StopFilter, TheLongestPieceAndTheLongestStopFit) {
    const std::string stop(kLongestStop, 'x'), piece(StopFilter::kLongestPiece, 'y');
    EXPECT_EQ(joined(shown({stop}, {stop.substr(1), piece, stop.substr(1)})),
              stop.substr(1) + piece + stop.substr(1));
    EXPECT_EQ(joined(shown({stop}, {piece, stop.substr(1), "x" + piece.substr(1)})), piece);
}

// Against the plain definition: the text before the first place at which any of them begins.
TEST(StopFilter, DoesInPiecesWhatFindDoesInTheWhole) {
    std::mt19937 random(1);
    for (int round = 0; round < 20000; ++round) {
        const auto text = [&](size_t most) {
            std::string made;
            for (size_t left = random() % (most + 1); left > 0; --left)
                made += static_cast<char>('a' + random() % 2);
            return made;
        };
        const std::string stop1 = "a" + text(4), stop2 = "b" + text(5);
        std::vector<std::string> pieces;
        for (int i = 0; i < 6; ++i) pieces.push_back(text(4));
        const std::string whole = joined(pieces);
        const size_t end = std::min(whole.find(stop1), whole.find(stop2));
        // A stop that is inside a longer one may end the text before that one is complete: what begins first of those
        // that are complete counts.
        const std::string got = joined(shown({stop1, stop2}, pieces));
        if (end == std::string::npos) {
            ASSERT_EQ(got, whole);
        } else {
            ASSERT_TRUE(whole.starts_with(got));
            ASSERT_TRUE(whole.substr(got.size()).starts_with(stop1) ||
                        whole.substr(got.size()).starts_with(stop2));
            ASSERT_LE(got.size() - end, std::max(stop1.size(), stop2.size()));
        }
    }
}

}  // namespace
}  // namespace bareflow
