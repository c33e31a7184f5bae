// What the fuzzers and their short runs in the unit tests share: make something at random, assemble it by all
// assemblers, decode it, compare.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "tests/oracle/form_cases.h"
#include "tests/oracle/program.h"

namespace bareflow::x86 {

/// How much was tried.
struct Coverage {
    uint64_t instructions = 0;
    uint64_t programs = 0;
    std::vector<uint64_t> by_form = std::vector<uint64_t>(kFormCount);
    unsigned forms() const;
};

/// One instruction: `under_test` against asmjit, xbyak and Zydis. Empty if all agree, else what is wrong.
std::string check_instruction(Chooser& choose, Assemble under_test, Coverage& coverage);
/// The same for a given one.
std::string check_instruction(Form form, const Operands& operands, Assemble under_test);

/// One program of labels, jumps (also around ±128), rip-relative operands, alignment and data: the three assemblers
/// agree, every jump and rip-relative operand goes where its label was bound, and a buffer that is too small, by any
/// amount, is an error and not a write outside of it.
std::string check_program(Chooser& choose, Assemble under_test, Coverage& coverage);
Program choose_program(Chooser& choose);

}  // namespace bareflow::x86
