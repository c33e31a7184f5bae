#include "emitter/any_assembler.h"
#include "emitter/routine_emitter_impl.h"
#include "tests/oracle/routine_case.h"

namespace bareflow {

EmittedRoutine emit_with_asmjit(const RoutineKey& key, const Plan& plan, std::span<uint8_t> buffer) {
    x86::AsmjitAssembler asmjit(buffer);
    x86::AnyAssembler a(asmjit);
    emit_routine(a, key, plan);
    const x86::AssemblerError error = a.finish();
    return {error, a.code()};
}

}  // namespace bareflow
