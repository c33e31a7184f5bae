#include "emitter/tiny_assembler.h"

#include "emitter/tiny_assembler_impl.h"

namespace bareflow::x86 {

template class BasicTinyAssembler<EncodingRules>;
static_assert(Assembler<TinyAssembler>);

}  // namespace bareflow::x86
