#include "arch/boot_main.h"

#include <gmock/gmock.h>

#include "arch/routine_choice.h"
#include "emitter/routine_emitter.h"
#include "tests/unit/arch/test_platform.h"

namespace bareflow {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

struct FakePlatform final : testing::TestPlatform {  // no fma: the muladd class
    MemoryUse memory_use() override {
        return {.total = 1 << 20, .heap_in_use = 5, .heap_peak = 77, .image = 1000};
    }
};

struct BootDesk {
    BootDesk() {
        platform.fake_terminal.person = false;
        options.sampling.temperature = 0;
        options.max_tokens = 4;
    }
    Result<void> boot() { return boot_main(platform, options, images); }
    std::string& output() { return platform.fake_terminal.output; }
    std::string last(const char* event) const { return platform.lines.last(event); }

    FakePlatform platform;
    Options options;
    std::vector<ModelImage> images = {testing::default_image()};
};

const uint8_t kGarbage[128] = {};
const ModelImage kBadImage = {"module", "bad.wllm", kGarbage};

TEST(BootMain, WithAPromptWritesTheStoryAndANewlineAndNothingElse) {
    BootDesk desk;
    desk.options.set("prompt", "Tom and Lily went to the park.").take();
    desk.platform.fake_terminal.person = true;  // -p is a single run all the same
    desk.platform.fake_terminal.input = "unread";
    ASSERT_TRUE(desk.boot().ok());
    EXPECT_THAT(desk.output(), StartsWith("Tom and Lily went to the park. The b"));
    EXPECT_THAT(desk.output(), EndsWith("\n"));
    EXPECT_EQ(desk.output().find('\n'), desk.output().size() - 1);
    EXPECT_EQ(desk.platform.fake_terminal.input, "unread");
    EXPECT_THAT(desk.last("run"), HasSubstr("generated=4 stop=length"));
    EXPECT_EQ(desk.platform.fake_allocator.live, 0u);
}

TEST(BootMain, WithoutAPersonTheFirstLineOfTheInputBeginsTheStory) {
    const struct {
        const char *input, *begins;
    } cases[] = {
        {"Tom and Lily\nsecond line\n", "Tom and Lily"},
        {"Tom and Lily\r\n", "Tom and Lily"},
        {"Tom and Lily", "Tom and Lily"},
        {"", "A girl"},
        {"\n", "A girl"},
        {"  \nTom\n", "A girl"},
    };
    for (const auto& c : cases) {
        BootDesk desk;
        desk.platform.fake_terminal.input = c.input;
        ASSERT_TRUE(desk.boot().ok()) << c.input;
        EXPECT_THAT(desk.output(), StartsWith(c.begins)) << c.input;
        EXPECT_EQ(desk.output().find('\n'), desk.output().size() - 1) << c.input;
        EXPECT_EQ(desk.output().find('\r'), std::string::npos);
    }
    BootDesk desk;
    desk.platform.fake_terminal.input = std::string(5000, 'x');
    Result<void> done = desk.boot();
    ASSERT_FALSE(done.ok());
    EXPECT_THAT(std::string(done.error().message()), HasSubstr("longer than 4096 bytes"));
    EXPECT_EQ(desk.output(), "");
}

TEST(BootMain, WithAPersonItChats) {
    BootDesk desk;
    desk.platform.fake_terminal.person = true;
    desk.platform.fake_terminal.input = "/cpu\r/mem\r/seed\r/quit\r";
    ASSERT_TRUE(desk.boot().ok());
    EXPECT_THAT(desk.output(), HasSubstr("/help"));
    EXPECT_THAT(desk.output(), HasSubstr("> /cpu\nTest CPU\n"));
    EXPECT_THAT(desk.output(), HasSubstr("machine                         1.00 MiB\n"));
    EXPECT_THAT(desk.output(), HasSubstr("seed 4711\n"));  // from the platform's entropy
    EXPECT_THAT(desk.last("bareflow"), HasSubstr("mode=chat"));
}

TEST(BootMain, TheChatTemplateIsTheModelsOwnOrTheOptions) {
    const struct {
        const char *in_model, *option, *record, *shown;
    } cases[] = {
        {"plain", "", "name=plain source=model", "Begin a story"},
        {"chatml", "", "name=chatml source=model", "Say something"},
        {"{{ '<|start_header_id|>' }}", "", "name=plain source=unknown",
         "The model's chat template is none that BareFlow knows"},
        {"{{ '<|start_header_id|>' }}", "zephyr", "name=zephyr source=option", "Say something"},
        {"chatml", "plain", "name=plain source=option", "Begin a story"},
    };
    for (const auto& c : cases) {
        BootDesk desk;
        const Descriptor memory(memfd_create("test-model", MFD_CLOEXEC));
        ImportRequest request;
        request.model = "model/bareflow-stories.bin";
        request.chat_template = c.in_model;
        import_model(request, memory.get()).take();
        const MappedFile file = MappedFile::map(memory.get(), "test-model").take();
        desk.images = {{"embedded", "stories", file.bytes()}};
        if (*c.option != 0) desk.options.set("chat-template", c.option).take();
        desk.platform.fake_terminal.person = true;
        desk.platform.fake_terminal.input = "/quit\r";
        ASSERT_TRUE(desk.boot().ok());
        EXPECT_THAT(desk.last("chat_template"), HasSubstr(c.record));
        EXPECT_THAT(desk.output(), HasSubstr(c.shown));
        EXPECT_EQ(desk.platform.fake_allocator.live, 0u);
    }
}

TEST(BootMain, TheSystemPromptOfTheOptionsCountsAndTheUserIsToldWhereItCannot) {
    BootDesk desk;
    desk.options.set("system", "Be kind.").take();
    desk.options.set("chat-template", "chatml").take();
    desk.platform.fake_terminal.person = true;
    desk.platform.fake_terminal.input = "/system\r";
    ASSERT_TRUE(desk.boot().ok());
    EXPECT_THAT(desk.output(), HasSubstr("system Be kind.\n"));
    desk.options.set("chat-template", "plain").take();
    desk.platform.fake_terminal.input = "";
    ASSERT_TRUE(desk.boot().ok());
    EXPECT_THAT(desk.output(), HasSubstr("--system: a story has no system prompt"));
}

TEST(BootMain, AStopEndsASingleRunToo) {
    BootDesk desk;
    desk.options.set("prompt", "Tom and Lily went to the park.").take();
    desk.options.set("stop", " b").take();
    ASSERT_TRUE(desk.boot().ok());
    EXPECT_EQ(desk.output(), "Tom and Lily went to the park. The\n");
    EXPECT_THAT(desk.last("run"), HasSubstr("stop=stop"));
}

TEST(BootMain, AModelThatCannotBeUsedIsRefusedAndTheNextOneTaken) {
    for (bool person : {false, true}) {
        BootDesk desk;
        desk.images.insert(desk.images.begin(), kBadImage);
        desk.platform.fake_terminal.person = person;
        ASSERT_TRUE(desk.boot().ok());
        EXPECT_THAT(desk.last("model_refused"), HasSubstr("source=module name=bad.wllm reason="));
        EXPECT_THAT(desk.last("model"), HasSubstr("source=embedded"));
        // A person is told; who reads only the text is not.
        EXPECT_THAT(desk.output(), StartsWith(person ? "model bad.wllm cannot be used: " : "A girl"));
    }
}

TEST(BootMain, WithoutAnyUsableModelItFailsWithTheReason) {
    BootDesk desk;
    desk.images = {kBadImage};
    Result<void> done = desk.boot();
    ASSERT_FALSE(done.ok());
    EXPECT_THAT(std::string(done.error().message()), StartsWith("model bad.wllm: "));
    EXPECT_THAT(desk.last("error"), HasSubstr("bad.wllm"));
    EXPECT_EQ(desk.output(), "");
    desk.images.clear();
    EXPECT_THAT(std::string(desk.boot().error().message()), HasSubstr("-m"));
}

TEST(BootMain, PicksTheNumericClass) {
    BootDesk desk;
    ASSERT_TRUE(desk.boot().ok());
    EXPECT_THAT(desk.last("model"), HasSubstr("numerics=muladd"));
    desk.options.numerics = NumericsChoice::kFma;  // which this CPU lacks
    Result<void> done = desk.boot();
    ASSERT_FALSE(done.ok());
    EXPECT_EQ(done.error().code(), ErrorCode::kUnsupported);
    if (!__builtin_cpu_supports("fma")) GTEST_SKIP() << "no FMA on this machine";
    desk.platform.features.fma = true;
    ASSERT_TRUE(desk.boot().ok());
    EXPECT_THAT(desk.last("model"), HasSubstr("numerics=fma"));
    desk.options.numerics = NumericsChoice::kAuto;  // without AVX2 there is no routine of that class
    ASSERT_TRUE(desk.boot().ok());
    EXPECT_THAT(desk.last("model"), HasSubstr("numerics=muladd"));
}

TEST(BootMain, TakesFmaByItselfWhereThereAreRoutinesForIt) {
    CpuFeatures cpu;
    cpu.sse2 = cpu.fma = cpu.avx2 = true;
    EXPECT_EQ(choose_numerics({}, cpu), NumericClass::kMulAdd) << "routines of floats need F16C, too";
    cpu.f16c = true;
    EXPECT_EQ(choose_numerics({}, cpu), NumericClass::kFma);
    EXPECT_EQ(best_isa(cpu, NumericClass::kFma), Isa::kAvx2);
}

TEST(BootMain, LogsTheStatisticsAtTheEnd) {
    BootDesk desk;
    desk.options.set("prompt", "").take();
    desk.options.set("seed", "5").take();
    ASSERT_TRUE(desk.boot().ok());
    EXPECT_THAT(desk.last("run"), HasSubstr("seed=5"));
    EXPECT_THAT(desk.last("timing"), HasSubstr("of=generation"));
    EXPECT_THAT(desk.last("stories"), HasSubstr("count=1 generated=4"));
    EXPECT_THAT(desk.last("memory_use"), HasSubstr("heap_peak=77"));
    EXPECT_THAT(desk.last("routines"), HasSubstr("compiled=0 restored=0 rejected=0"));
    const std::string image = std::to_string(1000 + testing::default_model().size());
    EXPECT_EQ(desk.last("size"), "size kernel=1000 image=" + image + "\n");
}

TEST(BootMain, CtrlCEndsTheStoryWell) {
    BootDesk desk;
    desk.options.set("prompt", "Tom").take();
    desk.options.max_tokens = 100;
    desk.platform.fake_terminal.text_before = "Tom";
    desk.platform.fake_terminal.while_writing = "ab\x03";
    ASSERT_TRUE(desk.boot().ok());
    EXPECT_THAT(desk.last("run"), HasSubstr("stop=interrupt"));
    EXPECT_EQ(desk.output(), "Tom\n");
}

}  // namespace
}  // namespace bareflow
