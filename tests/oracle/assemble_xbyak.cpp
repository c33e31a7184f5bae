#include "tests/oracle/run_program.h"
#include "tests/oracle/xbyak_assembler.h"

namespace bareflow::x86 {

Assembled assemble_with_xbyak(const Program& program, std::span<uint8_t> buffer) {
    XbyakAssembler assembler(buffer);
    return run_program(assembler, program);
}

}  // namespace bareflow::x86
