#include "emitter/any_assembler.h"
#include "tests/oracle/run_program.h"

namespace bareflow::x86 {

Assembled assemble_with_asmjit(const Program& program, std::span<uint8_t> buffer) {
    AsmjitAssembler asmjit(buffer);
    AnyAssembler assembler(asmjit);
    return run_program(assembler, program);
}

Assembled assemble_with_tiny_at_run_time(const Program& program, std::span<uint8_t> buffer) {
    TinyAssembler tiny(buffer);
    AnyAssembler assembler(tiny);
    return run_program(assembler, program);
}

}  // namespace bareflow::x86
