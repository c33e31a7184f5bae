// Convergence on histories that are made up.
#include "profiler/convergence.h"

#include <gtest/gtest.h>

#include <vector>

namespace bareflow {
namespace {

using History = std::vector<BootSummary>;

/// Boots that found nothing new; a token takes a millisecond, give or take two microseconds.
History quiet(uint32_t count, uint32_t first = 1) {
    History history;
    for (uint32_t i = 0; i < count; ++i) {
        const uint64_t wobble = i % 3 * 2000;
        history.push_back({.boot = first + i, .restored = 7, .ns_per_token = 1'000'000 + wobble});
    }
    return history;
}

TEST(Convergence, IsTwentyBootsWithoutAnythingNew) {
    EXPECT_FALSE(has_converged({}));
    EXPECT_FALSE(has_converged(quiet(1)));
    EXPECT_FALSE(has_converged(quiet(19)));
    EXPECT_TRUE(has_converged(quiet(20)));
    EXPECT_TRUE(has_converged(quiet(64)));
    EXPECT_TRUE(has_converged(quiet(3), {.quiet_boots = 3}));
}

TEST(Convergence, BeginsAnewWithAnythingNew) {
    const auto with = [](auto change, size_t at) {
        History history = quiet(40);
        change(history[at]);
        return has_converged(history);
    };
    const auto compiled = [](BootSummary& boot) { boot.compiled = 1; };
    const auto rejected = [](BootSummary& boot) { boot.rejected = 1; };
    const auto tried = [](BootSummary& boot) { boot.plans_tried = 1; };
    for (const size_t at : {20, 30, 39}) {
        EXPECT_FALSE(with(compiled, at)) << at;
        EXPECT_FALSE(with(rejected, at)) << at;
        EXPECT_FALSE(with(tried, at)) << at;
    }
    EXPECT_TRUE(with(compiled, 19)) << "20 boots ago and no longer of interest";
    EXPECT_TRUE(with(tried, 0));
    EXPECT_TRUE(with([](BootSummary& boot) { boot.restored = 0; }, 39)) << "restoring is nothing new";
}

TEST(Convergence, NeedsEveryPlanTried) {
    History history = quiet(30);
    history.back().plans_left = 1;
    EXPECT_FALSE(has_converged(history)) << "quiet, but only because nobody let it try";
    history.back().plans_left = 0;
    history[20].plans_left = 1;
    EXPECT_TRUE(has_converged(history)) << "what the last boot knows counts";
}

TEST(Convergence, NeedsASteadyTimeOfATokenOfLessThanOnePercent) {
    History history = quiet(20);
    for (size_t i = 0; i < history.size(); ++i) history[i].ns_per_token = i % 2 == 0 ? 1'000'000 : 1'009'000;
    EXPECT_NEAR(token_variation(history), 0.009, 0.0002);
    EXPECT_TRUE(has_converged(history));
    for (size_t i = 0; i < history.size(); ++i) history[i].ns_per_token = i % 2 == 0 ? 1'000'000 : 1'011'000;
    EXPECT_FALSE(has_converged(history));
    for (size_t i = 0; i < history.size(); ++i) history[i].ns_per_token = 1'000'000 + i * 2'000;
    EXPECT_FALSE(has_converged(history)) << "it still gets slower";

    history = quiet(20);
    for (const size_t disturbed : {3, 8, 15}) history[disturbed].ns_per_token *= 3;
    EXPECT_TRUE(has_converged(history)) << "a few boots on a busy machine";
    for (const size_t disturbed : {0, 1, 2, 4}) history[disturbed].ns_per_token *= 3;
    EXPECT_FALSE(has_converged(history));
}

TEST(Convergence, OfBootsThatWroteNothingIsNotKnown) {
    History history = quiet(20);
    for (BootSummary& boot : history) boot.ns_per_token = 0;
    EXPECT_EQ(token_variation(history), 1);
    EXPECT_FALSE(has_converged(history));
    for (size_t i = 0; i < 10; ++i) history[i].ns_per_token = 1'000'000;
    EXPECT_TRUE(has_converged(history)) << "half of them did";
    history[0].ns_per_token = 0;
    EXPECT_FALSE(has_converged(history));
}

TEST(Convergence, FiveHundredBootsAreEnough) {
    History history = quiet(10, 490);
    history.back().compiled = 1;
    EXPECT_EQ(history.back().boot, 499u);
    EXPECT_FALSE(has_converged(history));
    history.back().boot = 500;
    EXPECT_TRUE(has_converged(history));
    EXPECT_TRUE(has_converged(quiet(1, 1000)));
}

TEST(Convergence, StagesFollowFromWhatWasCompiledAndThenFromConvergence) {
    using enum Stage;
    EXPECT_EQ(next_stage(kFull, {}), kFull);
    EXPECT_EQ(next_stage(kFull, quiet(4)), kFull);
    History history = quiet(5);
    EXPECT_EQ(next_stage(kFull, history), kSmall);
    history[1].plans_tried = 30;
    EXPECT_EQ(next_stage(kFull, history), kSmall) << "the small stage has a tuner";
    history[4].compiled = 1;
    EXPECT_EQ(next_stage(kFull, history), kFull);
    EXPECT_EQ(next_stage(kFull, quiet(20)), kSmall) << "one after the other";
    EXPECT_EQ(next_stage(kSmall, quiet(19)), kSmall);
    EXPECT_EQ(next_stage(kSmall, quiet(20)), kNative);
    history.push_back({.boot = 6, .compiled = 1});
    EXPECT_EQ(next_stage(kSmall, history), kSmall);
    EXPECT_EQ(next_stage(kNative, {}), kNative) << "never back by itself";
}

}  // namespace
}  // namespace bareflow
