// The first candidates of a vocabulary against a sort: none may be missing, whatever logits come, and few too many found.
#include "model/highest_logits.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "tests/unit/model/compute_support.h"

namespace bareflow {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kMost = std::numeric_limits<float>::max();

using Floats = std::vector<float>;

std::vector<Candidate> sorted(const Floats& logits) {
    std::vector<Candidate> all;
    for (uint32_t token = 0; token < logits.size(); ++token) {
        if (logits[token] > -kInf) all.push_back({logits[token], token});
    }
    std::sort(all.begin(), all.end(), is_before);
    return all;
}

/// How many candidates were found, if none of the first `count` is missing.
size_t expect_found(const Floats& logits, uint32_t count) {
    testing::CountingAllocator allocator;
    HighestLogits highest = HighestLogits::make(static_cast<uint32_t>(logits.size()), allocator).take();
    std::vector<Candidate> room(logits.size());
    const std::vector<Candidate> wanted = sorted(logits);
    const std::span<Candidate> found = highest.find(room.data(), logits.data(), count, wanted.at(0).logit);
    std::vector<bool> there(logits.size());
    for (size_t i = 0; i < found.size(); ++i) {
        EXPECT_EQ(found[i].logit, logits[found[i].token]);
        EXPECT_TRUE(i == 0 || found[i - 1].token < found[i].token) << "tokens ascend";
        there[found[i].token] = true;
    }
    const size_t all = std::min<size_t>(count, wanted.size());
    for (size_t i = 0; i < all; ++i) {
        EXPECT_TRUE(there[wanted[i].token]) << "candidate " << i << " of " << logits.size();
        if (!there[wanted[i].token]) break;
    }
    return found.size();
}

TEST(HighestLogits, AreAllFoundInVocabulariesOfAnySize) {
    std::mt19937 random(1);
    for (size_t size = 1; size < 700; size += 1 + size / 40) {
        const Floats logits = testing::random_floats(size, random, 4);
        for (const uint32_t count : {1u, 2u, 40u, 255u, 256u, 257u, 600u}) expect_found(logits, count);
    }
    for (const size_t size : {1024u, 4095u, 4096u, 4097u, 32000u, 128256u}) {
        const Floats logits = testing::random_floats(size, random, 4);
        for (const uint32_t count : {1u, 40u, 256u, 1000u}) expect_found(logits, count);
    }
}

TEST(HighestLogits, AreFewMoreThanAskedForWhereverTheLikelyOnesLie) {
    constexpr size_t kSize = 32000;
    std::mt19937 random(2);
    for (const size_t within :
         {size_t{100}, size_t{1500}, kSize}) {  // the likely tokens lie side by side, or not
        Floats logits = testing::random_floats(kSize, random, 2);
        for (size_t i = 0; i < 80; ++i)
            logits[259 + random() % (within == kSize ? kSize - 259 : within)] =
                10 + testing::random_floats(1, random, 2)[0];
        EXPECT_LE(expect_found(logits, 40), 160u) << within;
    }
}

TEST(HighestLogits, TiesAreAllFound) {
    std::mt19937 random(3);
    for (const float step : {1.0f, 0.25f}) {
        Floats logits = testing::random_floats(5000, random, 2);
        for (float& logit : logits) logit = std::round(logit / step) * step;
        for (const uint32_t count : {1u, 40u, 300u}) expect_found(logits, count);
    }
    EXPECT_EQ(expect_found(Floats(1000, 2.5f), 40), 1000u);
}

TEST(HighestLogits, WhatIsNoNumberIsNeverFoundAndHidesNothing) {
    std::mt19937 random(4);
    const float special[] = {kNan, -kInf, kMost, -kMost, 0.0f, -0.0f, -1e30f, 1e30f};
    for (int round = 0; round < 200; ++round) {
        Floats logits = testing::random_floats(64 + random() % 3000, random, 3);
        const uint32_t kinds = 1 + random() % 8, every = 1 + random() % 5;
        for (float& logit : logits) {
            if (random() % every == 0) logit = special[random() % kinds];
        }
        logits[random() % logits.size()] = 1.5f;  // one at least
        for (const uint32_t count : {1u, 40u, 500u}) expect_found(logits, count);
    }
}

}  // namespace
}  // namespace bareflow
