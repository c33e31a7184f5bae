// Operands for every form: all that are legal, systematically or at random.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "tests/oracle/chooser.h"
#include "tests/oracle/program.h"

namespace bareflow::x86 {

enum class OperandType : uint8_t {
    kNone,
    kVec,
    kXmm,
    kYmm,
    kZmm,
    kVecMem,
    kXmmMem,
    kYmmMem,
    kGp,
    kGpMem,
    kMask,
    kMaskMem,
    kMem,
    kImm8,
    kImm32,
    kLabel
};

struct FormInfo {
    Form form;
    std::string_view name;      ///< "vmovups_store"
    std::string_view mnemonic;  ///< "vmovups"
    std::array<OperandType, kMaxOperands> types;
    const FormEncoding* encoding;

    bool is_vector() const { return encoding->kind == FormEncoding::Kind::kVector; }
    bool can_evex() const { return encoding->encoding.has_evex(); }
    bool has_operand(Role role) const;
};
/// All rows of instructions.inc.
const std::vector<FormInfo>& all_forms();
const FormInfo& info_of(Form form);

/// Legal operands of `form`. `label`: a label that memory and jumps may use, or one that does not exist.
Operands choose_operands(const FormInfo& form, Chooser& choose, Label label);

/// Calls `visit` with operands that cover, one operand at a time while the others stay: every register that changes a
/// bit of the encoding, every base, index and scale, the boundaries of displacements, masks, lengths and immediates.
void for_each_case(const FormInfo& form, const std::function<void(const Operands&)>& visit);

/// Where xbyak 6.68 cannot be an oracle, because it encodes otherwise or not at all (counted in emitter/README.md):
///  - vmovq between memory and xmm16-31 as 6E and 7E, not 7E and D6;
///  - no broadcast for valignd;
///  - no mask for vextract…x4 to memory.
bool xbyak_differs(Form form, const Operands& operands);

}  // namespace bareflow::x86
