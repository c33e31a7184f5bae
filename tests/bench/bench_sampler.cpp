// What choosing the next token costs beside the head's own argmax: llama.cpp's defaults, a vocabulary of Llama's size.
#include <cstdio>
#include <random>

#include "model/reference.h"
#include "model/sampler.h"
#include "model/tools/std_allocator.h"
#include "tests/bench/report.h"
#include "tests/bench/stopwatch.h"

namespace bareflow::bench {
namespace {

constexpr uint32_t kVocabulary = 32000;
constexpr size_t kTexts = 16;  ///< as many logits of their own: two megabytes, which no first cache holds

/// As a model's: most far below, some dozens near the best, and those among the first ids, which are the frequent ones.
std::vector<float> made_up_logits(std::mt19937& random) {
    std::normal_distribution<float> normal;
    std::vector<float> logits(kVocabulary);
    for (float& logit : logits) logit = 2.5f * normal(random) - 4;
    for (unsigned i = 0; i < 60; ++i)
        logits[259 + random() % 1500] = 8 - 0.25f * static_cast<float>(i) + normal(random);
    return logits;
}

}  // namespace

void bench_sampler(Report& report, const Settings& settings) {
    report.section("sampler", "the choice of a token among 32,000, beside the argmax that the head gives");
    Operators& operators = *reference_operators(NumericClass::kMulAdd, {}).take();
    StdAllocator allocator;
    Sampler sampler = Sampler::make(kVocabulary, allocator).take();
    std::mt19937 random(1);
    std::vector<std::vector<float>> logits;
    std::vector<uint32_t> best;
    for (size_t i = 0; i < kTexts; ++i) {
        logits.push_back(made_up_logits(random));
        best.push_back(operators.argmax(logits.back().data(), kVocabulary));
    }
    const SamplingOptions greedy{.temperature = 0}, defaults;
    Contest contest;
    for (const SamplingOptions* options : {&greedy, &defaults}) {
        contest.add("sample", [&, options](size_t i) {
            const Logits given{logits[i % kTexts].data(), best[i % kTexts]};
            sampler.sample(given, *options, {}, operators);
        });
    }
    contest.run(settings.rounds, settings.round_ms);
    const Spread least = contest.ns(0), sampled = contest.ns(1);
    std::printf("   greedy %.2f us, with the defaults %.2f us (%.2f-%.2f)\n", least.median / 1e3,
                sampled.median / 1e3, sampled.low / 1e3, sampled.high / 1e3);
    report.time("greedy", least);
    report.time("sampled", sampled);
}

}  // namespace bareflow::bench
