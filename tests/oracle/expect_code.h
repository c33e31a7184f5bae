// For tests that state bytes: all three assemblers must give them.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "emitter/asmjit_assembler.h"
#include "emitter/tiny_assembler.h"
#include "tests/oracle/decoder.h"
#include "tests/oracle/form_cases.h"

namespace bareflow::x86 {

inline std::string outcome(const Assembled& assembled) {
    return assembled.error == AssemblerError::kNone ? hex(assembled.bytes)
                                                    : std::string(name_of(assembled.error));
}

/// `expected`: bytes in hexadecimal, each followed by a space, or an error's name.
inline void expect_code(const Program& program, const std::string& expected) {
    EXPECT_EQ(outcome(assemble(assemble_with_tiny, program)), expected) << "tiny\n" << to_string(program);
    EXPECT_EQ(outcome(assemble(assemble_with_tiny_at_run_time, program)), expected) << "tiny at run time\n"
                                                                                    << to_string(program);
    EXPECT_EQ(outcome(assemble(assemble_with_asmjit, program)), expected) << "asmjit\n" << to_string(program);
    EXPECT_EQ(outcome(assemble(assemble_with_xbyak, program)), expected) << "xbyak\n" << to_string(program);
}

/// One instruction: the bytes, and what Zydis makes of them.
inline void expect_code(Form form, const Operands& operands, const std::string& expected) {
    expect_code(Program{instruction(form, operands)}, expected);
    const Assembled ours = assemble(assemble_with_tiny, {instruction(form, operands)});
    EXPECT_EQ(disagreement(form, operands, ours.bytes), "")
        << to_string(form, operands) << ": " << disassemble(ours.bytes);
}

/// tiny and asmjit both refuse it, tiny with this error.
inline void expect_refused(Form form, const Operands& operands,
                           AssemblerError error = AssemblerError::kNotEncodable) {
    const Program program = {new_label(), bind(0), instruction(form, operands)};
    EXPECT_EQ(name_of(assemble(assemble_with_tiny, program).error), name_of(error))
        << "tiny: " << to_string(form, operands);
    EXPECT_EQ(name_of(assemble(assemble_with_tiny_at_run_time, program).error), name_of(error))
        << "tiny at run time: " << to_string(form, operands);
    EXPECT_EQ(name_of(assemble(assemble_with_asmjit, program).error), name_of(error))
        << "asmjit: " << to_string(form, operands);
}

}  // namespace bareflow::x86
