#include "emitter/any_assembler.h"

namespace bareflow::x86 {

void AnyAssembler::emit_plain(PlainForm form, uint64_t first, uint64_t second, uint64_t third) {
    if (asmjit_ != nullptr) return asmjit_->emit_plain(form, first, second, third);
    const uint64_t words[kMaxPlain] = {first, second, third};
    AnyOperand operands[kMaxOperands];
    for (unsigned i = 0; i < form.count; ++i) operands[i] = AnyOperand::from_bits(words[i]);
    tiny_->emit_any(form.form, operands);
}

void AnyAssembler::emit_form(Form form, const AnyOperand (&operands)[kMaxOperands]) {
    asmjit_ != nullptr ? asmjit_->emit_form(form, operands) : tiny_->emit_any(form, operands);
}

static_assert(Assembler<AnyAssembler>);

}  // namespace bareflow::x86
