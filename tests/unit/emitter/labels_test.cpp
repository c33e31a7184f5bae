// Labels, jumps and what is relative to rip.
#include <gtest/gtest.h>

#include "tests/oracle/expect_code.h"

namespace bareflow::x86 {
namespace {

constexpr Label kLabel{0};
constexpr size_t kShortJump = 2, kNearJmp = 5, kNearJcc = 6;

Assembled expect_same(const Program& program) {
    const Assembled tiny = assemble(assemble_with_tiny, program);
    EXPECT_EQ(outcome(tiny), outcome(assemble(assemble_with_tiny_at_run_time, program)))
        << to_string(program);
    EXPECT_EQ(outcome(tiny), outcome(assemble(assemble_with_asmjit, program))) << to_string(program);
    EXPECT_EQ(outcome(tiny), outcome(assemble(assemble_with_xbyak, program))) << to_string(program);
    return tiny;
}

TEST(Labels, JumpsBackTakeTheShortFormUpTo128BytesAndTheNearOneBeyond) {
    for (Form jump : {Form::jmp, Form::jne, Form::jg}) {
        const size_t near = jump == Form::jmp ? kNearJmp : kNearJcc;
        for (unsigned between = 120; between <= 135; ++between) {
            const Assembled got =
                expect_same({new_label(), bind(0), embed(between), instruction(jump, {kLabel})});
            const bool reaches = between + kShortJump <= 128;
            EXPECT_EQ(got.bytes.size(), between + (reaches ? kShortJump : near)) << between;
            const Branch branch = decode_branch(got.bytes, between);
            EXPECT_TRUE(branch.is_branch);
            EXPECT_EQ(branch.target, 0) << between;
        }
    }
}

TEST(Labels, JumpsForwardAreNearAndPatchedWhenTheLabelIsBound) {
    for (unsigned between : {0u, 1u, 126u, 127u, 128u, 129u, 130u, 40000u}) {
        const Assembled got =
            expect_same({new_label(), instruction(Form::jle, {kLabel}), embed(between), bind(0)});
        const Branch branch = decode_branch(got.bytes, 0);
        EXPECT_EQ(branch.length, kNearJcc);
        EXPECT_EQ(branch.target, static_cast<int64_t>(kNearJcc + between));
    }
}

TEST(Labels, JumpsForwardMarkedNearAreShortUpTo127BytesAndAnErrorBeyond) {
    for (unsigned between = 120; between <= 135; ++between) {
        const Assembled got =
            expect_same({new_label(), instruction(Form::jmp, {kLabel.near()}), embed(between), bind(0)});
        if (between > 127) {
            EXPECT_EQ(got.error, AssemblerError::kDisplacement) << between;
            continue;
        }
        EXPECT_EQ(got.error, AssemblerError::kNone);
        EXPECT_EQ(decode_branch(got.bytes, 0).length, kShortJump);
        EXPECT_EQ(decode_branch(got.bytes, 0).target, static_cast<int64_t>(kShortJump + between));
    }
}

TEST(Labels, ManyUsesOfOneLabelAllFindIt) {
    Program program = {new_label(), new_label()};
    for (unsigned i = 0; i < 100; ++i) {
        program.push_back(instruction(Form::jb, {Label{static_cast<uint8_t>(i % 2)}}));
        program.push_back(
            instruction(Form::vmulps, {ymm(1), ymm(2), ptr(Label{static_cast<uint8_t>(i % 2)}, 4 * i)}));
    }
    program.push_back(bind(1));
    program.push_back(embed(64));
    program.push_back(bind(0));
    const Assembled got = expect_same(program);
    const int64_t places[] = {static_cast<int64_t>(got.bytes.size()),
                              static_cast<int64_t>(got.bytes.size() - 64)};
    for (unsigned i = 0; i < 100; ++i) {
        EXPECT_EQ(decode_branch(got.bytes, got.starts[2 + 2 * i]).target, places[i % 2]);
        EXPECT_EQ(decode_branch(got.bytes, got.starts[3 + 2 * i]).target, places[i % 2] + 4 * i);
    }
}

TEST(Labels, ConstantsAfterTheCodeAreReadRelativeToRip) {
    expect_code({new_label(), instruction(Form::vbroadcastss, {ymm(0), ptr(kLabel, 4)}),
                 instruction(Form::ret, {}), align(16), bind(0), embed(8)},
                "c4 e2 7d 18 05 0b 00 00 00 c3 66 0f 1f 44 00 00 90 90 90 90 90 90 90 90 ");
}

TEST(Labels, ALabelThatIsUsedAndNeverBoundIsAnError) {
    expect_code({new_label(), instruction(Form::jmp, {kLabel})}, "label never bound");
    expect_code({new_label(), instruction(Form::ret, {})}, "c3 ");  // unused is fine
}

TEST(Labels, ALabelIsBoundOnce) {
    expect_code({new_label(), bind(0), bind(0)}, "label bound twice or unknown");
}

TEST(Labels, ALabelOfNobodyIsAnError) {
    for (Assemble with : {assemble_with_tiny, assemble_with_tiny_at_run_time, assemble_with_asmjit}) {
        EXPECT_EQ(assemble(with, {instruction(Form::jmp, {Label{5}})}).error, AssemblerError::kBoundTwice);
        EXPECT_NE(assemble(with, {instruction(Form::vmovups, {ymm(0), ptr(Label{5})})}).error,
                  AssemblerError::kNone);
    }
}

TEST(Labels, SixtyFourLabelsFitAndOneMoreIsAnError) {
    Program program(kMaxLabels, new_label());
    for (unsigned i = 0; i < kMaxLabels; ++i)
        program.push_back(instruction(Form::jmp, {Label{static_cast<uint8_t>(i)}}));
    for (unsigned i = 0; i < kMaxLabels; ++i) program.push_back(bind(i));
    EXPECT_EQ(expect_same(program).error, AssemblerError::kNone);
    program.insert(program.begin(), new_label());
    expect_code(program, "too many labels");
}

TEST(Labels, ManyUsesMayWaitAndOneMoreIsAnError) {
    Program program = {new_label()};
    for (unsigned i = 0; i < kMaxPendingUses; ++i) program.push_back(instruction(Form::jmp, {kLabel}));
    Program more = program;
    more.push_back(instruction(Form::jmp, {kLabel}));
    program.push_back(bind(0));
    more.push_back(bind(0));
    EXPECT_EQ(expect_same(program).error, AssemblerError::kNone);
    EXPECT_EQ(assemble(assemble_with_tiny, more).error, AssemblerError::kTooManyLabels);
    EXPECT_EQ(assemble(assemble_with_asmjit, more).error, AssemblerError::kTooManyLabels);
}

TEST(Labels, AllLabelsAndAllUsesAtOnceFitIntoAsmjitsBlock) {
    Program program(kMaxLabels, new_label());
    for (unsigned round = 0; round < 3; ++round) {
        for (unsigned i = 0; i < kMaxPendingUses; ++i) {
            if (round == 0 || i % kMaxLabels >= kMaxLabels / 2) {
                program.push_back(instruction(Form::ja, {Label{static_cast<uint8_t>(i % kMaxLabels)}}));
            }
        }
        if (round == 0)
            for (unsigned i = 0; i < kMaxLabels / 2; ++i) program.push_back(bind(i));
        if (round == 1)
            for (unsigned i = kMaxLabels / 2; i < kMaxLabels; ++i) program.push_back(bind(i));
    }
    EXPECT_EQ(expect_same(program).error, AssemblerError::kNone);
}

}  // namespace
}  // namespace bareflow::x86
