// The sampler against exact probabilities: what each filter keeps, how often each token is drawn, and that it
// survives whatever logits and options come.
#include "model/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "tests/unit/model/compute_support.h"

namespace bareflow {
namespace {

using testing::CountingAllocator;
using testing::operators_of;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

using Floats = std::vector<float>;
using Tokens = std::vector<uint32_t>;

SamplingOptions no_filters(float temperature = 1.0f) {
    SamplingOptions options;
    options.temperature = temperature;
    options.top_k = 0;
    options.top_p = 1.0f;
    options.min_p = 0.0f;
    return options;
}

class SamplerTest : public ::testing::Test {
 protected:
    uint32_t sample(Sampler& sampler, const Floats& logits, const SamplingOptions& options,
                    const Tokens& recent = {}) {
        Operators& operators = operators_of(NumericClass::kMulAdd);
        const Logits given{logits.data(), operators.argmax(logits.data(), logits.size())};
        return sampler.sample(given, options, recent, operators);
    }
    Sampler make(size_t vocab_size, uint64_t seed = 1) {
        Sampler sampler = Sampler::make(static_cast<uint32_t>(vocab_size), allocator_).take();
        sampler.seed(seed);
        return sampler;
    }
    std::vector<int> histogram(const Floats& logits, const SamplingOptions& options, int draws,
                               const Tokens& recent = {}) {
        Sampler sampler = make(logits.size(), 20);
        std::vector<int> counts(logits.size());
        for (int i = 0; i < draws; ++i) ++counts[sample(sampler, logits, options, recent)];
        return counts;
    }

    CountingAllocator allocator_;
};

/// llama.cpp's chain by its textbook definition: sort, cut, normalise; in double.
std::vector<double> exact_probabilities(const Floats& logits, const SamplingOptions& options,
                                        const Tokens& recent) {
    std::vector<double> values(logits.begin(), logits.end());
    Tokens unique(recent.end() - static_cast<long>(std::min<size_t>(recent.size(), 64)), recent.end());
    std::sort(unique.begin(), unique.end());
    unique.erase(std::unique(unique.begin(), unique.end()), unique.end());
    for (uint32_t token : unique) {
        values[token] *= values[token] > 0 ? 1.0 / options.repeat_penalty : options.repeat_penalty;
    }
    Tokens order(values.size());
    std::iota(order.begin(), order.end(), 0u);
    std::stable_sort(order.begin(), order.end(),
                     [&](uint32_t a, uint32_t b) { return values[a] > values[b]; });
    if (options.top_k > 0 && options.top_k < order.size()) order.resize(options.top_k);
    const auto shares = [&](double temperature) {
        std::vector<double> result;
        for (uint32_t token : order)
            result.push_back(std::exp((values[token] - values[order[0]]) / temperature));
        const double total = std::accumulate(result.begin(), result.end(), 0.0);
        for (double& share : result) share /= total;
        return result;
    };
    if (options.top_p < 1) {
        const std::vector<double> p = shares(1);
        size_t kept = 0;
        for (double sum = 0; kept < order.size() && (kept == 0 || sum < options.top_p); ++kept)
            sum += p[kept];
        order.resize(kept);
    }
    if (options.min_p > 0) {
        const std::vector<double> p = shares(1);
        size_t kept = 1;
        while (kept < order.size() && p[kept] >= options.min_p * p[0]) ++kept;
        order.resize(kept);
    }
    const std::vector<double> p = shares(options.temperature);
    std::vector<double> result(values.size());
    for (size_t i = 0; i < order.size(); ++i) result[order[i]] = p[i];
    return result;
}

struct Filters {
    float temperature;
    uint32_t top_k;
    float top_p, min_p, repeat_penalty;
};

class SamplerDistribution : public SamplerTest, public ::testing::WithParamInterface<Filters> {};

TEST_P(SamplerDistribution, MatchesTheExactProbabilities) {
    std::mt19937 random(30);
    const Floats logits = testing::random_floats(60, random, 2.5f);
    const Tokens recent = {3, 9, 9, 14, 3, 59};
    SamplingOptions options;
    options.temperature = GetParam().temperature;
    options.top_k = GetParam().top_k;
    options.top_p = GetParam().top_p;
    options.min_p = GetParam().min_p;
    options.repeat_penalty = GetParam().repeat_penalty;
    constexpr int kDraws = 100000;
    const std::vector<double> p = exact_probabilities(logits, options, recent);
    const std::vector<int> counts = histogram(logits, options, kDraws, recent);

    double chi_square = 0, rare_expected = 0, rare_count = 0;
    int cells = 0;
    const auto add_cell = [&](double expected, double count) {
        chi_square += (count - expected) * (count - expected) / expected;
        ++cells;
    };
    for (size_t token = 0; token < p.size(); ++token) {
        if (p[token] == 0) {
            EXPECT_EQ(counts[token], 0) << "token " << token << " was filtered out";
        } else if (p[token] * kDraws < 10) {  // too rare for the statistic: taken together
            rare_expected += p[token] * kDraws;
            rare_count += counts[token];
        } else {
            add_cell(p[token] * kDraws, counts[token]);
        }
    }
    if (rare_expected >= 5) add_cell(rare_expected, rare_count);
    const double freedom = cells - 1;
    // Mean `freedom`, deviation sqrt(2 freedom): four of them. The seed is fixed, so this passes always or
    // never.
    EXPECT_LE(chi_square, freedom + 4 * std::sqrt(2 * freedom) + 1e-9);
}

INSTANTIATE_TEST_SUITE_P(
    FilterCombinations, SamplerDistribution,
    ::testing::Values(Filters{1.0f, 0, 1.0f, 0.0f, 1.0f}, Filters{0.8f, 0, 1.0f, 0.0f, 1.0f},
                      Filters{2.0f, 0, 1.0f, 0.0f, 1.0f}, Filters{1.0f, 7, 1.0f, 0.0f, 1.0f},
                      Filters{1.0f, 1, 1.0f, 0.0f, 1.0f}, Filters{1.0f, 1000, 1.0f, 0.0f, 1.0f},
                      Filters{1.0f, 0, 0.9f, 0.0f, 1.0f}, Filters{1.5f, 0, 0.5f, 0.0f, 1.0f},
                      Filters{1.0f, 0, 0.999f, 0.0f, 1.0f}, Filters{1.0f, 0, 1.0f, 0.05f, 1.0f},
                      Filters{0.7f, 0, 1.0f, 0.4f, 1.0f}, Filters{1.0f, 20, 0.8f, 0.0f, 1.0f},
                      Filters{1.0f, 20, 1.0f, 0.1f, 1.0f}, Filters{1.0f, 0, 0.95f, 0.02f, 1.0f},
                      Filters{0.8f, 40, 0.95f, 0.05f, 1.0f}, Filters{0.8f, 40, 0.95f, 0.05f, 1.3f},
                      Filters{1.0f, 0, 1.0f, 0.0f, 1.5f}));

TEST_F(SamplerTest, AFixedSeedGivesTheRecordedSequence) {
    Floats logits(50);
    for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(i * 7 % 50) / 12;
    SamplingOptions options;  // the defaults
    Sampler sampler = make(logits.size(), 42);
    const auto draw = [&] {
        Tokens tokens;
        for (int i = 0; i < 16; ++i) tokens.push_back(sample(sampler, logits, options, tokens));
        return tokens;
    };
    const Tokens first = draw();
    EXPECT_EQ(first, (Tokens{41, 14, 49, 34, 40, 28, 7, 28, 11, 48, 27, 42, 33, 6, 20, 26}));
    EXPECT_NE(draw(), first) << "the sequence goes on";
    sampler.seed(42);
    EXPECT_EQ(draw(), first);
    sampler.seed(43);
    EXPECT_NE(draw(), first);
}

TEST_F(SamplerTest, DrawsFromXoshiro256PlusPlusSeededBySplitmix64) {
    // The generator's published outputs for a state that splitmix64 makes from 0 (also in Rust's
    // rand_xoshiro).
    constexpr uint64_t kOutputs[] = {5987356902031041503u,  7051070477665621255u,  6633766593972829180u,
                                     211316841551650330u,   9136120204379184874u,  379361710973160858u,
                                     15813423377499357806u, 15596884590815070553u, 5439680534584881407u,
                                     1369371744833522710u};
    constexpr int kBits = 16;  // of equally probable tokens: a draw is the upper bits of an output
    Sampler sampler = make(1u << kBits, 0);
    const Floats equal(1u << kBits, 2.0f);
    for (uint64_t output : kOutputs) EXPECT_EQ(sample(sampler, equal, no_filters()), output >> (64 - kBits));
}

TEST_F(SamplerTest, TemperatureZeroIsGreedyAndTiesGoToTheLowestId) {
    Sampler sampler = make(5);
    const SamplingOptions greedy = no_filters(0.0f);
    EXPECT_EQ(sample(sampler, {1, 4, 2, 4, 3}, greedy), 1u);
    EXPECT_EQ(sample(sampler, {kNan, 4, kInf, kInf, 3}, greedy), 2u);
    EXPECT_EQ(sample(sampler, {0, 0, 0, 0, 0}, greedy), 0u);
    EXPECT_EQ(sample(sampler, {1, 4, 2, 4, 3}, no_filters(-1.0f)), 1u);
    EXPECT_EQ(sample(sampler, {1, 4, 2, 4, 3}, no_filters(kNan)), 1u);
}

TEST_F(SamplerTest, TiesAtTheEdgeOfAFilterGoToTheLowerIds) {
    const Floats logits = {1, 5, 2, 2, 2, 2};
    SamplingOptions options = no_filters(1.0f);
    options.top_k = 3;
    std::vector<int> counts = histogram(logits, options, 2000);
    for (size_t token : {1, 2, 3}) EXPECT_GT(counts[token], 0) << token;
    for (size_t token : {0, 4, 5}) EXPECT_EQ(counts[token], 0) << token;

    options = no_filters(1.0f);
    options.top_p = 0.94f;  // the best has 0.821, each of the equal four 0.041: three of them make 0.944
    counts = histogram(logits, options, 2000);
    for (size_t token : {1, 2, 3, 4}) EXPECT_GT(counts[token], 0) << token;
    for (size_t token : {0, 5}) EXPECT_EQ(counts[token], 0) << token;
}

TEST_F(SamplerTest, TopPStopsWhereTheSumIsReachedExactly) {
    SamplingOptions options = no_filters(1.0f);
    options.top_p = 0.5f;
    const std::vector<int> counts = histogram({1.5f, 1.5f, 1.5f, 1.5f}, options, 200);
    EXPECT_EQ(counts[0] + counts[1], 200);
    EXPECT_GT(counts[1], 0);
}

TEST_F(SamplerTest, TheRepeatPenaltyChangesAGreedyChoice) {
    Sampler sampler = make(4);
    SamplingOptions options = no_filters(0.0f);
    options.repeat_penalty = 1.5f;
    EXPECT_EQ(sample(sampler, {3.0f, 2.5f, 1, 0}, options, {1}), 0u);
    EXPECT_EQ(sample(sampler, {3.0f, 2.5f, 1, 0}, options, {0}), 1u);
    EXPECT_EQ(sample(sampler, {3.0f, 1.9f, 1, 0}, options, {0, 0, 0}), 0u)
        << "once, however often it occurred";
    EXPECT_EQ(sample(sampler, {-1.0f, -1.4f, -9, -9}, options, {0}), 1u) << "negative logits are multiplied";
    EXPECT_EQ(sample(sampler, {3.0f, 2.5f, 1, 0}, options, {99, 0xFFFFFFFF}), 0u)
        << "ids outside the vocabulary";
}

TEST_F(SamplerTest, TheRepeatPenaltyForgetsAfterItsWindow) {
    Sampler sampler = make(4);
    SamplingOptions options = no_filters(0.0f);
    options.repeat_penalty = 1.5f;
    Tokens recent(Sampler::kRepeatWindow, 3);
    recent[0] = 0;
    EXPECT_EQ(sample(sampler, {3.0f, 2.5f, 1, 0}, options, recent), 1u);
    recent.push_back(3);
    EXPECT_EQ(sample(sampler, {3.0f, 2.5f, 1, 0}, options, recent), 0u);
}

TEST_F(SamplerTest, ExtremeFiltersKeepTheBest) {
    const Floats logits = {0.5f, 2.0f, 1.9f, -1.0f, 2.0f};
    SamplingOptions options = no_filters(1.0f);
    options.top_p = 0.0f;
    EXPECT_EQ(histogram(logits, options, 100)[1], 100);
    options.top_p = -1.0f;
    EXPECT_EQ(histogram(logits, options, 100)[1], 100);
    options = no_filters(1.0f);
    options.top_k = 1;
    EXPECT_EQ(histogram(logits, options, 100)[1], 100);
    for (float min_p : {1.0f, 2.0f, kInf}) {
        options = no_filters(1.0f);
        options.min_p = min_p;
        const std::vector<int> counts = histogram(logits, options, 200);
        EXPECT_EQ(counts[1] + counts[4], 200) << "both of the best, and nothing else";
        EXPECT_GT(counts[4], 0);
    }
    options = no_filters(1e-30f);
    const std::vector<int> counts = histogram(logits, options, 200);
    EXPECT_EQ(counts[1] + counts[4], 200);
    options = no_filters(kInf);
    for (int count : histogram(logits, options, 1000)) EXPECT_GT(count, 100);
}

TEST_F(SamplerTest, UnusableLogitsAreNeverDrawn) {
    const Floats logits = {kNan, 1.0f, -kInf, 1.5f, kNan, -kInf};
    for (uint32_t top_k : {0u, 1u, 2u, 4u, 6u, 100u}) {
        for (float top_p : {1.0f, 0.99f, 0.3f}) {
            SamplingOptions options = no_filters(0.9f);
            options.top_k = top_k;
            options.top_p = top_p;
            const std::vector<int> counts = histogram(logits, options, 100);
            EXPECT_EQ(counts[1] + counts[3], 100);
        }
    }
}

TEST_F(SamplerTest, ThereIsAlwaysAnAnswer) {
    const SamplingOptions options = no_filters(1.0f);
    Sampler sampler = make(3);
    EXPECT_EQ(sample(sampler, {-kInf, -kInf, -kInf}, options), 0u);
    EXPECT_EQ(sample(sampler, {kNan, kNan, kNan}, options), 0u);
    EXPECT_EQ(sample(sampler, {kNan, -kInf, kNan}, options), 1u);
    EXPECT_EQ(sample(sampler, {1.0f, kInf, kInf}, options), 1u);
    const float huge = std::numeric_limits<float>::max();
    EXPECT_EQ(sample(sampler, {-huge, huge, -huge}, options), 1u);
    EXPECT_LT(sample(sampler, {huge, huge, huge}, options), 3u);
    Sampler single = make(1);
    EXPECT_EQ(sample(single, {-3.0f}, options), 0u);
    EXPECT_EQ(sample(single, {-3.0f}, SamplingOptions{}), 0u);
}

TEST_F(SamplerTest, RandomLogitsAndOptionsAlwaysGiveATokenThatTheFiltersKeep) {
    std::mt19937 random(31);
    std::uniform_real_distribution<float> unit(0.0f, 1.0f);
    for (int round = 0; round < 3000; ++round) {
        const size_t vocab_size = 1 + random() % 300;
        Floats logits = testing::random_floats(vocab_size, random, std::exp(8 * unit(random) - 4));
        if (round % 3 == 0) {
            for (float& logit : logits) logit = std::round(logit);  // many ties
        }
        SamplingOptions options;
        options.temperature = 0.1f + 2 * unit(random);
        options.top_k = random() % 3 == 0 ? 0 : random() % 320;
        options.top_p = random() % 3 == 0 ? 1.0f : unit(random);
        options.min_p = random() % 3 == 0 ? 0.0f : unit(random);
        const std::vector<double> p = exact_probabilities(logits, options, {});
        Sampler sampler = make(vocab_size, static_cast<uint64_t>(round));
        for (int i = 0; i < 5; ++i) ASSERT_GT(p[sample(sampler, logits, options)], 0.0) << "round " << round;
    }
}

TEST_F(SamplerTest, LargeVocabulariesAreCutWhereTheFiltersSay) {
    std::mt19937 random(33);
    for (const size_t vocab_size : {1024u, 32000u}) {
        for (int round = 0; round < 4; ++round) {
            Floats logits = testing::random_floats(vocab_size, random, 3);
            if (round % 2 == 0) {
                for (float& logit : logits) logit = std::round(4 * logit) / 4;  // many ties
            }
            SamplingOptions options;  // the defaults, but that nearly all are as likely
            options.temperature = 50;
            options.top_k = round < 2 ? 40 : 150;
            options.top_p = 1 - 0.05f * static_cast<float>(round % 2);
            options.min_p = 0;
            const std::vector<double> p = exact_probabilities(logits, options, {});
            const std::vector<int> counts = histogram(logits, options, 1500);
            for (size_t token = 0; token < vocab_size; ++token)
                ASSERT_EQ(counts[token] > 0, p[token] > 0) << "token " << token << " of " << vocab_size;
        }
    }
}

TEST_F(SamplerTest, RefusesAVocabularyThatItCannotServe) {
    EXPECT_FALSE(Sampler::make(0, allocator_).ok());
    EXPECT_FALSE(Sampler::make(0xFFFFFFFF, allocator_).ok());
    allocator_.fail_at = allocator_.made + 2;
    auto refused = Sampler::make(1000, allocator_);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code(), ErrorCode::kOutOfMemory);
    EXPECT_EQ(allocator_.live, 0);
}

TEST_F(SamplerTest, AllocatesNothingPerToken) {
    std::mt19937 random(32);
    const Floats logits = testing::random_floats(5000, random, 3.0f);
    Sampler sampler = make(logits.size());
    const int made = allocator_.made;
    SamplingOptions options;
    options.repeat_penalty = 1.1f;
    for (uint32_t top_k : {0u, 40u}) {
        options.top_k = top_k;
        for (int i = 0; i < 10; ++i) sample(sampler, logits, options, {1, 2, 3});
    }
    EXPECT_EQ(allocator_.made, made);
}

}  // namespace
}  // namespace bareflow
