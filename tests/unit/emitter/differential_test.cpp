// The fuzzers of tests/fuzz with a fixed seed, and the proof that they bite.
#include <gtest/gtest.h>

#include "tests/fuzz/differential.h"
#include "tests/oracle/planted_bugs.h"

namespace bareflow::x86 {
namespace {

constexpr uint32_t kSeed = 20240229;

TEST(Differential, RandomInstructionsAreTheSameFromAllAssemblers) {
    RandomChooser choose(kSeed);
    Coverage coverage;
    for (int i = 0; i < 40'000; ++i) ASSERT_EQ(check_instruction(choose, assemble_with_tiny, coverage), "");
    EXPECT_EQ(coverage.forms(), kFormCount);
}

TEST(Differential, RandomLabelProgramsGoWhereTheyShould) {
    RandomChooser choose(kSeed);
    Coverage coverage;
    for (int i = 0; i < 3'000; ++i) ASSERT_EQ(check_program(choose, assemble_with_tiny, coverage), "");
}

class PlantedBugs : public testing::TestWithParam<unsigned> {
 protected:
    ~PlantedBugs() override { PlantedRules::bug = PlantedBug::kNone; }
};

/// How many steps it takes to find the bug, or more than the budget. A step is an instruction; every eighth a program.
unsigned steps_to_find(PlantedBug bug, unsigned budget) {
    PlantedRules::bug = bug;
    RandomChooser choose(kSeed);
    Coverage coverage;
    for (unsigned step = 1; step <= budget; ++step) {
        const std::string wrong = step % 8 == 0
                                      ? check_program(choose, assemble_with_planted_bug, coverage)
                                      : check_instruction(choose, assemble_with_planted_bug, coverage);
        if (!wrong.empty()) return step;
    }
    return budget + 1;
}

constexpr unsigned kBudget = 20'000;

TEST_P(PlantedBugs, IsFoundWithinTheBudget) {
    const auto bug = static_cast<PlantedBug>(GetParam());
    const unsigned steps = steps_to_find(bug, kBudget);
    EXPECT_LE(steps, kBudget) << name_of(bug);
    RecordProperty("steps", static_cast<int>(steps));
}
INSTANTIATE_TEST_SUITE_P(Each, PlantedBugs, testing::Range(1u, static_cast<unsigned>(PlantedBug::kCount)));

TEST(Differential, FindsNothingWhereNothingIsPlanted) {
    EXPECT_EQ(steps_to_find(PlantedBug::kNone, 2000), 2001u);
}

}  // namespace
}  // namespace bareflow::x86
