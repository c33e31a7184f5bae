// Where an instruction can be encoded in several ways: the one that all assemblers take. A test for each row of the
// policy table in emitter/README.md.
#include <gtest/gtest.h>

#include "tests/oracle/expect_code.h"

namespace bareflow::x86 {
namespace {

TEST(EncodingPolicy, GeneralRegisterToRegisterStoresTheSource) {
    expect_code(Form::mov, {rbx, rax}, "48 89 c3 ");
    expect_code(Form::mov, {ebx, eax}, "89 c3 ");
    expect_code(Form::add, {rbx, rax}, "48 01 c3 ");
    expect_code(Form::sub, {rbx, rax}, "48 29 c3 ");
    expect_code(Form::cmp, {rbx, rax}, "48 39 c3 ");
    expect_code(Form::and_, {rbx, rax}, "48 21 c3 ");
    expect_code(Form::or_, {rbx, rax}, "48 09 c3 ");
    expect_code(Form::xor_, {ebx, ebx}, "31 db ");
    expect_code(Form::test, {rbx, rax}, "48 85 c3 ");
}

TEST(EncodingPolicy, ArithmeticImmediatesTakeOneByteIfTheyFit) {
    expect_code(Form::add_imm, {rbx, int32_t{127}}, "48 83 c3 7f ");
    expect_code(Form::add_imm, {rbx, int32_t{-128}}, "48 83 c3 80 ");
    expect_code(Form::add_imm, {rbx, int32_t{128}}, "48 81 c3 80 00 00 00 ");
    expect_code(Form::imul_imm, {rbx, rcx, int32_t{100}}, "48 6b d9 64 ");
    expect_code(Form::imul_imm, {rbx, rcx, int32_t{1000}}, "48 69 d9 e8 03 00 00 ");
}

TEST(EncodingPolicy, WiderImmediatesOfTheAccumulatorTakeItsOwnOpcode) {
    expect_code(Form::add_imm, {rax, int32_t{100}}, "48 83 c0 64 ");
    expect_code(Form::add_imm, {rax, int32_t{1000}}, "48 05 e8 03 00 00 ");
    expect_code(Form::cmp_imm, {eax, int32_t{1000}}, "3d e8 03 00 00 ");
    expect_code(Form::test_imm, {eax, int32_t{1}}, "a9 01 00 00 00 ");
    expect_code(Form::test_imm, {ecx, int32_t{1}}, "f7 c1 01 00 00 00 ");
    expect_code(Form::cmp_imm, {rax.r8(), int32_t{1}}, "3c 01 ");
}

TEST(EncodingPolicy, ConstantsTakeTheShortestMove) {
    expect_code({move_constant(rcx, 5)}, "b9 05 00 00 00 ");
    expect_code({move_constant(rcx, 0)}, "b9 00 00 00 00 ");  // xor would change the flags
    expect_code({move_constant(rcx, 0xFFFFFFFF)}, "b9 ff ff ff ff ");
    expect_code({move_constant(rcx, -1)}, "48 c7 c1 ff ff ff ff ");
    expect_code({move_constant(r9, INT32_MIN)}, "49 c7 c1 00 00 00 80 ");
    expect_code({move_constant(rcx, int64_t{1} << 32)}, "48 b9 00 00 00 00 01 00 00 00 ");
    expect_code({move_constant(r9d, -1)}, "41 b9 ff ff ff ff ");
}

TEST(EncodingPolicy, ShiftsByOneHaveNoImmediate) {
    expect_code(Program{instruction(Form::shl, {rax, uint8_t{1}})}, "48 d1 e0 ");
    expect_code(Form::shl, {rax, uint8_t{2}}, "48 c1 e0 02 ");
}

TEST(EncodingPolicy, IncAndDecTakeModRm) {
    expect_code(Form::inc, {rcx}, "48 ff c1 ");
    expect_code(Form::dec, {ecx}, "ff c9 ");
}

TEST(EncodingPolicy, AnUnscaledIndexWithoutBaseIsABase) {
    expect_code(Program{instruction(Form::lea, {rax, ptr(no_base, rcx, 1, 8)})}, "48 8d 41 08 ");
}

TEST(EncodingPolicy, ADoubledIndexWithoutBaseIsBaseAndIndex) {
    expect_code(Program{instruction(Form::lea, {rax, ptr(no_base, rcx, 2)})}, "48 8d 04 09 ");
    expect_code(Form::lea, {rax, ptr(no_base, rcx, 4)}, "48 8d 04 8d 00 00 00 00 ");
}

TEST(EncodingPolicy, RspAsAnUnscaledIndexTradesPlacesWithTheBase) {
    expect_code(Form::lea, {rax, ptr(rcx, rsp, 1, 8)}, "48 8d 44 0c 08 ");
}

TEST(EncodingPolicy, DisplacementsTakeNoneOneOrFourBytes) {
    expect_code(Form::mov_load, {eax, ptr(rcx)}, "8b 01 ");
    expect_code(Form::mov_load, {eax, ptr(rcx, 127)}, "8b 41 7f ");
    expect_code(Form::mov_load, {eax, ptr(rcx, -128)}, "8b 41 80 ");
    expect_code(Form::mov_load, {eax, ptr(rcx, 128)}, "8b 81 80 00 00 00 ");
}

TEST(EncodingPolicy, VexWhereItCanSayItAndEvexOtherwise) {
    expect_code(Form::vaddps, {xmm(1), xmm(2), xmm(3)}, "c5 e8 58 cb ");
    expect_code(Form::vaddps, {ymm(1), ymm(2), ymm(15)}, "c4 c1 6c 58 cf ");
    expect_code(Form::vaddps, {zmm(1), zmm(2), zmm(3)}, "62 f1 6c 48 58 cb ");
    expect_code(Form::vaddps, {xmm(1), xmm(2), xmm(16)}, "62 b1 6c 08 58 c8 ");
    expect_code(Form::vaddps, {xmm(1).masked(k1), xmm(2), xmm(3)}, "62 f1 6c 09 58 cb ");
    expect_code(Form::vaddps, {xmm(1), xmm(2), ptr(rsi).broadcast()}, "62 f1 6c 18 58 0e ");
    // Also where EVEX's disp8 would be shorter.
    expect_code(Form::vmovups, {ymm(1), ptr(rsi, 512)}, "c5 fc 10 8e 00 02 00 00 ");
}

TEST(EncodingPolicy, VnniIsEvexUnlessVexIsAskedFor) {
    expect_code(Form::vpdpbusd, {ymm(1), ymm(2), ymm(3)}, "62 f2 6d 28 50 cb ");
    expect_code(Form::vpdpbusd_vex, {ymm(1), ymm(2), ymm(3)}, "c4 e2 6d 50 cb ");
    expect_code(Form::vpdpbusds_vex, {ymm(1), ymm(2), ymm(3)}, "c4 e2 6d 51 cb ");
}

TEST(EncodingPolicy, MovesBetweenVectorRegistersLoad) {
    expect_code(Form::vmovups, {ymm(1), ymm(2)}, "c5 fc 10 ca ");
    expect_code(Form::vmovaps, {ymm(1), ymm(10)}, "c4 c1 7c 28 ca ");  // not the store form, a byte shorter
    expect_code(Form::movaps, {xmm(1), xmm(2)}, "0f 28 ca ");
    expect_code(Form::vmovss, {xmm(1), xmm(2), xmm(3)}, "c5 ea 10 cb ");
    expect_code(Form::vmovq, {xmm(1), xmm(2)}, "c5 fa 7e ca ");
    expect_code(Form::movq, {xmm(1), xmm(2)}, "f3 0f 7e ca ");
}

TEST(EncodingPolicy, CommutativeSourcesAreNotSwapped) {
    expect_code(Form::vaddps, {xmm(1), xmm(2), xmm(9)}, "c4 c1 68 58 c9 ");
}

TEST(EncodingPolicy, IgnoredWIsZero) {
    expect_code(Form::vpmovsxbd, {ymm(1), xmm(2)}, "c4 e2 7d 21 ca ");
    expect_code(Form::vroundps, {ymm(1), ymm(2), uint8_t{0}}, "c4 e3 7d 08 ca 00 ");
    expect_code(Form::vpshufb, {zmm(1), zmm(2), zmm(3)}, "62 f2 6d 48 00 cb ");
}

TEST(EncodingPolicy, QuadWordMovesFromMemoryTakeTheVectorOpcodes) {
    expect_code(Form::movq, {xmm(1), ptr(rsi)}, "f3 0f 7e 0e ");
    expect_code(Form::movq_store, {ptr(rsi), xmm(1)}, "66 0f d6 0e ");
    expect_code(Form::vmovq_store, {ptr(rsi), xmm(1)}, "c5 f9 d6 0e ");
}

TEST(EncodingPolicy, JumpsBackAreShortIfTheyReachAndJumpsForwardAreNear) {
    expect_code({new_label(), bind(0), instruction(Form::jne, {Label{0}})}, "75 fe ");
    expect_code({new_label(), instruction(Form::jne, {Label{0}}), bind(0)}, "0f 85 00 00 00 00 ");
    expect_code({new_label(), instruction(Form::jne, {Label{0}.near()}), bind(0)}, "75 00 ");
}

TEST(EncodingPolicy, AlignmentTakesTheLongestNops) {
    expect_code({embed(1), align(16)}, "90 66 0f 1f 84 00 00 00 00 00 66 0f 1f 44 00 00 ");
    expect_code({embed(1), align(4)}, "90 0f 1f 00 ");
}

}  // namespace
}  // namespace bareflow::x86
