#include "emitter/tiny_assembler.h"
#include "tests/oracle/run_program.h"

namespace bareflow::x86 {

Assembled assemble_with_tiny(const Program& program, std::span<uint8_t> buffer) {
    TinyAssembler assembler(buffer);
    return run_program(assembler, program);
}

}  // namespace bareflow::x86
