// What --compare says of assemblers that differ, which ours do not.
#include <gmock/gmock.h>

#include <sstream>

#include "emitter/routine_emitter.h"
#include "emitter/tools/compare.h"
#include "emitter/tools/listing.h"

namespace bareflow {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// mov rax, rbx by both opcodes that say it, between nop and ret.
const std::vector<uint8_t> kStoreForm = {0x90, 0x48, 0x89, 0xD8, 0xC3};
const std::vector<uint8_t> kLoadForm = {0x90, 0x48, 0x8B, 0xC3, 0xC3};

TEST(Comparison, OfTheSameBytesSaysHowMany) {
    std::ostringstream out;
    const Made made[] = {{"tiny", kStoreForm, {}}, {"asmjit", kStoreForm, {}}};
    EXPECT_TRUE(print_comparison(made, out));
    EXPECT_THAT(out.str(), HasSubstr("identical: 5 bytes"));
}

TEST(Comparison, ShowsTheInstructionsAroundTheFirstDifference) {
    std::ostringstream out;
    const Made made[] = {{"tiny", kStoreForm, {}}, {"asmjit", kStoreForm, {}}, {"xbyak", kLoadForm, {}}};
    EXPECT_FALSE(print_comparison(made, out));
    EXPECT_THAT(out.str(), AllOf(HasSubstr("first difference at byte 2"), HasSubstr("xbyak   0001  488bc3"),
                                 HasSubstr("tiny    0001  4889d8"), HasSubstr("mov rax, rbx")));
}

TEST(Comparison, OfCodeThatEndsEarlyShowsItsEnd) {
    std::ostringstream out;
    const std::vector<uint8_t> shorter(kStoreForm.begin(), kStoreForm.end() - 1);
    const Made made[] = {{"tiny", kStoreForm, {}}, {"asmjit", shorter, {}}};
    EXPECT_FALSE(print_comparison(made, out));
    EXPECT_THAT(out.str(), AllOf(HasSubstr("first difference at byte 4"), HasSubstr("(the end)")));
}

TEST(Comparison, FailsWhereAnAssemblerFailed) {
    std::ostringstream out;
    const Made made[] = {{"tiny", kStoreForm, {}}, {"asmjit", {}, "asmjit: buffer full"}};
    EXPECT_FALSE(print_comparison(made, out));
    EXPECT_THAT(out.str(), HasSubstr("asmjit: buffer full"));
}

TEST(Emit, AnnotatedCodeIsTheSameCode) {
    for (const OperationNaming& naming : operation_namings()) {
        const RoutineKey key = parse_key(naming.example).take();
        if (!can_emit(key)) continue;
        const EmittedRoutine routine = emit(key, {}, tiny_maker()).take();
        std::vector<uint8_t> room(1 << 16);
        Annotations annotations;
        AnnotatedAssembler assembler(room, annotations);
        emit_routine<AnnotatedAssembler>(assembler, key, routine.plan);
        ASSERT_EQ(assembler.finish(), x86::AssemblerError::kNone);
        EXPECT_EQ(routine.code, std::vector<uint8_t>(assembler.code().begin(), assembler.code().end()));
        EXPECT_FALSE(annotations.roles.empty());
    }
}

TEST(Emit, LargestPlansFit) {
    for (const char* name :
         {"project_64x1048576x1048576_add_f16_muladd_sse2", "gate_up_64x1048560x1048575_f16_muladd_sse2",
          "qkv_1x1048576x1048576_kv1048576_h256_f16_muladd_sse2", "attention_32q4kv_h256_muladd_sse2",
          "rms_norm_1048575_muladd_sse2"}) {
        const Plan plan{.panels = 16, .rows = 64, .unroll = 64, .vector_bytes = 16, .prefetch = 65535};
        Result<EmittedRoutine> routine = emit(parse_key(name).take(), plan, tiny_maker());
        EXPECT_TRUE(routine.ok()) << routine.error().message();
    }
}

}  // namespace
}  // namespace bareflow
