// Bugs that generators can have, planted in routines one at a time: what does not find them is no test.
#pragma once

#include <string_view>

#include "tests/oracle/routine_case.h"

namespace bareflow {

enum class RoutineBug : uint8_t {
    kNone,
    kVzeroupperMissing,
    kPopMissing,
    kPopsSwapped,
    kRbxClobbered,
    kRspNotRestored,
    kDirectionFlagSet,
    kBeyondTheRedZone,
    kTailStoredTooWide,
    kVectorReadForFloat,
    kAlignedMoves,
    kOneTurnTooMany,
    kOneTurnTooFew,
    kJumpIfBelowOrEqual,
    kRemainderStepMissing,
    kOtherStepOfX,
    kPointerNotRewound,
    kPointerOneFloatFar,
    kAccumulatorNotZeroed,
    kFmaOperandRoles,
    kOtherNumericClass,
    kOtherEpilogue,
    kOtherShuffle,
    kLowerHalfExtracted,
    kSumsInOtherOrder,
    kEvexInAvx2,
    kCount
};
std::string_view name_of(RoutineBug bug);
/// The bug of what emit_with_planted_bug makes from now on.
void plant(RoutineBug bug);
EmittedRoutine emit_with_planted_bug(const RoutineKey& key, const Plan& plan, std::span<uint8_t> buffer);

/// How often each form was emitted by emit_with_planted_bug, a bug planted or not.
const std::vector<uint64_t>& emitted_forms();

}  // namespace bareflow
