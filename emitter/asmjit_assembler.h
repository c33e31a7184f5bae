// asmjit's x86::Assembler behind BareFlow's methods: the kernel's default. Its headers stay in asmjit_assembler.cpp.
//
// It writes straight into the caller's buffer. What asmjit needs to remember (its labels) comes from a block inside this
// object: nothing is allocated, and running out of that block is the error kTooManyLabels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "arch/base/bytes.h"
#include "emitter/packed_instructions.h"

namespace bareflow::x86 {

class AsmjitAssembler : public PackedInstructions<AsmjitAssembler> {
 public:
    /// Whether asmjit checks each instruction against its database before it encodes it.
    enum class Validation : uint8_t { kOff, kOn };

    /// Writes into `buffer`, which the caller keeps. asmjit wants 16 bytes of room for every instruction, so that
    /// kBufferFull comes up to 15 bytes early. The object is about 32 KB.
    explicit AsmjitAssembler(std::span<uint8_t> buffer, Validation validation = Validation::kOn);
    ~AsmjitAssembler();
    AsmjitAssembler(const AsmjitAssembler&) = delete;
    AsmjitAssembler& operator=(const AsmjitAssembler&) = delete;

    // What the concept Assembler asks for.
    Label new_label();
    void bind(Label label);
    void align(unsigned alignment);
    void embed(ByteSpan bytes);
    void embed_u32(uint32_t value) { embed({reinterpret_cast<const uint8_t*>(&value), sizeof(value)}); }
    size_t size() const;
    AssemblerError error() const { return error_; }
    AssemblerError finish();
    ByteSpan code() const { return error_ == AssemblerError::kNone ? ByteSpan(start_, size()) : ByteSpan(); }

    // For PackedInstructions.
    void emit_plain(PlainForm form, uint64_t first, uint64_t second, uint64_t third);
    void emit_form(Form form, const AnyOperand (&operands)[kMaxOperands]);
    void move_constant(Gp destination, int64_t value);

 private:
    struct State;
    State& state() { return *reinterpret_cast<State*>(storage_); }
    const State& state() const { return *reinterpret_cast<const State*>(storage_); }
    void check(uint32_t asmjit_error);
    void fail(AssemblerError error);

    static constexpr size_t kStorageSize = 34 * 1024;
    uint8_t* start_;
    AssemblerError error_ = AssemblerError::kNone;
    alignas(16) uint8_t storage_[kStorageSize];
};

}  // namespace bareflow::x86
