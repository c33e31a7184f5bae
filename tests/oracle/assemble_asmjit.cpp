#include "emitter/asmjit_assembler.h"
#include "tests/oracle/run_program.h"

namespace bareflow::x86 {

Assembled assemble_with_asmjit(const Program& program, std::span<uint8_t> buffer) {
    AsmjitAssembler assembler(buffer);
    return run_program(assembler, program);
}

}  // namespace bareflow::x86
