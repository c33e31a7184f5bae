// Routines as bytes on a host, by any of the three assemblers.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "emitter/routine_cache.h"
#include "emitter/tools/annotated.h"

namespace bareflow {

/// tiny, asmjit, xbyak.
std::span<RoutineMaker* const> all_makers();
/// nullptr if there is none of that name.
RoutineMaker* maker_named(std::string_view name);
RoutineMaker& xbyak_maker();

struct EmittedRoutine {
    RoutineKey key;
    Plan plan;  ///< complete
    std::vector<uint8_t> code;
    Annotations annotations;  ///< the tiny assembler's, which makes the same bytes as the others
    double microseconds = 0;  ///< to emit it: the best of a few times

    std::string name() const { return std::string(name_of(key).view()); }
};

/// Completes the plan and emits. An error says which part of the key there is no generator for.
Result<EmittedRoutine> emit(const RoutineKey& key, const Plan& plan, RoutineMaker& maker);

}  // namespace bareflow
