// The instructions' methods for assemblers that take a form and its operands as data.
#pragma once

#include <cstdint>
#include <type_traits>

#include "emitter/any_operand.h"
#include "emitter/instruction_set.h"

namespace bareflow::x86 {

/// asmjit prefers the EVEX forms of these; the VEX ones have names of their own here.
constexpr bool wants_vex(Form form) { return form == Form::vpdpbusd_vex || form == Form::vpdpbusds_vex; }
constexpr bool shifts_by_cl(Form form) {
    return form == Form::shl_cl || form == Form::shr_cl || form == Form::sar_cl;
}

/// Most instructions have up to three operands, each a vector or general register, or memory: their kinds can be told from
/// their bits, so they travel in three words and need not be looked at one by one.
constexpr unsigned kMaxPlain = 3;
struct PlainForm {
    Form form;
    uint8_t count;
    bool may_be_high;  ///< registers 16 to 31
};

/// Self has emit_plain(PlainForm, uint64_t, uint64_t, uint64_t), the words being AnyOperand's bits, and
/// emit_form(Form, const AnyOperand (&)[kMaxOperands]) for all other instructions.
template <typename Self>
class PackedInstructions : public InstructionSet<Self> {
 public:
    template <Form form, typename... Operands>
    void emit(Operands... operands) {
        constexpr bool kSpecial = wants_vex(form) || shifts_by_cl(form);
        constexpr unsigned kCount = sizeof...(Operands);
        Self& self = static_cast<Self&>(*this);
        if constexpr (!kSpecial && kCount >= 1 && kCount <= kMaxPlain && (is_plain<Operands> && ...)) {
            constexpr PlainForm kPlain{form, kCount, encoding_of(form).encoding.has_evex()};
            const uint64_t bits[kMaxPlain] = {plain_bits(operands)...};
            self.emit_plain(kPlain, bits[0], bits[1], bits[2]);
        } else {
            const AnyOperand list[kMaxOperands] = {AnyOperand(operands)...};
            self.emit_form(form, list);
        }
    }

 private:
    template <typename T>
    static constexpr bool is_plain = std::is_base_of_v<Vec, T> || std::is_same_v<T, Gp> ||
                                     std::is_same_v<T, Mem> ||
                                     (std::is_base_of_v<RegMem, T> && !std::is_same_v<T, KMem>);
    static constexpr uint64_t plain_bits(Vec reg) { return reg.bits(); }
    static constexpr uint64_t plain_bits(Gp reg) { return reg.bits(); }
    static constexpr uint64_t plain_bits(RegMem rm) {
        return rm.low() | (uint64_t{static_cast<uint32_t>(rm.displacement())} << 32);
    }
};

}  // namespace bareflow::x86
