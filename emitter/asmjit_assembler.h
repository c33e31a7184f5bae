// asmjit's x86::Assembler behind BareFlow's methods: the kernel's default. Its headers stay in asmjit_assembler.cpp.
//
// It writes straight into the caller's buffer. What asmjit needs to remember (its labels) comes from a block inside this
// object: nothing is allocated, and running out of that block is the error kTooManyLabels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "arch/base/bytes.h"
#include "emitter/any_operand.h"
#include "emitter/instruction_set.h"

namespace bareflow::x86 {

class AsmjitAssembler : public InstructionSet<AsmjitAssembler> {
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

    // For InstructionSet.
    template <Form form, typename... Operands>
    void emit(Operands... operands) {
        constexpr bool kSpecial = wants_vex(form) || shifts_by_cl(form);
        constexpr unsigned kCount = sizeof...(Operands);
        if constexpr (!kSpecial && kCount >= 1 && kCount <= kMaxPlain && (is_plain<Operands> && ...)) {
            constexpr PlainForm kPlain{form, kCount, encoding_of(form).encoding.has_evex()};
            const uint64_t bits[kMaxPlain] = {plain_bits(operands)...};
            emit_plain(kPlain, bits[0], bits[1], bits[2]);
        } else {
            const AnyOperand list[kMaxOperands] = {AnyOperand(operands)...};
            emit_form(form, list);
        }
    }
    void move_constant(Gp destination, int64_t value);

 private:
    /// Most instructions have up to three operands, each a vector or general register, or memory: their kinds can be
    /// told from their bits, so they travel in three words and need not be looked at one by one.
    static constexpr unsigned kMaxPlain = 3;
    struct PlainForm {
        Form form;
        uint8_t count;
        bool may_be_high;  ///< registers 16 to 31
    };
    template <typename T>
    static constexpr bool is_plain = std::is_base_of_v<Vec, T> || std::is_same_v<T, Gp> ||
                                     std::is_same_v<T, Mem> ||
                                     (std::is_base_of_v<RegMem, T> && !std::is_same_v<T, KMem>);
    static constexpr uint64_t plain_bits(Vec reg) { return reg.bits(); }
    static constexpr uint64_t plain_bits(Gp reg) { return reg.bits(); }
    static constexpr uint64_t plain_bits(RegMem rm) {
        return rm.low() | (uint64_t{static_cast<uint32_t>(rm.displacement())} << 32);
    }

    /// asmjit prefers the EVEX forms of these; the VEX ones have names of their own here.
    static constexpr bool wants_vex(Form form) {
        return form == Form::vpdpbusd_vex || form == Form::vpdpbusds_vex;
    }
    static constexpr bool shifts_by_cl(Form form) {
        return form == Form::shl_cl || form == Form::shr_cl || form == Form::sar_cl;
    }

    struct State;
    State& state() { return *reinterpret_cast<State*>(storage_); }
    const State& state() const { return *reinterpret_cast<const State*>(storage_); }
    void emit_plain(PlainForm form, uint64_t first, uint64_t second, uint64_t third);
    void emit_form(Form form, const AnyOperand (&operands)[kMaxOperands]);
    void check(uint32_t asmjit_error);
    void fail(AssemblerError error);

    static constexpr size_t kStorageSize = 34 * 1024;
    uint8_t* start_;
    AssemblerError error_ = AssemblerError::kNone;
    alignas(16) uint8_t storage_[kStorageSize];
};

}  // namespace bareflow::x86
