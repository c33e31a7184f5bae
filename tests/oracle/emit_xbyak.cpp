#include "emitter/routine_emitter_impl.h"
#include "tests/oracle/routine_case.h"
#include "tests/oracle/xbyak_assembler.h"

namespace bareflow {

EmittedRoutine emit_with_xbyak(const RoutineKey& key, const Plan& plan, std::span<uint8_t> buffer) {
    x86::XbyakAssembler a(buffer);
    emit_routine(a, key, plan);
    const x86::AssemblerError error = a.finish();
    return {error, a.code()};
}

}  // namespace bareflow
