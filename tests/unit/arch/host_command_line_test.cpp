#include "arch/host/command_line.h"

#include "arch/host/option_help.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bareflow {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kGoOn = -1;

/// Parses the arguments and keeps what was written meanwhile.
struct Parsed {
    explicit Parsed(std::vector<const char*> arguments) {
        arguments.insert(arguments.begin(), "bareflow");
        ::testing::internal::CaptureStdout();
        ::testing::internal::CaptureStderr();
        status = parse_host_command_line(line, static_cast<int>(arguments.size()), arguments.data());
        output = ::testing::internal::GetCapturedStdout();
        errors = ::testing::internal::GetCapturedStderr();
    }
    HostCommandLine line;
    int status;
    std::string output, errors;
};

TEST(HostCommandLine, TakesTheSharedOptionsAndItsOwn) {
    Parsed p({"-p", "Once \"upon\"", "-n", "100", "--temp=0", "--seed", "-1", "-m", "a b.bin", "--log",
              "x.log", "--timeout", "30", "-c64"});
    ASSERT_EQ(p.status, kGoOn) << p.errors;
    EXPECT_EQ(p.line.options.prompt, "Once \"upon\"");
    EXPECT_TRUE(p.line.options.has_prompt);
    EXPECT_EQ(p.line.options.max_tokens, 100u);
    EXPECT_EQ(p.line.options.sampling.temperature, 0.0f);
    EXPECT_TRUE(p.line.options.sampling.random_seed);
    EXPECT_EQ(p.line.options.model, "a b.bin");
    EXPECT_EQ(p.line.options.context, 64u);
    EXPECT_EQ(p.line.log, "x.log");
    EXPECT_EQ(p.line.timeout_s, 30u);
    EXPECT_EQ(p.output + p.errors, "");
}

TEST(HostCommandLine, APromptMayBeAnyText) {
    for (const char* prompt :
         {"", "-n", "--help", "[a,b]", "a,b", "{}", "%s", "'quoted'", "two\nlines", "Grüße", "[]", "\"x\""}) {
        Parsed p({"-p", prompt, "-n", "3"});
        ASSERT_EQ(p.status, kGoOn) << prompt << ": " << p.errors;
        EXPECT_EQ(p.line.options.prompt, prompt);
        EXPECT_TRUE(p.line.options.has_prompt);
        EXPECT_EQ(p.line.options.max_tokens, 3u);
    }
}

TEST(HostCommandLine, AStopMayBeGivenMoreThanOnceAndBeAnyText) {
    const std::vector<std::string> stops = {"\nUser:", "[a,b]", "{}", "-n"};
    std::vector<const char*> arguments = {"--chat-template", "chatml"};
    for (const std::string& stop : stops) {
        arguments.push_back("--stop");
        arguments.push_back(stop.c_str());
    }
    Parsed p(arguments);
    ASSERT_EQ(p.status, kGoOn) << p.errors;
    ASSERT_EQ(p.line.options.stop_count, 4u);
    for (size_t i = 0; i < stops.size(); ++i) EXPECT_EQ(p.line.options.stops[i], stops[i]);
    EXPECT_EQ(p.line.options.chat_template, "chatml");
    EXPECT_THAT(Parsed({"--stop", ""}).errors, HasSubstr("1 to 64 bytes"));
}

TEST(HostCommandLine, TheLastOfAnOptionGivenTwiceCounts) {
    Parsed p({"-n", "1", "-n", "2"});
    ASSERT_EQ(p.status, kGoOn) << p.errors;
    EXPECT_EQ(p.line.options.max_tokens, 2u);
}

TEST(HostCommandLine, ErrorsAreStatusTwoWithAReason) {
    const struct {
        std::vector<const char*> arguments;
        const char* reason;
    } cases[] = {
        {{"--temp", "hot"}, "--temp: \"hot\" is not allowed; give a number from 0 to 100"},
        {{"--assembler", "nasm"}, "asmjit or tiny"},
        {{"-t", "65"}, "from 0 to 64"},
        {{"--isa", "sse9"}, "scalar, sse2, ssse3"},
        {{"--nonsense"}, "--nonsense"},
        {{"word"}, "word"},
        {{"-n"}, "-n"},
        {{"--timeout", "soon"}, "soon"},
        {{"--timeout", "-1"}, "timeout"},
        {{"--exit", "halt"}, "--exit"},  // the kernel's
        {{"--weights", "module"}, "--weights"},
    };
    for (const auto& c : cases) {
        Parsed p(c.arguments);
        EXPECT_EQ(p.status, 2) << c.reason;
        EXPECT_THAT(p.errors, HasSubstr(c.reason));
        EXPECT_EQ(p.output, "");
    }
}

TEST(OptionHelp, IsByNumber) {
    for (size_t i = 0; i < kOptionCount; ++i) {
        EXPECT_EQ(static_cast<size_t>(option_help()[i].id), i);
        EXPECT_FALSE(option_help()[i].text.empty());
    }
}

TEST(HostCommandLine, HelpNamesEveryOptionOfTheHost) {
    Parsed p({"--help"});
    EXPECT_EQ(p.status, 0);
    for (const OptionHelp& help : option_help()) {
        const std::string name = std::string("--") + name_of(help.id).long_name + " ";
        if (help.kernel_only) {
            EXPECT_THAT(p.output, Not(HasSubstr(name)));
        } else {
            EXPECT_THAT(p.output, HasSubstr(name));
        }
    }
    EXPECT_THAT(p.output, HasSubstr("--log"));
    EXPECT_THAT(Parsed({"--version"}).output, ::testing::StartsWith("bareflow 0."));
}

}  // namespace
}  // namespace bareflow
