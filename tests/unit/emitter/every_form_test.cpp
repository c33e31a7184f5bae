// Every row of instructions.inc, with operands that touch every bit of its encoding.
#include <gtest/gtest.h>

#include "tests/oracle/expect_code.h"

namespace bareflow::x86 {
namespace {

// The cases number over a million; with a sanitizer, every eighth.
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kStride = 8;
#else
constexpr size_t kStride = 1;
#endif

TEST(EveryForm, IsTheSameFromTinyAsmjitAndXbyakAndDecodesToWhatWasAsked) {
    size_t cases = 0, without_xbyak = 0, failures = 0;
    for (const FormInfo& form : all_forms()) {
        for_each_case(form, [&](const Operands& operands) {
            if (++cases % kStride != 0 || failures > 10) return;
            const Program program = {new_label(), bind(0), instruction(form.form, operands)};
            const Assembled tiny = assemble(assemble_with_tiny, program);
            const Assembled asmjit = assemble(assemble_with_asmjit, program);
            const Assembled at_run_time = assemble(assemble_with_tiny_at_run_time, program);
            const bool has_oracle = !xbyak_differs(form.form, operands);
            const Assembled xbyak = has_oracle ? assemble(assemble_with_xbyak, program) : tiny;
            if (!has_oracle) ++without_xbyak;
            const std::string wrong = disagreement(form.form, operands, tiny.bytes);
            if (tiny.error == AssemblerError::kNone && tiny == asmjit && tiny == xbyak &&
                tiny == at_run_time && wrong.empty()) {
                return;
            }
            ++failures;
            ADD_FAILURE() << to_string(form.form, operands) << "\n tiny   " << outcome(tiny)
                          << disassemble(tiny.bytes) << "\n at run time " << outcome(at_run_time)
                          << "\n asmjit " << outcome(asmjit) << "\n xbyak  " << outcome(xbyak) << "\n Zydis  "
                          << wrong;
        });
    }
    RecordProperty("cases", static_cast<int>(cases));
    RecordProperty("cases_without_xbyak", static_cast<int>(without_xbyak));
    // The numbers in emitter/README.md.
    EXPECT_EQ(all_forms().size(), 523u);
    EXPECT_EQ(cases, 638706u);
    if (kStride == 1) {
        EXPECT_EQ(without_xbyak, 1391u);
    }
}

TEST(EveryForm, CanBeCalledWithALengthKnownOnlyAtRunTime) {
    for (VecLength length : {VecLength::kXmm, VecLength::kYmm, VecLength::kZmm}) {
        const Operands operands = {vec(length, 1), vec(length, 2), ptr(rsi, 64)};
        const Assembled got = assemble(assemble_with_tiny, {instruction(Form::vfmadd231ps, operands)});
        EXPECT_EQ(disagreement(Form::vfmadd231ps, operands, got.bytes), "");
    }
}

TEST(EveryForm, RefusesOperandsThatTheInstructionDoesNotHave) {
    expect_refused(Form::vaddps, {xmm(1), ymm(2), xmm(3)});  // lengths that differ
    expect_refused(Form::vaddps, {ymm(1), ymm(2), xmm(3)});
    expect_refused(Form::vaddps, {ymm(32), ymm(2), ymm(3)});            // no such register
    expect_refused(Form::vaddps, {ymm(1), ymm(2).masked(k1), ymm(3)});  // a mask on a source
    expect_refused(Form::vaddps, {ymm(1), ymm(2), ptr(rsi).masked(k1)});
    expect_refused(Form::vaddps, {ymm(1).zeroed(), ymm(2), ymm(3)});  // zeroing without a mask
    expect_refused(Form::vpand, {zmm(1), zmm(2), zmm(3)});            // VEX only
    expect_refused(Form::vpand, {xmm(1), xmm(2), xmm(16)});
    expect_refused(Form::vpand, {xmm(1).masked(k1), xmm(2), xmm(3)});
    expect_refused(Form::vpaddb, {ymm(1), ymm(2), ptr(rsi).broadcast()});  // no broadcast of bytes
    expect_refused(Form::vpermps, {xmm(1), xmm(2), xmm(3)});               // 256 bits and up
    expect_refused(Form::vpermd, {xmm(1), xmm(2), ptr(rsi)});
    expect_refused(Form::addps, {xmm(16), xmm(1)});  // legacy: 16 registers
    expect_refused(Form::addps, {xmm(1), xmm(16)});
    expect_refused(Form::addps, {xmm(1).masked(k1), xmm(2)});
    expect_refused(Form::movaps, {xmm(1), ptr(rsi).broadcast()});
    expect_refused(Form::vblendvps, {ymm(1), ymm(2), ymm(3), ymm(16)});  // four bits for the fourth register
    expect_refused(Form::vblendvps, {ymm(1), ymm(2), ymm(3), xmm(4)});
    expect_refused(Form::add, {rax, ecx});  // widths that differ
    expect_refused(Form::add_load, {rax, dword_ptr(rcx)});
    expect_refused(Form::add_imm, {ptr(rsi), int32_t{1}});  // of what size?
    expect_refused(Form::inc, {ptr(rsi)});
    expect_refused(Form::movzx, {eax, ecx});
    expect_refused(Form::cmove, {eax.r8(), ecx.r8()});
    expect_refused(Form::push, {eax});
    expect_refused(Form::sete, {eax});
    expect_refused(Form::vmovd, {xmm(1), rax});          // that is vmovq
    expect_refused(Form::lea, {rax, ptr(rcx, rsp, 2)});  // rsp as an index
    expect_refused(Form::lea, {rax, ptr(ecx)});          // 32-bit addresses
    expect_refused(Form::lea, {rax, ptr(no_base, ecx, 2)});
    expect_refused(Form::lea, {rax, ptr(rcx, edx, 2)});
    expect_refused(Form::lea, {rax, ptr(rcx, rdx, 3)});
    expect_refused(Form::lea, {rax, ptr(Label{}, 0)});  // a label that nobody made
    expect_refused(Form::lea, {rax, ptr(rcx, int64_t{1} << 31)}, AssemblerError::kDisplacement);
    expect_refused(Form::vmovups, {ymm(1), ptr(rcx, -(int64_t{1} << 31) - 1)}, AssemblerError::kDisplacement);
}

TEST(EveryForm, KeepsItsFirstErrorAndWritesNothingAfterIt) {
    alignas(64) static uint8_t buffer[256];
    TinyAssembler a(buffer);
    a.vaddps(xmm(1), xmm(2), xmm(3));
    const size_t good = a.size();
    a.vaddps(ymm(40), ymm(2), ymm(3));
    a.lea(rax, ptr(rcx, int64_t{1} << 40));
    const Label label = a.new_label();
    a.bind(label);
    a.align(16);
    a.embed_u32(1);
    a.mov(rax, 1);
    a.jne(label);
    a.ret();
    EXPECT_EQ(a.size(), good);
    EXPECT_EQ(a.finish(), AssemblerError::kNotEncodable);
    EXPECT_TRUE(a.code().empty());
}

}  // namespace
}  // namespace bareflow::x86
