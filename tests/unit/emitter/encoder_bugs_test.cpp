// Bugs that other encoders shipped, a test for each (FIELD.md "Encoder bugs").
#include <gtest/gtest.h>

#include "tests/oracle/expect_code.h"

namespace bareflow::x86 {
namespace {

TEST(EncoderBugs, RspAndR12AsBaseNeedASib) {
    expect_code(Form::mov_load, {rax, ptr(rsp)}, "48 8b 04 24 ");
    expect_code(Form::mov_load, {rax, ptr(r12)}, "49 8b 04 24 ");
    expect_code(Form::vmovups, {ymm(0), ptr(rsp, 32)}, "c5 fc 10 44 24 20 ");
    expect_code(Form::vmovups, {ymm(0), ptr(r12, 32)}, "c4 c1 7c 10 44 24 20 ");
    expect_code(Form::vmovups, {zmm(0), ptr(r12, 64)}, "62 d1 7c 48 10 44 24 01 ");
}

TEST(EncoderBugs, RbpAndR13AsBaseNeedADisplacement) {
    expect_code(Form::mov_load, {rax, ptr(rbp)}, "48 8b 45 00 ");
    expect_code(Form::mov_load, {rax, ptr(r13)}, "49 8b 45 00 ");
    expect_code(Form::vmovups, {ymm(0), ptr(rbp)}, "c5 fc 10 45 00 ");
    expect_code(Form::vmovups, {ymm(0), ptr(r13, rcx, 4)}, "c4 c1 7c 10 44 8d 00 ");
    expect_code(Form::vmovups, {zmm(0), ptr(r13)}, "62 d1 7c 48 10 45 00 ");
}

TEST(EncoderBugs, R12IsAnIndexAndRspIsNone) {
    expect_code(Form::lea, {rax, ptr(rcx, r12, 1)}, "4a 8d 04 21 ");
    expect_code(Form::lea, {rax, ptr(rcx, rsp, 1)}, "48 8d 04 0c ");  // the two trade places
}

TEST(EncoderBugs, EvexDisp8CountsVectors) {
    expect_code(Form::vmovups, {zmm(0), ptr(rsi, 64)}, "62 f1 7c 48 10 46 01 ");
    expect_code(Form::vmovups, {zmm(0), ptr(rsi, 127 * 64)}, "62 f1 7c 48 10 46 7f ");
    expect_code(Form::vmovups, {zmm(0), ptr(rsi, 128 * 64)}, "62 f1 7c 48 10 86 00 20 00 00 ");
    expect_code(Form::vmovups, {zmm(0), ptr(rsi, -128 * 64)}, "62 f1 7c 48 10 46 80 ");
    expect_code(Form::vmovups, {zmm(0), ptr(rsi, -129 * 64)}, "62 f1 7c 48 10 86 c0 df ff ff ");
}

TEST(EncoderBugs, EvexDisp8OfUnalignedDisplacementsIsNotUsed) {
    expect_code(Form::vmovups, {zmm(0), ptr(rsi, 1)}, "62 f1 7c 48 10 86 01 00 00 00 ");
    expect_code(Form::vmovups, {zmm(0), ptr(rsi, -1)}, "62 f1 7c 48 10 86 ff ff ff ff ");
    expect_code(Form::vmovups, {zmm(0), ptr(rsi, 32)}, "62 f1 7c 48 10 86 20 00 00 00 ");
}

TEST(EncoderBugs, EvexDisp8UnderABroadcastCountsElementsAt508And512) {
    const auto add = [](int64_t displacement, const char* bytes) {
        expect_code(Form::vaddps, {zmm(0), zmm(1), ptr(rsi, displacement).broadcast()}, bytes);
    };
    add(508, "62 f1 74 58 58 46 7f ");
    add(512, "62 f1 74 58 58 86 00 02 00 00 ");
    add(-512, "62 f1 74 58 58 46 80 ");
    add(-516, "62 f1 74 58 58 86 fc fd ff ff ");
    add(510, "62 f1 74 58 58 86 fe 01 00 00 ");
}

TEST(EncoderBugs, EvexDisp8OfHalfAndScalarOperands) {
    expect_code(Form::vcvtph2ps, {zmm(0), ptr(rsi, 32)}, "62 f2 7d 48 13 46 01 ");
    expect_code(Form::vbroadcastss, {zmm(0), ptr(rsi, 4)}, "62 f2 7d 48 18 46 01 ");
    expect_code(Form::vpmovsxbd, {zmm(0), ptr(rsi, 16)}, "62 f2 7d 48 21 46 01 ");
    expect_code(Form::vextractf32x4, {ptr(rsi, 16), zmm(0), uint8_t{1}}, "62 f3 7d 48 19 46 01 01 ");
}

TEST(EncoderBugs, EvexXIsTheFifthBitOfARegisterOperand) {
    // No gathers here, so no VSIB; the same bit extends ModRM.rm.
    expect_code(Form::vaddps, {zmm(0), zmm(1), zmm(16)}, "62 b1 74 48 58 c0 ");
    expect_code(Form::vaddps, {zmm(0), zmm(1), zmm(23)}, "62 b1 74 48 58 c7 ");
    expect_code(Form::vaddps, {zmm(0), zmm(1), zmm(24)}, "62 91 74 48 58 c0 ");
    expect_code(Form::vaddps, {zmm(0), zmm(1), zmm(31)}, "62 91 74 48 58 c7 ");
}

TEST(EncoderBugs, EvexV2AndR2ExtendTheOtherRegisters) {
    expect_code(Form::vaddps, {zmm(0), zmm(16), zmm(1)}, "62 f1 7c 40 58 c1 ");
    expect_code(Form::vaddps, {zmm(16), zmm(0), zmm(1)}, "62 e1 7c 48 58 c1 ");
    expect_code(Form::vaddps, {zmm(31), zmm(31), zmm(31)}, "62 01 04 40 58 ff ");
    expect_code(Form::vcvtph2ps, {zmm(31), ymm(31)}, "62 02 7d 48 13 ff ");
}

TEST(EncoderBugs, TwoByteVexNeitherForExtendedBaseNorIndexNorWNorOtherMaps) {
    expect_code(Form::vaddps, {ymm(8), ymm(9), ymm(2)}, "c5 34 58 c2 ");                 // R alone: two bytes
    expect_code(Form::vaddps, {ymm(0), ymm(1), ymm(8)}, "c4 c1 74 58 c0 ");              // B
    expect_code(Form::vaddps, {ymm(0), ymm(1), ptr(r8)}, "c4 c1 74 58 00 ");             // B
    expect_code(Form::vaddps, {ymm(0), ymm(1), ptr(rax, r8, 1)}, "c4 a1 74 58 04 00 ");  // X
    expect_code(Form::vmovq_from_gp, {xmm(0), rax}, "c4 e1 f9 6e c0 ");                  // W
    expect_code(Form::vfmadd231ps, {ymm(0), ymm(1), ymm(2)}, "c4 e2 75 b8 c2 ");         // map 0F38
    expect_code(Form::vperm2f128, {ymm(0), ymm(1), ymm(2), uint8_t{1}}, "c4 e3 75 06 c2 01 ");
}

TEST(EncoderBugs, BroadcastBitIsSetForMemoryAndNeverForRegisters) {
    expect_code(Form::vfmadd231ps, {ymm(0), ymm(1), ptr(rsi).broadcast()}, "62 f2 75 38 b8 06 ");
    expect_code(Form::vfmadd231ps, {ymm(0), ymm(17), ymm(2)}, "62 f2 75 20 b8 c2 ");
    expect_code(Form::vpermq, {zmm(0), ptr(rsi, 8).broadcast(), uint8_t{0}},
                "62 f3 fd 58 00 46 01 00 ");  // 8 bytes each
}

TEST(EncoderBugs, RoundingControlIsNotOffered) {
    // {er} and {sae} are EVEX.b with a register (xbyak 6.68 confuses them): no form can set it.
    for (const FormInfo& form : all_forms()) {
        if (!form.can_evex()) continue;
        for_each_case(form, [&](const Operands& operands) {
            for (const AnyOperand& operand : operands) {
                if (operand.kind() == AnyOperand::Kind::kMemory) return;
            }
            const std::vector<uint8_t> code =
                assemble(assemble_with_tiny, {instruction(form.form, operands)}).bytes;
            if (code.empty() || code[0] != 0x62) return;
            ASSERT_EQ(code[3] & 0x10, 0) << to_string(form.form, operands);
        });
    }
}

TEST(EncoderBugs, MemoryFormOfVpdpbusd) {
    expect_code(Form::vpdpbusd, {zmm(0), zmm(1), ptr(rsi, 64)}, "62 f2 75 48 50 46 01 ");
    expect_code(Form::vpdpbusd, {xmm(0), xmm(1), ptr(rsi, 16)}, "62 f2 75 08 50 46 01 ");
    expect_code(Form::vpdpbusd, {ymm(0), ymm(1), ptr(rsi, 4).broadcast()}, "62 f2 75 38 50 46 01 ");
    expect_code(Form::vpdpbusd_vex, {ymm(0), ymm(1), ptr(rsi, 32)}, "c4 e2 75 50 46 20 ");
}

TEST(EncoderBugs, RipRelativeCountsTheTrailingImmediate) {
    const Program program = {new_label(),
                             bind(0),
                             instruction(Form::shufps, {xmm(0), ptr(Label{0}, 0), uint8_t{0}}),
                             instruction(Form::vshufps, {ymm(0), ymm(1), ptr(Label{0}, 0), uint8_t{0}}),
                             instruction(Form::add_imm, {dword_ptr(Label{0}, 0), int32_t{1000}}),
                             instruction(Form::vaddps, {ymm(0), ymm(1), ptr(Label{0}, 0)})};
    expect_code(program,
                "0f c6 05 f8 ff ff ff 00 "
                "c5 f4 c6 05 ef ff ff ff 00 "
                "81 05 e5 ff ff ff e8 03 00 00 "
                "c5 f4 58 05 dd ff ff ff ");
}

TEST(EncoderBugs, RexWInShortForms) {
    expect_code(Form::add_imm, {rax, int32_t{1000}}, "48 05 e8 03 00 00 ");
    expect_code(Form::add_imm, {eax, int32_t{1000}}, "05 e8 03 00 00 ");
    expect_code(Form::test_imm, {rax, int32_t{1000}}, "48 a9 e8 03 00 00 ");
    expect_code(Form::push, {r12}, "41 54 ");  // 64 bits without REX.W
    expect_code(Form::call, {r12}, "41 ff d4 ");
    expect_code(Form::movq_from_gp, {xmm(0), rax}, "66 48 0f 6e c0 ");
    expect_code(Form::movq_from_gp, {xmm(8), r8}, "66 4d 0f 6e c0 ");  // REX stands after 66
}

TEST(EncoderBugs, ByteRegistersFrom4NeedRex) {
    expect_code(Form::movzx, {eax, rcx.r8()}, "0f b6 c1 ");
    expect_code(Form::movzx, {eax, rsi.r8()}, "40 0f b6 c6 ");
    expect_code(Form::sete, {rdi.r8()}, "40 0f 94 c7 ");
    expect_code(Form::mov, {ptr(rdx), rsp.r8()}, "40 88 22 ");
    expect_code(Form::mov, {ptr(rdx), r8.r8()}, "44 88 02 ");
    expect_code(Form::movzx, {eax, byte_ptr(rsi)}, "0f b6 06 ");  // as a base rsi is no byte register
}

TEST(EncoderBugs, EmissionStopsAtTheEndOfTheBuffer) {
    constexpr uint8_t kUntouched = 0xA5;
    const auto generate = [](auto& a) {
        a.vfmadd231ps(zmm(3), zmm(4), ptr(rsi, 4096));
        a.mov(rax, int64_t{1} << 40);
        a.addps(xmm(8), ptr(r12, r13, 4, 1000));
        a.vshufps(ymm(1), ymm(2), ptr(rsi, 1000), 3);
        const Label loop = a.new_label();
        a.align(16);
        a.bind(loop);
        a.sub(rcx, 1);
        a.jne(loop);
        a.vzeroupper();
        a.ret();
        a.embed_u32(7);
    };
    const auto run = [&]<typename A>(std::type_identity<A>, size_t size, AssemblerError& error) {
        std::vector<uint8_t> memory(size + 128, kUntouched);
        {
            A a(std::span<uint8_t>(memory).subspan(64, size));
            generate(a);
            error = a.finish();
        }
        for (size_t i = 0; i < memory.size(); ++i) {
            if ((i < 64 || i >= 64 + size) && memory[i] != kUntouched) return false;
        }
        return true;
    };
    AssemblerError error{};
    alignas(64) uint8_t enough[256];
    TinyAssembler whole(enough);
    generate(whole);
    const size_t needed = whole.size();
    for (size_t size = 0; size <= needed + 40; ++size) {
        EXPECT_TRUE(run(std::type_identity<TinyAssembler>(), size, error)) << "tiny wrote outside " << size;
        EXPECT_EQ(error, size < needed ? AssemblerError::kBufferFull : AssemblerError::kNone) << size;
        EXPECT_TRUE(run(std::type_identity<AsmjitAssembler>(), size, error))
            << "asmjit wrote outside " << size;
        // asmjit wants 16 bytes for any instruction.
        if (size < needed) {
            EXPECT_EQ(error, AssemblerError::kBufferFull) << size;
        } else if (size >= needed + 16) {
            EXPECT_EQ(error, AssemblerError::kNone) << size;
        }
    }
}

}  // namespace
}  // namespace bareflow::x86
