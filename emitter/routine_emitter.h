// From key and plan to machine code, for any assembler.
#pragma once

#include "arch/base/cpu_features.h"
#include "arch/base/result.h"
#include "arch/base/routine.h"

namespace bareflow {

/// Counts up with every change of what is emitted: stored routines of another version are not taken for what this emitter
/// makes. tests/unit/emitter/emitter_version_test.cpp fails when bytes change and the version does not.
constexpr uint32_t kEmitterVersion = 2;

/// Whether there is a generator for the key; the reference runs everything else.
bool can_emit(const RoutineKey& key);
/// The ISA that routines should be made for on a CPU, in a numeric class: fma needs FMA, f16 below AVX2 goes without
/// F16C. kScalar if there is none.
Isa best_isa(const CpuFeatures& cpu, NumericClass numerics);
/// The ISA for quantised weights where routines of floats are made for `floats`: as wide, with pmaddubsw or VNNI if the CPU
/// has it.
Isa best_quantised_isa(const CpuFeatures& cpu, Isa floats, NumericClass numerics);
/// What a CPU must have to run code for `isa` in that class.
CpuFeatures needed_features(Isa isa, NumericClass numerics);
/// Whether code for `isa` in that class runs on the CPU.
bool runs_on(const CpuFeatures& cpu, Isa isa, NumericClass numerics);

/// `plan` with every field filled that was zero, and every field within what the key and its ISA allow.
Plan complete_plan(const RoutineKey& key, const Plan& plan);

/// The plan for a key that nobody knows a better one for.
Plan default_plan(const RoutineKey& key);

/// Emits the routine by `a` (any assembler of emitter/); the plan must be complete. The assembler holds the error.
template <typename A>
void emit_routine(A& a, const RoutineKey& key, const Plan& plan);

}  // namespace bareflow
