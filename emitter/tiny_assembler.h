// The hand-rolled assembler: a few KB, no allocation, straight into the caller's buffer.
//
// The methods of InstructionSet are inlined at their call; what they leave there is the loading of constants and a call
// of one of the functions below, which all forms share. A finished instruction is put together in registers and stored
// by 8 bytes at a time; near the end of the buffer that happens in a scratch area.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <tuple>
#include <type_traits>

#include "arch/base/bytes.h"
#include "emitter/any_operand.h"
#include "emitter/encoding_rules.h"
#include "emitter/instruction_set.h"
#include "emitter/labels.h"
#include "emitter/machine_code.h"

namespace bareflow::x86 {

/// `Rules` is EncodingRules everywhere but in the tests that plant bugs.
template <typename Rules>
class BasicTinyAssembler : public InstructionSet<BasicTinyAssembler<Rules>> {
 public:
    /// Writes into `buffer`, which the caller keeps; never outside of it.
    explicit BasicTinyAssembler(std::span<uint8_t> buffer)
        : start_(buffer.data()),
          cursor_(buffer.data()),
          end_(buffer.data() + buffer.size()),
          soft_end_(buffer.data() + (buffer.size() < kRoom ? 0 : buffer.size() - kRoom)) {}
    BasicTinyAssembler(const BasicTinyAssembler&) = delete;
    BasicTinyAssembler& operator=(const BasicTinyAssembler&) = delete;

    // What the concept Assembler asks for.
    Label new_label();
    void bind(Label label);
    void align(unsigned alignment);
    void embed(ByteSpan bytes);
    void embed_u32(uint32_t value) { embed({reinterpret_cast<const uint8_t*>(&value), sizeof(value)}); }
    size_t size() const { return static_cast<size_t>(cursor_ - start_); }
    AssemblerError error() const { return error_; }
    AssemblerError finish();
    ByteSpan code() const { return error_ == AssemblerError::kNone ? ByteSpan(start_, size()) : ByteSpan(); }

    // For InstructionSet.
    template <Form form, typename... Operands>
    [[gnu::always_inline]] void emit(Operands... operands);
    void move_constant(Gp destination, int64_t value);
    /// What emit<form>() does, for callers that know the form only when they run.
    void emit_any(Form form, const AnyOperand (&operands)[kMaxOperands]);

 private:
    /// Stores go beyond the instruction's end: so much room is wanted, or the scratch area is taken.
    static constexpr size_t kRoom = 32;

    /// `reg` and `vvvv` are the operand bits of ModRM.reg and vvvv, with the vector length in both even where the operand
    /// is no vector; vvvv is register 0 where the instruction has none.
    void vector(Encoding encoding, uint32_t reg, uint32_t vvvv, RegMem rm);
    void vector_not_plain(Encoding encoding, uint32_t reg, uint32_t vvvv, RegMem rm, unsigned immediate);
    bool vector_operands_fit(Encoding encoding, uint32_t reg, uint32_t vvvv, RegMem rm) const;
    /// `immediate_size` is 0, 1, 2 or 4 bytes. `reg` is a register's operand bits or a digit.
    void legacy(Encoding encoding, uint32_t reg, RegMem rm, int32_t immediate, unsigned immediate_size);
    void general(OpenEncoding open, uint32_t reg, RegMem rm);
    void arithmetic_immediate(OpenEncoding open, RegMem rm, int32_t immediate);
    void multiply_immediate(OpenEncoding open, uint32_t reg, RegMem rm, int32_t immediate);
    void shift_immediate(OpenEncoding open, RegMem rm, unsigned count);
    void opcode_and_immediate(Encoding encoding, Gp reg, int64_t immediate, unsigned size);
    void push_pop(Encoding encoding, Gp reg);
    void jump(unsigned short_opcode, Label target);
    void bare(Encoding encoding, bool is_vex, unsigned length);

    /// The operand width in bytes, with the opcode and prefixes that say so put into `open`; 0 if the operands have none.
    static unsigned settle_width(OpenEncoding& open, uint32_t reg, RegMem rm);
    bool has_room() const { return cursor_ < soft_end_; }
    uint8_t* begin() { return has_room() ? cursor_ : scratch_; }
    void commit(uint8_t* begun, uint8_t* finished) {
        if (begun == cursor_) [[likely]] {
            cursor_ = finished;
        } else {
            append(begun, static_cast<size_t>(finished - begun));
        }
    }
    void append(const uint8_t* bytes, size_t size);
    void use_label(Label label, size_t field, unsigned field_size, unsigned field_to_end);
    void resolve(LabelUse use, uint32_t target);
    void fail(AssemblerError error);

    uint8_t* start_;
    uint8_t* cursor_;
    uint8_t* end_;
    uint8_t* soft_end_;  ///< below it there is kRoom, and no error
    AssemblerError error_ = AssemblerError::kNone;
    uint8_t scratch_[kRoom];
    LabelTable labels_;
};

using TinyAssembler = BasicTinyAssembler<EncodingRules>;
extern template class BasicTinyAssembler<EncodingRules>;

// ---------------------------------------------------------------- from typed operands to operand bits
namespace tiny_detail {

consteval int index_of(const FormEncoding& form, Role role) {
    for (unsigned i = 0; i < kMaxOperands; ++i) {
        if (form.roles[i] == role) return static_cast<int>(i);
    }
    return -1;
}

constexpr RegMem as_rm(RegMem rm) { return rm; }
constexpr RegMem as_rm(Mem memory) { return memory; }
constexpr RegMem as_rm(Vec reg) { return VecMem(reg); }
constexpr RegMem as_rm(Gp reg) { return GpMem(reg); }
constexpr RegMem as_rm(KMask reg) { return KMem(reg); }

/// A tuple's element, or nothing for the index -1.
template <int i, typename Tuple>
constexpr auto operand(const Tuple& all) {
    if constexpr (i >= 0) {
        return std::get<static_cast<size_t>(i)>(all);
    } else {
        return nullptr;
    }
}
template <typename T>
constexpr uint32_t length_bits(T operand) {
    if constexpr (std::is_base_of_v<Vec, T>) {
        return operand.bits() & operand_bits::kLength;
    } else {
        return 0;
    }
}
template <typename T>
constexpr uint32_t register_bits(T operand) {
    if constexpr (std::is_same_v<T, std::nullptr_t>) {
        return 0;
    } else {
        return operand.bits();
    }
}

/// A byte that is an immediate, or holds a register in its upper half; `bad` if it cannot hold this one.
constexpr unsigned immediate_byte(uint8_t value, uint32_t, bool&) { return value; }
constexpr unsigned immediate_byte(Vec reg, uint32_t length, bool& bad) {
    bad |= reg.bits() != (length | (reg.id() & 15));
    return reg.id() << 4;
}
constexpr unsigned immediate_byte(std::nullptr_t, uint32_t, bool&) { return 0; }

}  // namespace tiny_detail

template <typename Rules>
template <Form form, typename... Operands>
inline void BasicTinyAssembler<Rules>::emit(Operands... operands) {
    using namespace tiny_detail;
    constexpr FormEncoding kForm = encoding_of(form);
    constexpr int kReg = index_of(kForm, Role::kReg), kVvvv = index_of(kForm, Role::kVvvv);
    constexpr int kRm = index_of(kForm, Role::kRm), kLabel = index_of(kForm, Role::kLabel);
    constexpr int kImm =
        index_of(kForm, Role::kImm) >= 0 ? index_of(kForm, Role::kImm) : index_of(kForm, Role::kIs4);
    const auto all = std::tuple<Operands...>(operands...);

    if constexpr (sizeof...(Operands) == 0) {
        bare(kForm.encoding, kForm.kind == FormEncoding::Kind::kVector, kForm.fixed_length);
    } else if constexpr (kLabel >= 0) {
        jump(kForm.encoding.opcode(), operands...);
    } else if constexpr (index_of(kForm, Role::kOpcode) >= 0) {
        push_pop(kForm.encoding, operands...);
    } else {
        const RegMem rm = as_rm(operand<kRm>(all));
        const auto reg = operand<kReg>(all);
        uint32_t reg_bits = kForm.has_digit ? kForm.encoding.digit() : register_bits(reg);
        if constexpr (kForm.kind == FormEncoding::Kind::kVector) {
            const auto vvvv = operand<kVvvv>(all);
            // The vector length is that of the first vector among reg, vvvv and rm.
            using Reg = std::remove_const_t<decltype(reg)>;
            using Vvvv = std::remove_const_t<decltype(vvvv)>;
            uint32_t length = kForm.fixed_length << operand_bits::kLengthShift;
            if constexpr (std::is_base_of_v<Vec, Reg>) {
                length = length_bits(reg);
            } else if constexpr (std::is_base_of_v<Vec, Vvvv>) {
                length = length_bits(vvvv);
            } else {
                length |= length_bits(operand<kRm>(all));
            }
            bool bad = kForm.min256 && length == 0;
            const unsigned immediate = immediate_byte(operand<kImm>(all), length, bad);
            Encoding encoding = kForm.encoding;
            if constexpr (kForm.w_by_width) {  // W follows the general register
                const uint32_t gp = kReg >= 0 && (reg_bits & operand_bits::kIsGp) != 0 ? reg_bits : rm.low();
                if ((gp & operand_bits::kWidth) == operand_bits::kWidth) encoding = encoding.with_w();
            }
            reg_bits |= bad ? operand_bits::kLength : length;
            uint32_t vvvv_bits = register_bits(vvvv) | length;
            if constexpr (
                kForm.has_digit) {  // vvvv is the destination: its mask goes where those of others are
                constexpr uint32_t kMasking = operand_bits::kMask | operand_bits::kZeroing;
                reg_bits |= vvvv_bits & kMasking;
                vvvv_bits &= ~kMasking;
            }
            if constexpr (kForm.encoding.has_vex() && !kForm.encoding.has_imm8()) {
                vector(encoding, reg_bits, vvvv_bits, rm);
            } else {
                vector_not_plain(encoding, reg_bits, vvvv_bits, rm, immediate);
            }
        } else if constexpr (kForm.kind == FormEncoding::Kind::kLegacy) {
            Encoding encoding = kForm.encoding;
            if constexpr (kForm.w_by_width) {
                const uint32_t gp = (reg_bits & operand_bits::kIsGp) != 0 ? reg_bits : rm.low();
                if ((gp & operand_bits::kWidth) == operand_bits::kWidth) encoding = encoding.with_w();
            }
            bool bad = false;
            const unsigned immediate = immediate_byte(operand<kImm>(all), 0, bad);
            legacy(encoding, reg_bits, rm, static_cast<int32_t>(immediate), kImm >= 0 ? 1 : 0);
        } else if constexpr (std::is_same_v<std::tuple_element_t<sizeof...(Operands) - 1, decltype(all)>,
                                            const int32_t>) {
            if constexpr (kReg >= 0) {
                multiply_immediate(kForm, reg_bits, rm, std::get<sizeof...(Operands) - 1>(all));
            } else {
                arithmetic_immediate(kForm, rm, std::get<sizeof...(Operands) - 1>(all));
            }
        } else if constexpr (std::is_same_v<std::tuple_element_t<sizeof...(Operands) - 1, decltype(all)>,
                                            const uint8_t>) {
            shift_immediate(kForm, rm, std::get<sizeof...(Operands) - 1>(all));
        } else {
            general(kForm, reg_bits, rm);
        }
    }
}

}  // namespace bareflow::x86
