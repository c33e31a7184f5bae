#include "emitter/asmjit_assembler.h"
#include "emitter/routine_emitter_impl.h"
#include "tests/oracle/routine_case.h"

namespace bareflow {

EmittedRoutine emit_with_asmjit(const RoutineKey& key, const Plan& plan, std::span<uint8_t> buffer) {
    x86::AsmjitAssembler a(buffer);
    emit_routine(a, key, plan);
    const x86::AssemblerError error = a.finish();
    return {error, a.code()};
}

}  // namespace bareflow
