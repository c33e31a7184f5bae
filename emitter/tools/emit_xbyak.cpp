#include "emitter/tools/emit.h"
#include "emitter/tools/maker_of.h"
#include "tests/oracle/xbyak_assembler.h"

namespace bareflow {

RoutineMaker& xbyak_maker() {
    static MakerOf<x86::XbyakAssembler> maker("xbyak");
    return maker;
}

}  // namespace bareflow
