// Decodes an instruction with Zydis and says where it is not what was asked for (Debian: libzydis-dev).
#pragma once

#include <span>
#include <string>

#include "tests/oracle/program.h"

namespace bareflow::x86 {

/// Empty if `bytes` are exactly one instruction, the form's, with these operands: mnemonic, registers, base, index,
/// scale, displacement, immediate, mask, zeroing, broadcast and length. Labels stand for the code's first byte; the
/// instruction is at `address`.
std::string disagreement(Form form, const Operands& operands, std::span<const uint8_t> bytes,
                         size_t address = 0);

struct Branch {
    bool is_branch = false;  ///< a jump to a place known from the bytes
    int64_t target = 0;
    unsigned length = 0;        ///< of the instruction; 0 if it cannot be decoded
    bool rip_relative = false;  ///< has a memory operand relative to rip, at `target`
};
/// The instruction at `address` in `code`.
Branch decode_branch(std::span<const uint8_t> code, size_t address);

/// "vaddps zmm1 {k2}, zmm3, [rsi]", for messages.
std::string disassemble(std::span<const uint8_t> bytes);

}  // namespace bareflow::x86
