#include "arch/base/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace bareflow {
namespace {

using testing::HasSubstr;

std::string message_of(const Result<void>& result) {
    return result.ok() ? "" : std::string(result.error().message());
}

/// Options read from a command line, together with the bytes they look into.
struct CommandLine {
    explicit CommandLine(std::string text)
        : line(std::move(text)), result(options.parse_command_line(line)) {}
    std::string line;
    Options options;
    Result<void> result;
};

TEST(Options, DefaultsAreThoseOfTheDesign) {
    Options options;
    EXPECT_EQ(options.max_tokens, 256u);
    EXPECT_FLOAT_EQ(options.sampling.temperature, 0.8f);
    EXPECT_EQ(options.sampling.top_k, 40u);
    EXPECT_FLOAT_EQ(options.sampling.top_p, 0.95f);
    EXPECT_FLOAT_EQ(options.sampling.min_p, 0.05f);
    EXPECT_FLOAT_EQ(options.sampling.repeat_penalty, 1.0f);
    EXPECT_TRUE(options.sampling.random_seed);
    EXPECT_FALSE(options.has_prompt);
    EXPECT_EQ(options.cache_type, ElementType::kF32);
}

TEST(Options, ReadsEverySyntaxOfACommandLine) {
    CommandLine c(
        "-p 'Once upon' -n 100 --temp 0 --top-k=7 top-p=0.5 --min-p .25 repeat-penalty=1.5 seed=42 -c 64 "
        "--cache-type f16");
    ASSERT_TRUE(c.result.ok()) << message_of(c.result);
    EXPECT_EQ(c.options.prompt, "Once upon");
    EXPECT_TRUE(c.options.has_prompt);
    EXPECT_EQ(c.options.max_tokens, 100u);
    EXPECT_EQ(c.options.sampling.temperature, 0.0f);
    EXPECT_EQ(c.options.sampling.top_k, 7u);
    EXPECT_EQ(c.options.sampling.top_p, 0.5f);
    EXPECT_EQ(c.options.sampling.min_p, 0.25f);
    EXPECT_EQ(c.options.sampling.repeat_penalty, 1.5f);
    EXPECT_EQ(c.options.sampling.seed, 42u);
    EXPECT_FALSE(c.options.sampling.random_seed);
    EXPECT_EQ(c.options.context, 64u);
    EXPECT_EQ(c.options.cache_type, ElementType::kF16);
}

TEST(Options, UnquotesValues) {
    const struct {
        const char* line;
        std::string prompt;
    } cases[] = {
        {R"(-p "Lily said \"hi\"\n")", "Lily said \"hi\"\n"},
        {R"(prompt="Grüße, 世界")", "Grüße, 世界"},
        {R"("prompt=Once upon")", "Once upon"},    // GRUB quotes whole words
        {R"(prompt=Lily\'s\ dog)", "Lily's dog"},  // and escapes quotes
        {R"(-p 'a\nb')", "a\\nb"},
        {R"(-p "\x41\xc3\xA9\xZZ")",
         "Aé"
         "xZZ"},
        {R"(-p one"two"'three')", "onetwothree"},
        {"-p ''", ""},
        {"  -p\tx\r\n", "x"},
        {R"(-p a\)", "a\\"},
        {"-p -n", "-n"},
        {"prompt=a=b", "a=b"},
    };
    for (const auto& expected : cases) {
        CommandLine c(expected.line);
        ASSERT_TRUE(c.result.ok()) << expected.line << ": " << message_of(c.result);
        EXPECT_EQ(c.options.prompt, expected.prompt) << expected.line;
        EXPECT_TRUE(c.options.has_prompt);
    }
}

TEST(Options, ACommandLineEndsAtItsNul) {
    CommandLine c(std::string("-n 5\0garbage", 12));
    ASSERT_TRUE(c.result.ok()) << message_of(c.result);
    EXPECT_EQ(c.options.max_tokens, 5u);
    EXPECT_TRUE(CommandLine("").result.ok());
    EXPECT_TRUE(Options().parse_command_line({}).ok());
}

TEST(Options, ABadCommandLineIsRefusedWithItsReason) {
    const struct {
        const char* line;
        const char* reason;
    } cases[] = {
        {"hello", "\"hello\" is no option"},
        {"-p Once upon", "\"upon\" is no option"},
        {"--nonsense 1", "unknown option \"--nonsense\""},
        {"nonsense=1", "unknown option \"nonsense\""},
        {"--nonsense 1", "repeat-penalty"},
        {"-n", "--n-predict needs a value"},
        {"--temp", "--temp needs a value: --temp VALUE"},
        {"-p \"open", "never closed"},
        {"-p Lily's", "never closed"},
        {"-temp 1", "\"-temp\" is no option"},
        {"- 1", "\"-\" is no option"},
        {"-- 1", "\"--\" is no option"},
        {"=x", "unknown option \"\""},
    };
    for (const auto& expected : cases) {
        CommandLine c(expected.line);
        EXPECT_THAT(message_of(c.result), HasSubstr(expected.reason)) << expected.line;
    }
}

TEST(Options, ValuesOutOfRangeNameTheOptionTheValueAndWhatIsAllowed) {
    const struct {
        const char *name, *value, *allowed;
    } cases[] = {
        {"temp", "-0.1", "from 0 to 100"},
        {"temp", "warm", "from 0 to 100"},
        {"temp", "nan", "from 0 to 100"},
        {"temp", "", "from 0 to 100"},
        {"top-p", "1.01", "from 0 to 1"},
        {"min-p", "-1", "from 0 to 1"},
        {"repeat-penalty", "0", "from 0.01"},
        {"top-k", "-1", "whole number"},
        {"top-k", "4.5", "whole number"},
        {"n-predict", "-2", "whole number"},
        {"n-predict", "5000000000", "1000000000"},
        {"ctx-size", "x", "whole number"},
        {"seed", "-2", "-1"},
        {"seed", "18446744073709551616", "18446744073709551615"},
        {"tune", "always", "idle, inline or off"},
        {"tune-ms", "x", "a whole number"},
        {"numerics", "mul", "auto, fma or muladd"},
        {"weights", "cloud", "disk, stream or embedded"},
        {"exit", "now", "debug-exit, acpi or halt"},
        {"keyboard", "fr", "us or de"},
        {"stage", "native", "full, small or auto"},
        {"isa", "mmx", "avx512"},
        {"cache-type", "q8_0", "f32 or f16"},
        {"jit", "yes", "on or off"},
        {"assembler", "nasm", "asmjit or tiny"},
    };
    for (const auto& bad : cases) {
        Options options;
        std::string message = message_of(options.set(bad.name, bad.value));
        EXPECT_THAT(message, HasSubstr(std::string("--") + bad.name));
        EXPECT_THAT(message, HasSubstr(std::string("\"") + bad.value + "\""));
        EXPECT_THAT(message, HasSubstr(bad.allowed));
    }
}

TEST(Options, EveryNameOfAPathIsAllowed) {
    for (const auto& now : std::initializer_list<std::pair<const char*, const char*>>{{"jit", "off"},
                                                                                      {"jit", "on"},
                                                                                      {"assembler", "tiny"},
                                                                                      {"assembler", "asmjit"},
                                                                                      {"isa", "auto"},
                                                                                      {"isa", "scalar"},
                                                                                      {"isa", "ssse3"},
                                                                                      {"t", "0"},
                                                                                      {"t", "1"},
                                                                                      {"t", "64"}}) {
        EXPECT_TRUE(Options().set(now.first, now.second).ok()) << now.first;
    }
}

TEST(Options, EdgesOfRangesAreAllowed) {
    Options options;
    for (auto [name, value] :
         std::initializer_list<std::pair<const char*, const char*>>{{"temp", "0"},
                                                                    {"temp", "100"},
                                                                    {"top-p", "0"},
                                                                    {"top-p", "1"},
                                                                    {"min-p", "1"},
                                                                    {"top-k", "0"},
                                                                    {"repeat-penalty", "0.01"},
                                                                    {"seed", "18446744073709551615"},
                                                                    {"n", "0"},
                                                                    {"c", "0"}}) {
        EXPECT_TRUE(options.set(name, value).ok()) << name << "=" << value;
    }
    EXPECT_EQ(options.sampling.seed, UINT64_MAX);
    EXPECT_EQ(options.max_tokens, 0u);
}

TEST(Options, MinusOneMeansAnEndlessStoryAndARandomSeed) {
    CommandLine c("--seed 5 --seed -1 -n -1");
    ASSERT_TRUE(c.result.ok()) << message_of(c.result);
    EXPECT_TRUE(c.options.sampling.random_seed);
    EXPECT_EQ(c.options.max_tokens, kUnlimitedTokens);
}

TEST(Options, AConfigFileHasOneNameAndValueALine) {
    const std::string file =
        "\xEF\xBB\xBF# my settings\r\n\r\n  temp = 0.5\r\nprompt = A \"dog\" # and a cat \n"
        "seed=7\nnumerics=muladd\nweights =embedded";
    Options options;
    Result<void> result = options.parse_config(file);
    ASSERT_TRUE(result.ok()) << message_of(result);
    EXPECT_EQ(options.sampling.temperature, 0.5f);
    EXPECT_EQ(options.prompt, "A \"dog\" # and a cat");
    EXPECT_EQ(options.sampling.seed, 7u);
    EXPECT_EQ(options.numerics, NumericsChoice::kMulAdd);
    EXPECT_EQ(options.weights, "embedded");
}

TEST(Options, AnErrorInAConfigFileNamesItsLine) {
    EXPECT_THAT(message_of(Options().parse_config("temp=1\n\ntemp=x\n")),
                HasSubstr("bareflow.cfg line 3: --temp"));
    EXPECT_THAT(message_of(Options().parse_config("# ok\nhello\n")), HasSubstr("line 2: \"hello\""));
}

TEST(Options, TheChatsTemplateSystemPromptAndStops) {
    CommandLine c("--chat-template llama-2 system='Be kind.' --stop a --stop \"\\nUser:\"");
    ASSERT_TRUE(c.result.ok()) << message_of(c.result);
    EXPECT_EQ(c.options.chat_template, "llama-2");
    EXPECT_EQ(c.options.system, "Be kind.");
    ASSERT_EQ(c.options.stop_count, 2u);
    EXPECT_EQ(c.options.stops[0], "a");
    EXPECT_EQ(c.options.stops[1], "\nUser:");
    EXPECT_THAT(message_of(Options().set("chat-template", "llama-3")),
                HasSubstr("plain, zephyr, llama-2 or chatml"));
    for (std::string_view name : kTemplateNames) EXPECT_TRUE(Options().set("chat-template", name).ok());
}

TEST(Options, AStopIsAShortWholeTextAndThereAreFour) {
    Options options;
    EXPECT_THAT(message_of(options.set("stop", "")), HasSubstr("1 to 64 bytes"));
    EXPECT_THAT(message_of(options.set("stop", std::string(65, 'x'))), HasSubstr("1 to 64 bytes"));
    EXPECT_THAT(message_of(options.set("stop", "half a \xC3")), HasSubstr("1 to 64 bytes"));
    EXPECT_EQ(options.stop_count, 0u);
    const std::string longest(64, 'x');
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(options.set("stop", longest).ok());
    EXPECT_THAT(message_of(options.set("stop", "x")), HasSubstr("at most four"));
}

TEST(Options, AModelsDefaultsCountWhereTheUserHasSetNothing) {
    Options options;
    ASSERT_TRUE(options.parse_config("top-p=0.5\nseed=3\n").ok());
    ASSERT_TRUE(options.set("temp", "0.8").ok());  // the same as the default, but asked for
    ASSERT_TRUE(
        options
            .set_defaults("temp=0.1\n top-k = 7 \ntop-p=0.9\n\nmin-p=0\r\nrepeat-penalty=1.1\nseed=9\n"
                          "model=evil.wllm\ncolour=red\n")
            .ok());
    EXPECT_FLOAT_EQ(options.sampling.temperature, 0.8f);
    EXPECT_EQ(options.sampling.top_k, 7u);
    EXPECT_FLOAT_EQ(options.sampling.top_p, 0.5f);
    EXPECT_FLOAT_EQ(options.sampling.min_p, 0);
    EXPECT_FLOAT_EQ(options.sampling.repeat_penalty, 1.1f);
    EXPECT_EQ(options.sampling.seed, 3u);
    EXPECT_EQ(options.model, "");
    ASSERT_TRUE(
        options.set_defaults("top-k=8").ok());  // another model's: the first one's do not count as set
    EXPECT_EQ(options.sampling.top_k, 8u);
    EXPECT_THAT(message_of(options.set_defaults("top-k=many")),
                HasSubstr("the model's defaults: --top-k: \"many\""));
    EXPECT_THAT(message_of(options.set_defaults("top-k")), HasSubstr("\"top-k\" is not name=value"));
    EXPECT_TRUE(options.set_defaults("").ok());
}

TEST(Options, AnOptionThatWasRefusedDoesNotCountAsSet) {
    Options options;
    EXPECT_FALSE(options.set("temp", "hot").ok());
    ASSERT_TRUE(options.set_defaults("temp=0.1").ok());
    EXPECT_FLOAT_EQ(options.sampling.temperature, 0.1f);
}

TEST(Options, EachCanBeSetByBothItsNames) {
    for (size_t i = 0; i < kOptionCount; ++i) {
        const OptionName name = name_of(static_cast<OptionId>(i));
        const std::string by_long = message_of(Options().set(name.long_name, "1"));
        EXPECT_THAT(by_long, testing::Not(HasSubstr("unknown"))) << name.long_name;
        if (name.short_name != 0) {
            EXPECT_EQ(message_of(Options().set({&name.short_name, 1}, "1")), by_long);
        }
    }
}

}  // namespace
}  // namespace bareflow
