// Every routine on this CPU, bit for bit against the scalar reference: all operations, ISAs that this CPU has, classes,
// types, plans and sizes. Buffers end at pages that cannot be touched, or begin behind one; vector registers hold NaN on
// entry, and what a callee must keep is looked at (tests/oracle/routine_call.h).
#include <gtest/gtest.h>

#include "emitter/routine_emitter.h"
#include "tests/oracle/routine_memory.h"

namespace bareflow {
namespace {

using x86::RandomChooser;

/// By their place in all_kinds(), so that a kind has the same cases on every CPU.
std::vector<size_t> kinds_of_this_cpu() {
    std::vector<size_t> found;
    for (size_t i = 0; i < all_kinds().size(); ++i) {
        if (runs_here(all_kinds()[i])) found.push_back(i);
    }
    return found;
}

class RoutinesTest : public testing::TestWithParam<size_t> {};

TEST_P(RoutinesTest, GiveTheReferencesBits) {
    const CaseKind& kind = all_kinds()[GetParam()];
    RandomChooser choose(static_cast<uint32_t>(GetParam()) + 7);
    for (int i = 0; i < 150; ++i) {
        const RoutineCase c = choose_case(choose, kind, kLarge);
        ASSERT_TRUE(can_emit(c.key)) << to_string(c);
        const EmittedRoutine made = emit_with_tiny(c.key, c.plan, code_buffer());
        ASSERT_EQ(made.error, x86::AssemblerError::kNone) << to_string(c);
        ASSERT_EQ(run_natively(c, made.code), "") << to_string(c);
    }
}

INSTANTIATE_TEST_SUITE_P(Each, RoutinesTest, testing::ValuesIn(kinds_of_this_cpu()),
                         [](const auto& param) { return name_of(all_kinds()[param.param]); });

// What this CPU cannot run can still be made on it: every key and plan must be encodable, large sizes too.
TEST(Routines, AreEncodableForEveryIsaWhetherThisCpuHasItOrNot) {
    RandomChooser choose(7);
    constexpr CaseSizes kHuge{6000, 6000, 64, 100};
    for (int i = 0; i < 3000; ++i) {
        const RoutineCase c = choose_case(choose, kHuge);
        ASSERT_TRUE(can_emit(c.key)) << to_string(c);
        ASSERT_EQ(emit_with_tiny(c.key, c.plan, code_buffer()).error, x86::AssemblerError::kNone)
            << to_string(c);
    }
}

}  // namespace
}  // namespace bareflow
