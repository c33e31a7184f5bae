// LLVM's disassembler as a second reader of what was emitted (Debian: llvm-19-dev, else llvm-14-dev).
#pragma once

#include <span>
#include <string>

#include "tests/oracle/program.h"

namespace bareflow::x86 {

/// Empty if LLVM reads `bytes` as exactly one instruction with the form's mnemonic and with every register of the
/// operands in its text; else what it says instead.
std::string llvm_disagreement(Form form, const Operands& operands, std::span<const uint8_t> bytes);

}  // namespace bareflow::x86
