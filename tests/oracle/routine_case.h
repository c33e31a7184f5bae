// Routines to try: any valid key and plan, and the code that the assemblers make of them. routine_memory.h has what they
// work on.
#pragma once

#include <string>
#include <vector>

#include "arch/base/routine.h"
#include "emitter/instruction_set.h"
#include "tests/oracle/chooser.h"
#include "tests/oracle/guarded.h"

namespace bareflow {

/// The fields of a key that choose a generator and its instructions, not a size.
struct CaseKind {
    Operation operation{};
    NumericClass numerics{};
    Isa isa{};
    Epilogue epilogue{};
    ElementType type{};
};
/// All that can be emitted, and whose reference this CPU can run (the fma class needs FMA).
const std::vector<CaseKind>& all_kinds();
/// Whether this CPU runs such routines.
bool runs_here(const CaseKind& kind);
/// "project_avx2_fma_f16_add", for names of tests.
std::string name_of(const CaseKind& kind);

/// The largest sizes to choose.
struct CaseSizes {
    unsigned n, k, m, positions;
};
constexpr CaseSizes kSmall{70, 40, 12, 40}, kLarge{170, 150, 64, 100};

struct RoutineCase {
    RoutineKey key;
    Plan plan;  ///< complete
    Guarded::Guard guard{};
    uint32_t seed = 0;       ///< of the inputs
    uint32_t positions = 1;  ///< kAttention
    uint32_t stride = 1;     ///< kAttention, of the scores

    CaseKind kind() const { return {key.operation, key.numerics, key.isa, key.epilogue, key.type}; }
};
RoutineCase choose_case(x86::Chooser& choose, const CaseKind& kind, const CaseSizes& sizes);
RoutineCase choose_case(x86::Chooser& choose, const CaseSizes& sizes);
/// "project_1x16x3_f32_fma_avx2, plan 2 panels, …", for messages.
std::string to_string(const RoutineCase& c);

/// A key and plan made into code in `buffer` by one of the assemblers.
struct EmittedRoutine {
    x86::AssemblerError error = x86::AssemblerError::kNone;
    ByteSpan code;
};
using EmitRoutine = EmittedRoutine (*)(const RoutineKey&, const Plan&, std::span<uint8_t> buffer);
EmittedRoutine emit_with_tiny(const RoutineKey& key, const Plan& plan, std::span<uint8_t> buffer);
EmittedRoutine emit_with_asmjit(const RoutineKey& key, const Plan& plan, std::span<uint8_t> buffer);
EmittedRoutine emit_with_xbyak(const RoutineKey& key, const Plan& plan, std::span<uint8_t> buffer);
/// 1 MB that can be written and executed, for the routine at hand.
std::span<uint8_t> code_buffer();

}  // namespace bareflow
