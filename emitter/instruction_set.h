// The methods of every assembler, one for each row of instructions.inc:
//
//     a.vfmadd231ps(zmm(3), zmm(4), ptr(rsi, 64));
//     a.vmovups(ptr(rdi).masked(k1), zmm(0));
//
// A generator is a template over the assembler and calls nothing else. What an assembler is made of beside these
// methods is stated by the concept Assembler.
#pragma once

#include <concepts>
#include <cstdint>
#include <string_view>
#include <utility>

#include "arch/base/bytes.h"
#include "emitter/encoding.h"
#include "emitter/operands.h"

namespace bareflow::x86 {

/// Names a row of instructions.inc.
enum class Form : uint16_t {
#define FORM(form, ...) form,
#include "emitter/instructions.inc"
};

inline constexpr FormEncoding kFormEncodings[] = {
#define FORM(form, method, asmjit, main, evex, ...) FormText::parse(main, evex),
#include "emitter/instructions.inc"
};
constexpr unsigned kFormCount = sizeof(kFormEncodings) / sizeof(kFormEncodings[0]);
constexpr const FormEncoding& encoding_of(Form form) { return kFormEncodings[static_cast<unsigned>(form)]; }

/// Why an assembler stopped. The first error stays; whatever is called after it does nothing.
enum class AssemblerError : uint8_t {
    kNone,
    kBufferFull,     ///< the code does not fit into the caller's buffer
    kNotEncodable,   ///< operands that the instruction does not have, or that do not exist
    kDisplacement,   ///< an address or a jump marked near() out of reach
    kUnboundLabel,   ///< finish() found a label that was used but never bound
    kBoundTwice,     ///< a label that already has its place, or that this assembler did not make
    kTooManyLabels,  ///< more than kMaxLabels, or more than kMaxPendingUses uses that wait for bind()
};
constexpr std::string_view name_of(AssemblerError error) {
    constexpr std::string_view kNames[] = {"none",
                                           "buffer full",
                                           "operands not encodable",
                                           "displacement out of range",
                                           "label never bound",
                                           "label bound twice or unknown",
                                           "too many labels"};
    return kNames[static_cast<unsigned>(error)];
}

constexpr unsigned kMaxLabels = operand_bits::kLabel + 1;
/// Uses of labels that are not bound yet, at any one time.
constexpr unsigned kMaxPendingUses = 256;

/// Gives Self, which has `template <Form form> void emit(operands...)`, the methods of all instructions.
template <typename Self>
class InstructionSet {
 public:
    // clang-format off
#define BAREFLOW_METHOD0(form, method) \
    void method() { self().template emit<Form::form>(); }
#define BAREFLOW_METHOD1(form, method, A) \
    void method(A a) { self().template emit<Form::form>(a); }
#define BAREFLOW_METHOD2(form, method, A, B) \
    void method(A a, B b) { self().template emit<Form::form>(a, b); }
#define BAREFLOW_METHOD3(form, method, A, B, C) \
    void method(A a, B b, C c) { self().template emit<Form::form>(a, b, c); }
#define BAREFLOW_METHOD4(form, method, A, B, C, D) \
    void method(A a, B b, C c, D d) { self().template emit<Form::form>(a, b, c, d); }
    // The fifth argument from the end of the list is the macro for the number of operands given.
#define BAREFLOW_PICK(a, b, c, d, picked, ...) picked
#define FORM(form, method, asmjit, main, evex, ...)                                                      \
    BAREFLOW_PICK(__VA_ARGS__ __VA_OPT__(,) BAREFLOW_METHOD4, BAREFLOW_METHOD3, BAREFLOW_METHOD2,        \
                  BAREFLOW_METHOD1, BAREFLOW_METHOD0, )(form, method __VA_OPT__(,) __VA_ARGS__)
#include "emitter/instructions.inc"
#undef BAREFLOW_PICK
#undef BAREFLOW_METHOD0
#undef BAREFLOW_METHOD1
#undef BAREFLOW_METHOD2
#undef BAREFLOW_METHOD3
#undef BAREFLOW_METHOD4
    // clang-format on

    /// The same instructions under the names that compare with zero.
    void jz(Label target) { self().je(target); }
    void jnz(Label target) { self().jne(target); }

    /// The shortest move of a constant: 32 bits zero-extended, then 32 bits sign-extended, then 64 bits.
    void mov(Gp destination, int64_t value) {
        const bool fits_unsigned = static_cast<uint64_t>(value) <= UINT32_MAX;
        self().move_constant(destination.bytes() == 8 && fits_unsigned ? destination.r32() : destination,
                             value);
    }

 private:
    Self& self() { return static_cast<Self&>(*this); }
};

/// What a generator may ask of an assembler beside the instructions.
template <typename A>
concept Assembler = requires(A a, const A& finished, Label label, uint32_t value, ByteSpan bytes) {
    { a.new_label() } -> std::same_as<Label>;
    a.bind(label);   ///< the label is here
    a.align(64u);    ///< fills with long NOPs up to a multiple, counted from the start of the code
    a.embed(bytes);  ///< data
    a.embed_u32(value);
    { finished.size() } -> std::same_as<size_t>;  ///< bytes so far
    { finished.error() } -> std::same_as<AssemblerError>;
    { a.finish() } -> std::same_as<AssemblerError>;  ///< also checks that every used label was bound
    { finished.code() } -> std::same_as<ByteSpan>;   ///< after finish(): what was written; empty on an error
};

}  // namespace bareflow::x86
