// A maker's body, for the file of each assembler.
#pragma once

#include "emitter/routine_emitter_impl.h"
#include "emitter/routine_maker.h"

namespace bareflow {

/// Emits by `a`, a new assembler over the room; `name` stands in front of its errors.
template <typename A>
Result<size_t> make_routine(A& a, std::string_view name, const RoutineKey& key, const Plan& plan) {
    emit_routine(a, key, plan);
    if (const x86::AssemblerError error = a.finish(); error != x86::AssemblerError::kNone) {
        return invalid("assembler {}: {}", name, name_of(error));
    }
    return a.size();
}

}  // namespace bareflow
