// The space of plans and the rule that decides, with times that are made up.
#include "profiler/tuning.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "emitter/routine_emitter.h"
#include "model/tools/std_allocator.h"

namespace bareflow {
namespace {

RoutineKey key_of(const char* name) { return parse_key(name).take(); }
const TuningMachine kMachine{.complete = complete_plan};
constexpr uint64_t kSmall = 64 * 1024, kLarge = 1 << 30;

const char* const kKeys[] = {
    "project_1x2048x2048_f32_fma_avx2",      "project_1x32000x2048_argmax_f16_fma_avx512",
    "gate_up_1x5632x2048_q8_0_fma_avx2",     "qkv_1x128x128_kv64_h16_f16_muladd_avx2",
    "project_64x288x288_f32_fma_avx2",       "gate_up_64x768x288_f32_fma_avx512",
    "project_16x2048x5632_add_f32_fma_avx2", "project_1x16x288_f32_muladd_sse2",
};

TEST(PlanSpace, IsFiniteDifferentFitsAndIsTheSameAtEveryBoot) {
    for (const char* name : kKeys) {
        const RoutineKey key = key_of(name);
        for (const uint64_t bytes : {kSmall, kLarge}) {
            const PlanSpace space(key, bytes, kMachine), again(key, bytes, kMachine);
            const auto plans = space.plans();
            EXPECT_GE(plans.size(), 2u) << name;
            EXPECT_LE(plans.size(), PlanSpace::kMaxPlans) << name;
            EXPECT_TRUE(std::equal(plans.begin(), plans.end(), again.plans().begin(), again.plans().end()));
            for (size_t i = 0; i < plans.size(); ++i) {
                EXPECT_TRUE(complete_plan(key, plans[i]) == plans[i])
                    << name << " " << name_of(plans[i]).view();
                EXPECT_EQ(std::count(plans.begin(), plans.end(), plans[i]), 1) << name;
            }
        }
    }
}

TEST(PlanSpace, HasTheBestProspectsFirstAndNoneThatIsHopeless) {
    for (const char* name : kKeys) {
        const RoutineKey key = key_of(name);
        const PlanSpace space(key, kSmall, kMachine);
        double last = 0;
        for (const Plan& plan : space.plans()) {
            const double cost = predicted_cost(key, plan, kSmall, kMachine);
            EXPECT_GE(cost, last);
            EXPECT_LE(cost,
                      PlanSpace::kWorthTiming * predicted_cost(key, space.plans()[0], kSmall, kMachine));
            last = cost;
        }
    }
    // In L1 two sums of one panel wait for each other, and half the width is twice the instructions.
    const PlanSpace in_l1(key_of(kKeys[0]), 16 * 1024, kMachine);
    for (const Plan& plan : in_l1.plans()) {
        EXPECT_GT(plan.panels, 1);
        EXPECT_EQ(plan.vector_bytes, 32);
    }
}

TEST(PlanSpace, FetchesAheadOnlyWhereWeightsComeFromMemory) {
    const auto fetching = [](const PlanSpace& space) {
        return std::count_if(space.plans().begin(), space.plans().end(),
                             [](const Plan& plan) { return plan.prefetch != 0; });
    };
    const RoutineKey one = key_of(kKeys[0]), block = key_of("project_64x2048x2048_f32_fma_avx2");
    EXPECT_EQ(fetching(PlanSpace(one, kSmall, kMachine)), 0);
    EXPECT_GT(fetching(PlanSpace(one, kLarge, kMachine)), 0);
    EXPECT_EQ(fetching(PlanSpace(block, kLarge, kMachine)), 0);
}

TEST(PlanSpace, KeepsABlockThatIsReadAgainInHalfOfL2) {
    TuningMachine machine = kMachine;
    const RoutineKey key = key_of("project_64x2048x2048_f32_fma_avx512");  // a panel: 128 KiB
    const auto widest = [&] {
        unsigned panels = 0;
        const PlanSpace space(key, kLarge, machine);
        for (const Plan& plan : space.plans()) panels = std::max<unsigned>(panels, plan.panels);
        return panels;
    };
    EXPECT_EQ(widest(), 1u);
    machine.l2_bytes = 1 << 20;
    EXPECT_GT(widest(), 1u);
}

TEST(PlanSpace, HasNothingForOperationsWithoutWeights) {
    for (const char* name :
         {"rms_norm_2048_fma_avx2", "softmax_32000_fma_avx2", "attention_8q4kv_h16_fma_avx2"})
        EXPECT_TRUE(PlanSpace(key_of(name), kSmall, kMachine).plans().empty()) << name;
}

TEST(AtLimit, IsWhatReadsAsFastAsPlainLoads) {
    const RoutineKey key = key_of(kKeys[0]);
    EXPECT_TRUE(is_at_limit(key, 850'000, 840'000, kLarge, kMachine));
    EXPECT_FALSE(is_at_limit(key, 1'000'000, 840'000, kLarge, kMachine));
    EXPECT_FALSE(is_at_limit(key, 850'000, 840'000, kSmall, kMachine)) << "in cache there is no such limit";
    EXPECT_FALSE(
        is_at_limit(key_of("project_16x2048x2048_f32_fma_avx2"), 850'000, 840'000, kLarge, kMachine));
}

/// A trial of routines that take so long, with noise of that size around it; every seventh sample was interrupted.
PlanTrial::Result trial_of(double incumbent, double candidate, double noise, unsigned seed,
                           size_t* pairs = nullptr) {
    std::mt19937 random(seed);
    std::normal_distribution<double> around(0, noise);
    PlanTrial trial;
    for (unsigned i = 0; !trial.done(); ++i) {
        const auto sample = [&](double mean, unsigned shift) {
            const double interruption = (i + shift) % 7 == 0 ? 20 * mean : 0;
            return static_cast<uint64_t>(std::max(1.0, mean + around(random) + interruption));
        };
        const uint64_t first = sample(incumbent, 0);
        trial.add(first, sample(candidate, 3));
    }
    if (pairs != nullptr) *pairs = trial.pairs();
    return trial.result();
}

TEST(PlanTrial, TheFasterOneWinsThoughSamplesAreInterrupted) {
    for (unsigned seed = 0; seed < 200; ++seed) {
        EXPECT_TRUE(trial_of(20'000, 16'000, 300, seed).wins) << seed;
        EXPECT_FALSE(trial_of(20'000, 24'000, 300, seed).wins) << seed;
    }
    const PlanTrial::Result result = trial_of(20'000, 16'000, 300, 1);
    EXPECT_NEAR(result.gain(), 0.2, 0.03);
    EXPECT_NEAR(result.candidate_ns, 16'000, 500);
}

TEST(PlanTrial, EqualRoutinesWinAsGoodAsNever) {
    unsigned wins = 0;
    for (unsigned seed = 0; seed < 1000; ++seed) wins += trial_of(20'000, 20'000, 2'000, seed).wins ? 1 : 0;
    EXPECT_LE(wins, 10u);
}

TEST(PlanTrial, AGainBelowTheMarginIsNone) {
    for (unsigned seed = 0; seed < 50; ++seed) {
        EXPECT_FALSE(trial_of(20'000, 19'800, 1, seed).wins) << "1% is less than 2%";
        EXPECT_TRUE(trial_of(20'000, 19'000, 1, seed).wins) << "5% is more";
    }
}

TEST(PlanTrial, WhatHasLostIsGivenUpSoonWhatIsCloseIsNot) {
    size_t pairs = 0;
    trial_of(20'000, 60'000, 100, 1, &pairs);
    EXPECT_EQ(pairs, PlanTrial::kFewestPairs);
    trial_of(20'000, 19'000, 100, 1, &pairs);
    EXPECT_EQ(pairs, PlanTrial::kPairs);
}

TEST(PlanTrial, TimesAreOfOneCall) {
    PlanTrial trial(10);
    for (size_t i = 0; i < PlanTrial::kPairs; ++i) trial.add(1000, 500);
    EXPECT_EQ(trial.result().incumbent_ns, 100);
    EXPECT_EQ(trial.result().candidate_ns, 50);
}

class TuningTableTest : public testing::Test {
 protected:
    void add(const Plan& plan, PlanVerdict verdict) {
        table_.add({.key = key_, .plan = plan, .median_ns = 5, .verdict = verdict});
    }
    const RoutineKey key_ = key_of(kKeys[0]);
    const PlanSpace space_{key_, kSmall, kMachine};
    StdAllocator allocator_;
    TuningTable table_ = TuningTable::make(allocator_).take();
};

TEST_F(TuningTableTest, TheSearchEndsAndGoesOnWhereItStopped) {
    const size_t all = space_.plans().size();
    EXPECT_EQ(table_.untried(key_, space_), all);
    for (size_t i = 0; i < all / 2; ++i) add(*table_.next_untried(key_, space_), PlanVerdict::kWorse);
    EXPECT_EQ(table_.untried(key_, space_), all - all / 2);

    // Stored as bytes and restored at the next boot: what was tried is not tried again.
    TuningTable restored = TuningTable::make(allocator_).take();
    for (const PlanRecord& record : table_.records()) restored.add(record);
    while (const Plan* plan = restored.next_untried(key_, space_)) {
        EXPECT_EQ(table_.find(key_, *plan), nullptr);
        restored.add({.key = key_, .plan = *plan, .verdict = PlanVerdict::kRejected});
    }
    EXPECT_EQ(restored.records().size(), all);
    EXPECT_EQ(restored.untried(key_, space_), 0u);
    const RoutineKey other = key_of("project_1x1024x2048_f32_fma_avx2");
    EXPECT_NE(restored.next_untried(other, PlanSpace(other, kSmall, kMachine)), nullptr)
        << "each key for itself";
}

TEST_F(TuningTableTest, TheBestIsTheLastThatWonElseTheBaseline) {
    EXPECT_EQ(table_.best(key_), nullptr);
    const auto plans = space_.plans();
    add(plans[0], PlanVerdict::kBaseline);
    EXPECT_TRUE(table_.best(key_)->plan == plans[0]);
    add(plans[1], PlanVerdict::kBetter);
    add(plans[2], PlanVerdict::kBetter);
    add(plans[3], PlanVerdict::kWorse);
    EXPECT_TRUE(table_.best(key_)->plan == plans[2]);
    EXPECT_TRUE(table_.baseline(key_)->plan == plans[0]);
    add(plans[2], PlanVerdict::kRejected);
    EXPECT_EQ(table_.records().size(), 4u) << "a plan has one record";
    EXPECT_TRUE(table_.best(key_)->plan == plans[1]);
}

TEST_F(TuningTableTest, GainsMultiply) {
    const auto plans = space_.plans();
    EXPECT_EQ(table_.speedup(key_), 1);
    EXPECT_EQ(table_.tried(key_), 0u);
    const auto add_timed = [&](size_t plan, uint32_t ns, uint32_t incumbent_ns, PlanVerdict verdict) {
        table_.add({.key = key_,
                    .plan = plans[plan],
                    .median_ns = ns,
                    .incumbent_ns = incumbent_ns,
                    .verdict = verdict});
    };
    add_timed(0, 100, 100, PlanVerdict::kBaseline);
    add_timed(1, 50, 100, PlanVerdict::kBetter);
    add_timed(2, 90, 50, PlanVerdict::kWorse);
    add_timed(3, 60, 75, PlanVerdict::kBetter);  // the machine had become slower
    EXPECT_DOUBLE_EQ(table_.speedup(key_), 2.5);
    EXPECT_EQ(table_.tried(key_), 3u);
}

TEST_F(TuningTableTest, AKeyAtTheLimitNeedsNoOtherPlan) {
    add(space_.plans()[0], PlanVerdict::kAtLimit);
    EXPECT_EQ(table_.untried(key_, space_), 0u);
    EXPECT_EQ(table_.next_untried(key_, space_), nullptr);
}

TEST_F(TuningTableTest, IsFullAtItsEnd) {
    for (uint32_t n = 1; !table_.full(); ++n) {
        RoutineKey key = key_;
        key.n = n;
        table_.add({.key = key, .plan = {}, .verdict = PlanVerdict::kWorse});
    }
    EXPECT_EQ(table_.records().size(), TuningTable::kMaxRecords);
    add(space_.plans()[0], PlanVerdict::kWorse);
    EXPECT_EQ(table_.records().size(), TuningTable::kMaxRecords);
}

}  // namespace
}  // namespace bareflow
