#include "profiler/matmul_profile.h"

#include <gtest/gtest.h>

#include <vector>

#include "arch/profile_report.h"
#include "arch/profiled_operators.h"
#include "model/reference.h"
#include "model/tools/std_allocator.h"
#include "profiler/cycles.h"

namespace bareflow {
namespace {

constexpr ProfiledShape kSmall{Operation::kProject, ElementType::kF32, 1, 16, 16},
    kLarge{Operation::kProject, ElementType::kF32, 1, 64, 64};

/// Cycles that pass for certain.
void spend(uint64_t cycles) {
    for (const uint64_t end = cycles_now() + cycles; cycles_now() < end;) {
    }
}

class ProfilerTest : public testing::Test {
 protected:
    void call(const ProfiledShape& shape, uint64_t cycles) {
        profiler_.matmul_profile_begin(shape);
        spend(cycles);
        profiler_.matmul_profile_end();
    }
    std::vector<MatMulProfile> hottest(Phase phase, size_t count = 8) {
        std::vector<MatMulProfile> found(count);
        found.resize(profiler_.matmul_get_hottest(phase, found));
        return found;
    }
    StdAllocator allocator_;
    Profiler profiler_ = Profiler::make(allocator_).take();
};

TEST_F(ProfilerTest, CountsCallsAndTheirCycles) {
    call(kSmall, 1000);
    call(kSmall, 50'000);
    const auto found = hottest(Phase::kPrompt);
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].shape, kSmall);
    EXPECT_EQ(found[0].call_count, 2u);
    EXPECT_GE(found[0].min_cycles, 1000u);
    EXPECT_GE(found[0].max_cycles, 50'000u);
    EXPECT_EQ(found[0].timed_cycles, found[0].min_cycles + found[0].max_cycles);
    EXPECT_EQ(profiler_.total_cycles(Phase::kPrompt), found[0].total_cycles());
}

TEST_F(ProfilerTest, TheHottestComesFirstAndOnlySoManyAreTold) {
    for (uint32_t n = 1; n <= 6; ++n) call({Operation::kGateUp, ElementType::kF16, 1, n, 7}, n * 300'000);
    const auto found = hottest(Phase::kPrompt, 3);
    ASSERT_EQ(found.size(), 3u);
    for (size_t i = 1; i < 3; ++i) EXPECT_GE(found[i - 1].total_cycles(), found[i].total_cycles());
    EXPECT_EQ(hottest(Phase::kPrompt, 20).size(), 6u);
    EXPECT_GE(found[0].total_cycles(), hottest(Phase::kPrompt, 20).back().total_cycles());
    std::vector<MatMulProfile> none;
    EXPECT_EQ(profiler_.matmul_get_hottest(Phase::kPrompt, none), 0u);
}

TEST_F(ProfilerTest, PromptAndGenerationAreCountedApart) {
    call(kSmall, 10);
    profiler_.enter(Phase::kGeneration);
    call(kSmall, 10);
    call(kLarge, 10);
    EXPECT_EQ(hottest(Phase::kPrompt).size(), 1u);
    EXPECT_EQ(hottest(Phase::kGeneration).size(), 2u);
    profiler_.reset();
    EXPECT_TRUE(hottest(Phase::kGeneration).empty());
}

TEST_F(ProfilerTest, LaterTokensAreCountedAllAndTimedNowAndThen) {
    constexpr uint32_t kTokens = 40;
    profiler_.enter(Phase::kGeneration);
    for (uint32_t token = 0; token < kTokens; ++token) {
        profiler_.pass_begins();
        call(kSmall, 2000);
    }
    const auto found = hottest(Phase::kGeneration);
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].call_count, kTokens);
    EXPECT_EQ(found[0].timed_count, Profiler::kTimedAtFirst + 2);  // tokens 16 and 32
    EXPECT_GE(found[0].total_cycles(), kTokens * 2000);
}

TEST_F(ProfilerTest, BlocksOfAPromptAreTimedAsTokensAre) {
    Operators& reference = *reference_operators(NumericClass::kMulAdd, {}).value();
    ProfiledOperators profiled(reference, profiler_);
    const float row[4] = {1, 2, 3, 4};
    const TensorView table{.data = row, .rows = 1, .columns = 4};
    float x[4];
    for (uint32_t block = 0; block < Profiler::kTimedAtFirst; ++block) {
        for (uint32_t token = 0; token < 64; ++token) profiled.embed(x, table, 0);
        profiled.argmax(x, 4);
    }
    ASSERT_EQ(hottest(Phase::kPrompt).size(), 1u);
    EXPECT_EQ(hottest(Phase::kPrompt)[0].timed_count, Profiler::kTimedAtFirst);
}

TEST_F(ProfilerTest, MoreShapesThanItHoldsAreToldAsDropped) {
    for (uint32_t n = 1; n <= Profiler::kMaxShapes + 10; ++n) call({Operation::kProject, {}, 1, n, n}, 0);
    EXPECT_EQ(profiler_.dropped(), 10u);
    EXPECT_EQ(hottest(Phase::kPrompt, 2 * Profiler::kMaxShapes).size(), size_t{Profiler::kMaxShapes});
}

TEST_F(ProfilerTest, OperatorsGiveTheSameBitsWithTheProfilerListening) {
    Operators& reference = *reference_operators(NumericClass::kMulAdd, {}).value();
    ProfiledOperators profiled(reference, profiler_);
    float x[32], weight[32], y[32], wanted[32];
    for (int i = 0; i < 32; ++i) {
        x[i] = static_cast<float>(i) - 7.5f;
        weight[i] = 0.5f;
    }
    profiled.rms_norm(y, x, weight, 32, 1e-5f);
    reference.rms_norm(wanted, x, weight, 32, 1e-5f);
    EXPECT_EQ(std::vector(y, y + 32), std::vector(wanted, wanted + 32));
    EXPECT_EQ(profiled.argmax(x, 32), 31u);
    ASSERT_EQ(hottest(Phase::kPrompt).size(), 2u);
}

struct Text final : TextListener {
    void text(std::string_view piece) override { all += piece; }
    bool stop_requested() override { return false; }
    std::string all;
};

TEST_F(ProfilerTest, TheReportHasALineForEachShapeAndTheSharesOfAPhaseAddUp) {
    Text nothing;
    report_profile(profiler_, nothing);
    EXPECT_NE(nothing.all.find("Nothing was profiled"), std::string::npos);
    call(kSmall, 1000);
    call(kLarge, 3000);
    Text report;
    report_profile(profiler_, report);
    EXPECT_NE(report.all.find("prompt, "), std::string::npos) << report.all;
    EXPECT_NE(report.all.find("project       1     64     64 f32"), std::string::npos) << report.all;
    EXPECT_EQ(report.all.find("generation"), std::string::npos);
}

}  // namespace
}  // namespace bareflow
