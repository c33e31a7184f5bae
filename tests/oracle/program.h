// A routine as data: the same calls can be made of any assembler, and the results compared.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "emitter/any_operand.h"
#include "emitter/instruction_set.h"

namespace bareflow::x86 {

using Operands = std::array<AnyOperand, kMaxOperands>;

/// One call of an assembler.
struct Step {
    enum class Kind : uint8_t { kInstruction, kMoveConstant, kNewLabel, kBind, kAlign, kEmbed };
    Kind kind = Kind::kInstruction;
    Form form{};
    Operands operands{};
    int64_t value = 0;  ///< of kMoveConstant; label of kBind; alignment of kAlign; bytes of kEmbed
};
using Program = std::vector<Step>;

inline Step instruction(Form form, Operands operands) {
    return {Step::Kind::kInstruction, form, operands, 0};
}
inline Step new_label() { return {Step::Kind::kNewLabel, {}, {}, 0}; }
inline Step bind(unsigned label) { return {Step::Kind::kBind, {}, {}, label}; }
inline Step align(unsigned to) { return {Step::Kind::kAlign, {}, {}, to}; }
inline Step embed(unsigned bytes) { return {Step::Kind::kEmbed, {}, {}, bytes}; }
inline Step move_constant(Gp to, int64_t value) { return {Step::Kind::kMoveConstant, {}, {to}, value}; }

struct Assembled {
    AssemblerError error = AssemblerError::kNone;
    size_t size = 0;             ///< of what was written, an error or not
    std::vector<uint8_t> bytes;  ///< empty on an error
    std::vector<size_t> starts;  ///< where each step began
    bool operator==(const Assembled& other) const { return error == other.error && bytes == other.bytes; }
};

/// Runs the program into `buffer`.
Assembled assemble_with_tiny(const Program& program, std::span<uint8_t> buffer);
Assembled assemble_with_asmjit(const Program& program, std::span<uint8_t> buffer);
Assembled assemble_with_xbyak(const Program& program, std::span<uint8_t> buffer);
/// TinyAssembler behind AnyAssembler, as the full kernel has it.
Assembled assemble_with_tiny_at_run_time(const Program& program, std::span<uint8_t> buffer);
/// The tiny assembler with the bug that planted_bugs.h's plant() chose.
Assembled assemble_with_planted_bug(const Program& program, std::span<uint8_t> buffer);

using Assemble = Assembled (*)(const Program&, std::span<uint8_t>);
inline Assembled assemble(Assemble with, const Program& program) {
    alignas(64) static uint8_t buffer[1 << 16];
    return with(program, std::span<uint8_t>(buffer));
}

/// For messages: "vaddps zmm1{k2}, zmm3, [rsi+rcx*4+0x40]".
std::string to_string(Form form, const Operands& operands);
std::string to_string(const Program& program);
std::string hex(std::span<const uint8_t> bytes);

}  // namespace bareflow::x86
