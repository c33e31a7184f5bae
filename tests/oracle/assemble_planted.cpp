#include "emitter/tiny_assembler_impl.h"
#include "tests/oracle/planted_bugs.h"
#include "tests/oracle/run_program.h"

namespace bareflow::x86 {

Assembled assemble_with_planted_bug(const Program& program, std::span<uint8_t> buffer) {
    BasicTinyAssembler<PlantedRules> assembler(buffer);
    return run_program(assembler, program);
}

std::string_view name_of(PlantedBug bug) {
    static constexpr std::string_view kNames[] = {"none",
                                                  "r12 as a base without SIB",
                                                  "rsp as a base without SIB",
                                                  "rbp as a base without displacement",
                                                  "r13 as a base without displacement",
                                                  "disp8 not used at -128",
                                                  "disp8 used up to 255",
                                                  "EVEX disp8 not scaled",
                                                  "EVEX disp8 scaled by the vector under a broadcast",
                                                  "EVEX disp8 of an unaligned displacement",
                                                  "2-byte VEX drops B",
                                                  "2-byte VEX drops X",
                                                  "2-byte VEX drops W",
                                                  "2-byte VEX outside map 0F",
                                                  "EVEX.X of a register lost",
                                                  "EVEX.R' lost",
                                                  "EVEX.V' lost",
                                                  "EVEX vector length lost",
                                                  "EVEX.b lost",
                                                  "EVEX.z lost",
                                                  "EVEX.W lost",
                                                  "REX.W lost",
                                                  "byte register without REX",
                                                  "rip-relative ignores the immediate",
                                                  "short jump to +128",
                                                  "short jump to -129",
                                                  "imm8 used up to 255",
                                                  "one byte beyond the buffer"};
    static_assert(sizeof(kNames) / sizeof(kNames[0]) == static_cast<unsigned>(PlantedBug::kCount));
    return kNames[static_cast<unsigned>(bug)];
}

}  // namespace bareflow::x86
