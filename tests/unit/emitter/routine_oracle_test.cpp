// Routines, against what does not share their code: the three assemblers against each other, an interpreter that needs no
// CPU of the key's ISA, and planted bugs that prove that both bite. routines_test.cpp runs routines on this CPU.
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>

#include "emitter/tiny_assembler.h"
#include "tests/fuzz/routine_differential.h"
#include "tests/oracle/interpreter.h"
#include "tests/oracle/planted_routines.h"

namespace bareflow {
namespace {

using x86::AssemblerError;
using x86::RandomChooser;

constexpr uint32_t kSeed = 20240229;

TEST(RoutineOracle, ThreeAssemblersMakeTheSameBytesOfAKeyAndPlan) {
    RandomChooser choose(kSeed);
    std::vector<uint8_t> other(1 << 20);
    for (int i = 0; i < 3000; ++i) {
        const RoutineCase c = choose_case(choose, kLarge);
        const EmittedRoutine tiny = emit_with_tiny(c.key, c.plan, code_buffer());
        ASSERT_EQ(tiny.error, AssemblerError::kNone) << to_string(c);
        for (const EmitRoutine emit : {emit_with_asmjit, emit_with_xbyak, emit_with_planted_bug}) {
            const EmittedRoutine again = emit(c.key, c.plan, other);
            ASSERT_EQ(again.error, AssemblerError::kNone) << to_string(c);
            ASSERT_TRUE(std::ranges::equal(tiny.code, again.code)) << to_string(c);
        }
    }
}

/// A number of cases of one kind, interpreted; where this CPU has the ISA, executed as well.
class RoutineKinds : public testing::TestWithParam<size_t> {};

TEST_P(RoutineKinds, GiveTheReferencesBitsInTheInterpreter) {
    const CaseKind& kind = all_kinds()[GetParam()];
    RandomChooser choose(kSeed + static_cast<uint32_t>(GetParam()));
    uint64_t steps = 0;
    for (int i = 0; i < 12; ++i) {
        const RoutineCase c = choose_case(choose, kind, kSmall);
        const EmittedRoutine made = emit_with_tiny(c.key, c.plan, code_buffer());
        ASSERT_EQ(made.error, AssemblerError::kNone) << to_string(c);
        RoutineMemory memory(c);
        const Interpreted interpreted = interpret(c, made.code, memory);
        ASSERT_EQ(interpreted.wrong, "") << to_string(c);
        steps += interpreted.steps;
        if (!runs_here(kind)) continue;
        memory.reset();
        ASSERT_EQ(run_natively(c, made.code, memory), "") << to_string(c);
    }
    EXPECT_GT(steps, 0u);
}
INSTANTIATE_TEST_SUITE_P(Each, RoutineKinds, testing::Range(size_t{0}, all_kinds().size()),
                         [](const auto& param) { return name_of(all_kinds()[param.param]); });

// The fuzzer (tests/fuzz/fuzz_routines.cpp) with a fixed seed.
TEST(RoutineOracle, RandomKeysAndPlansGiveTheReferencesBits) {
    RandomChooser choose(kSeed);
    RoutineCoverage coverage;
    for (int i = 0; i < 2000; ++i) ASSERT_EQ(check_routine(choose, coverage), "");
    RecordProperty("coverage", to_string(coverage));
    EXPECT_GT(coverage.keys.size(), 1500u);
}

// ---------------------------------------------------------------- planted bugs
class PlantedRoutines : public testing::TestWithParam<unsigned> {
 protected:
    ~PlantedRoutines() override { plant(RoutineBug::kNone); }
};

constexpr unsigned kBudget = 400;

/// How many cases of ISAs from `lowest` on it takes to find the bug, or more than the budget.
unsigned cases_to_find(RoutineBug bug, Isa lowest, std::string& how) {
    std::vector<CaseKind> kinds;
    std::ranges::copy_if(all_kinds(), std::back_inserter(kinds),
                         [&](const CaseKind& kind) { return kind.isa >= lowest; });
    plant(bug);
    RandomChooser choose(kSeed);
    for (unsigned i = 1; i <= kBudget; ++i) {
        const RoutineCase c = choose_case(choose, choose.pick(kinds), kSmall);
        const EmittedRoutine made = emit_with_planted_bug(c.key, c.plan, code_buffer());
        if (made.error != AssemblerError::kNone) continue;  // the bug cannot be encoded here
        how = interpret(c, made.code).wrong;
        // What the interpreter lets pass is safe to be executed.
        if (how.empty() && runs_here(c.kind())) how = run_natively(c, made.code);
        if (!how.empty()) return i;
    }
    return kBudget + 1;
}

TEST_P(PlantedRoutines, AreFoundWithinTheBudget) {
    const auto bug = static_cast<RoutineBug>(GetParam());
    std::string how;
    const unsigned cases = cases_to_find(bug, Isa::kSse2, how);
    EXPECT_LE(cases, kBudget) << name_of(bug);
    RecordProperty("cases", static_cast<int>(cases));
    RecordProperty("found_by", how);
}
// Where no CPU has AVX-512, the interpreter alone must find them.
TEST_P(PlantedRoutines, AreFoundInAvx512RoutinesAlone) {
    const auto bug = static_cast<RoutineBug>(GetParam());
    if (bug == RoutineBug::kEvexInAvx2) return;  // no bug there
    std::string how;
    const unsigned cases = cases_to_find(bug, Isa::kAvx512, how);
    EXPECT_LE(cases, kBudget) << name_of(bug);
    RecordProperty("cases", static_cast<int>(cases));
    RecordProperty("found_by", how);
}
INSTANTIATE_TEST_SUITE_P(Each, PlantedRoutines, testing::Range(1u, static_cast<unsigned>(RoutineBug::kCount)),
                         [](const auto& param) {
                             std::string name(name_of(static_cast<RoutineBug>(param.param)));
                             std::ranges::replace_if(
                                 name, [](char c) { return !std::isalnum(c); }, '_');
                             return name;
                         });
TEST(RoutineOracle, FindsNothingWhereNothingIsPlanted) {
    std::string how;
    EXPECT_EQ(cases_to_find(RoutineBug::kNone, Isa::kSse2, how), kBudget + 1) << how;
}

}  // namespace
}  // namespace bareflow
