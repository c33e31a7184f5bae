#include "emitter/asmjit_assembler.h"
#include "emitter/tools/emit.h"
#include "emitter/tools/maker_of.h"

namespace bareflow {

RoutineMaker& asmjit_maker() {
    static MakerOf<x86::AsmjitAssembler> maker("asmjit");
    return maker;
}

}  // namespace bareflow
