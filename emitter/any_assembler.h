// One of two assemblers, chosen when it is made: so that an image with both has the generators once.
#pragma once

#include "emitter/asmjit_assembler.h"
#include "emitter/packed_instructions.h"
#include "emitter/tiny_assembler.h"

namespace bareflow::x86 {

/// Passes everything on to an assembler that the caller keeps. By `tiny` it is slower than TinyAssembler itself, which
/// knows its instructions when it is compiled; the bytes are the same.
class AnyAssembler : public PackedInstructions<AnyAssembler> {
 public:
    explicit AnyAssembler(AsmjitAssembler& asmjit) : asmjit_(&asmjit) {}
    explicit AnyAssembler(TinyAssembler& tiny) : tiny_(&tiny) {}

    // What the concept Assembler asks for.
    Label new_label() { return asmjit_ != nullptr ? asmjit_->new_label() : tiny_->new_label(); }
    void bind(Label label) { asmjit_ != nullptr ? asmjit_->bind(label) : tiny_->bind(label); }
    void align(unsigned alignment) {
        asmjit_ != nullptr ? asmjit_->align(alignment) : tiny_->align(alignment);
    }
    void embed(ByteSpan bytes) { asmjit_ != nullptr ? asmjit_->embed(bytes) : tiny_->embed(bytes); }
    void embed_u32(uint32_t value) { embed({reinterpret_cast<const uint8_t*>(&value), sizeof(value)}); }
    size_t size() const { return asmjit_ != nullptr ? asmjit_->size() : tiny_->size(); }
    AssemblerError error() const { return asmjit_ != nullptr ? asmjit_->error() : tiny_->error(); }
    AssemblerError finish() { return asmjit_ != nullptr ? asmjit_->finish() : tiny_->finish(); }
    ByteSpan code() const { return asmjit_ != nullptr ? asmjit_->code() : tiny_->code(); }

    // For InstructionSet.
    void move_constant(Gp destination, int64_t value) {
        asmjit_ != nullptr ? asmjit_->move_constant(destination, value)
                           : tiny_->move_constant(destination, value);
    }
    void emit_plain(PlainForm form, uint64_t first, uint64_t second, uint64_t third);
    void emit_form(Form form, const AnyOperand (&operands)[kMaxOperands]);

 private:
    AsmjitAssembler* asmjit_ = nullptr;
    TinyAssembler* tiny_ = nullptr;
};

}  // namespace bareflow::x86
