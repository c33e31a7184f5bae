#include "model/chat.h"

#include <gmock/gmock.h>

#include "tests/unit/model/conversation_support.h"

namespace bareflow {
namespace {

using ::testing::EndsWith;
using testing::FakeTerminal;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::SessionDesk;

struct FakeMachine final : ChatMachine {
    void report_profile(TextListener& out) override { out.text("project 42%\n"); }
    void tune(TextListener& out) override { out.text("12 of 12 plans\n"); }
    bool idle() override {
        idled += work_left != 0 ? 1 : 0;
        if (work_left != 0) --work_left;
        return work_left != 0;
    }
    void between_tokens() override { ++tokens; }
    int work_left = 0, idled = 0, idled_at_report = 0, tokens = 0;
    Report cpu_report() override {
        idled_at_report = idled;
        return Report("a fine processor\n");
    }
    Report memory_report() override { return Report("a lot of memory\n"); }
    uint64_t random_seed() override { return 4711; }
    Allocator& allocator() override { return memory; }
    FileStore* files() override { return disk; }
    TestAllocator memory;
    FileStore* disk = nullptr;
    void dump_routines(std::string_view key, TextListener& out) override {
        for (int line = 0; line < 1000 && !out.stop_requested(); ++line) {
            out.text("code of ");
            out.text(key.empty() ? "all" : key);
            out.text("\n");
        }
    }
};

struct ChatDesk : SessionDesk {
    ChatDesk() {
        open().take();
        options.sampling.temperature = 0;
    }
    /// Runs a chat on these keys; returns all that was shown.
    const std::string& talk(std::string keys) {
        terminal.input = std::move(keys);
        LineEditor editor = LineEditor::make(terminal, allocator).take();
        const std::string_view name = options.chat_template.empty() ? "plain" : options.chat_template;
        Conversation conversation(session);
        conversation.open(allocator, *find_chat_template(name)).take();
        Chat(terminal, editor, session, conversation, options, machine).run();
        return terminal.output;
    }
    FakeTerminal terminal;
    FakeMachine machine;
    Options options;
};

TEST(Chat, ContinuesTheStoryThatTheUserBegins) {
    ChatDesk desk;
    desk.will_write(" there was a dog.");
    const std::string& shown = desk.talk("Once upon a time\r");
    EXPECT_THAT(shown, HasSubstr("> Once upon a time\nOnce upon a time there was a dog.\n\n> "));
    EXPECT_THAT(shown, HasSubstr("/help"));  // the banner says how to go on
}

TEST(Chat, AnEmptyLineBeginsAStoryFromNothing) {
    ChatDesk desk;
    for (uint32_t token : desk.tokens_of("One day.")) desk.operators.script.push_back(token);
    EXPECT_THAT(desk.talk("  \r"), HasSubstr(">   \nOne day.\n\n> "));
    EXPECT_EQ(desk.operators.fed.at(0), 1u);
    EXPECT_NE(desk.operators.fed.at(1), 1u);
}

TEST(Chat, SaysWhyAStoryEndedEarly) {
    ChatDesk desk;
    desk.operators.script.assign(1000, desk.byte_token('a'));
    EXPECT_THAT(desk.talk("/n 3\rx\r"), HasSubstr("xaaa\n[3 tokens: /more goes on, /n sets how many]\n\n> "));
    ASSERT_TRUE(desk.open(16).ok());
    EXPECT_THAT(desk.talk("/n -1\rx\r"), HasSubstr("[the context of 16 tokens is full]\n"));
}

TEST(Chat, CtrlCStopsAStoryAndComesBackToThePrompt) {
    ChatDesk desk;
    desk.operators.script.assign(1000, desk.byte_token('a'));
    desk.terminal.text_before = "xaaa";
    desk.terminal.while_writing = "\x03";
    EXPECT_THAT(desk.talk("x\r/seed\r"), HasSubstr("xaaa\n[stopped]\n\n> /seed\nseed "));
}

TEST(Chat, CtrlCOnALineGivesAFreshOne) {
    ChatDesk desk;
    EXPECT_THAT(desk.talk("abc\x03/cpu\r"), HasSubstr("> abc^C\n> /cpu\na fine processor\n"));
    EXPECT_TRUE(desk.operators.fed.empty());
}

TEST(Chat, WhatIsTypedDuringAStoryWaitsForThePrompt) {
    ChatDesk desk;
    desk.operators.script.assign(5, desk.byte_token('a'));
    desk.terminal.text_before = "xaa";
    desk.terminal.while_writing = "/cp";
    EXPECT_THAT(desk.talk("x\ru\r"), HasSubstr("xaaaaa\n\n> /cpu\na fine processor\n"));
}

TEST(Chat, EndsAtQuitAtCtrlDAndAtTheEndOfInput) {
    for (const char* keys : {"/quit\rnever\r", "\x04never\r", "", "unfinished"}) {
        ChatDesk desk;
        EXPECT_THAT(desk.talk(keys), Not(HasSubstr("never"))) << keys;
        EXPECT_THAT(desk.terminal.output, EndsWith("\n"));
        EXPECT_TRUE(desk.operators.fed.empty());
    }
}

TEST(Chat, APromptThatIsTooLongIsAnErrorAndNotTheEnd) {
    ChatDesk desk;
    ASSERT_TRUE(desk.open(4).ok());
    EXPECT_THAT(desk.talk("Once upon a time there was a big dog\r/mem\r"),
                ::testing::AllOf(HasSubstr("more than the context's 4"), HasSubstr("a lot of memory")));
}

TEST(Chat, TheMachineWorksWhileNobodyTypesAndStopsForAKey) {
    ChatDesk desk;
    desk.machine.work_left = 5;
    desk.talk("/cpu\r");
    EXPECT_EQ(desk.machine.idled, 5) << "until nothing is left, then it sleeps";
    ChatDesk typing;
    typing.machine.work_left = 1000;
    typing.terminal.while_writing = "/";  // what poll() sees
    EXPECT_THAT(typing.talk("cpu\r"), HasSubstr("> /cpu\na fine processor\n"));
    EXPECT_EQ(typing.machine.idled_at_report, 1) << "a key ends it, and it waits while a line is typed";
}

TEST(Chat, TheMachineIsToldBetweenTokensAndOnlyThen) {
    ChatDesk desk;
    desk.operators.script.assign(5, desk.byte_token('a'));
    desk.talk("/dump\r");
    EXPECT_EQ(desk.machine.tokens, 0);
    desk.talk("x\r");
    EXPECT_GE(desk.machine.tokens, 5);
}

TEST(ChatCommands, TuneIsTheMachines) {
    ChatDesk desk;
    EXPECT_THAT(desk.talk("/tune\r"), HasSubstr("/tune\n12 of 12 plans\n"));
    EXPECT_THAT(desk.talk("/tune x\r"), HasSubstr("/tune takes no value"));
}

TEST(ChatCommands, DumpHandsItsKeyToTheMachineAndCanBeStopped) {
    ChatDesk desk;
    EXPECT_THAT(desk.talk("/profile\r"), HasSubstr("/profile\nproject 42%\n"));
    EXPECT_THAT(desk.talk("/dump\r"), HasSubstr("/dump\ncode of all\n"));
    EXPECT_THAT(desk.talk("/dump  a_key \r"), HasSubstr("\ncode of a_key\n"));
    ChatDesk impatient;
    impatient.terminal.text_before = "code of all\ncode of all\n";
    impatient.terminal.while_writing = "\x03";
    const std::string& shown = impatient.talk("/dump\r/cpu\r");
    EXPECT_THAT(shown, EndsWith("code of all\n> /cpu\na fine processor\n> \n"));
    EXPECT_LT(shown.size(), 1000u);
}

TEST(ChatCommands, ShowAndSetEachSetting) {
    const struct {
        const char *command, *before, *value, *after;
    } cases[] = {
        {"temp", "temp 0.000", "1.5", "temp 1.500"},
        {"top-k", "top-k 40", "7", "top-k 7"},
        {"top-p", "top-p 0.950", "0.5", "top-p 0.500"},
        {"min-p", "min-p 0.050", "0", "min-p 0.000"},
        {"repeat-penalty", "repeat-penalty 1.000", "1.1", "repeat-penalty 1.100"},
        {"seed", "seed 0", "99", "seed 99"},
        {"n", "n 256", "12", "n 12"},
        {"n", "n 256", "-1", "n -1"},
        {"seed", "seed 0", "-1", "seed 4711"},
    };
    for (const auto& c : cases) {
        ChatDesk desk;
        const std::string line = std::string("/") + c.command;
        EXPECT_THAT(desk.talk(line + "\r"), HasSubstr(line + "\n" + c.before + "\n"));
        desk.terminal.output.clear();
        EXPECT_THAT(desk.talk(line + "  " + c.value + " \r" + line + "\r"),
                    HasSubstr("\n> " + line + "\n" + c.after));
    }
}

TEST(ChatCommands, ASettingTakesEffect) {
    ChatDesk desk;
    desk.operators.script.assign(100, desk.byte_token('a'));
    EXPECT_THAT(desk.talk("/n 2\rx\r/n 4\rx\r"),
                ::testing::AllOf(HasSubstr("\nxaa\n"), HasSubstr("\nxaaaa\n"), Not(HasSubstr("xaaaaa"))));
    EXPECT_EQ(desk.options.max_tokens, 256u);  // the caller's options are its own
}

TEST(ChatCommands, ErrorsHelp) {
    const struct {
        const char *line, *reply;
    } cases[] = {
        {"/temp hot", "--temp: \"hot\" is not allowed; give a number from 0 to 100"},
        {"/n -5", "whole number"},
        {"/nonsense", "/nonsense is no command; /help lists them"},
        {"/", "/ is no command"},
        {"/Quit", "/Quit is no command"},
        {"/cpu now", "/cpu takes no value"},
    };
    for (const auto& c : cases) {
        ChatDesk desk;
        EXPECT_THAT(desk.talk(std::string(c.line) + "\r"), HasSubstr(c.reply)) << c.line;
        EXPECT_TRUE(desk.operators.fed.empty());
    }
}

TEST(ChatCommands, HelpListsThemAll) {
    ChatDesk desk;
    const std::string& shown = desk.talk("/help\r");
    for (const char* name : {"help", "stats", "mem", "cpu", "model", "temp T", "top-k K", "top-p P",
                             "min-p P", "repeat-penalty R", "seed N", "n N", "system TEXT", "save NAME",
                             "load NAME", "regen", "more", "clear", "quit"}) {
        EXPECT_THAT(shown, HasSubstr(std::string("\n/") + name + " ")) << name;
    }
}

TEST(Chat, ByTurnsItRepliesAndDoesNotRepeatWhatWasSaid) {
    ChatDesk desk;
    desk.options.set("chat-template", "chatml").take();
    desk.will_write(" Hello.");
    desk.operators.script.push_back(2);
    desk.will_write(" Fine.");
    const std::string& shown = desk.talk("Hi!\r  \r How are you? \r");
    EXPECT_THAT(shown, HasSubstr("Say something and press Enter."));
    EXPECT_THAT(shown, HasSubstr("> Hi!\nHello.\n\n>   \n>  How are you? \nFine.\n\n> "));
}

TEST(Chat, TellsThatTurnsAreForgotten) {
    ChatDesk desk;
    ASSERT_TRUE(desk.open(96).ok());
    desk.options.set("chat-template", "chatml").take();
    EXPECT_THAT(desk.talk("Hi!\rHi!\rHi!\r"),
                HasSubstr("\n[the context of 96 tokens was full: the first 1 turns are forgotten]\n"));
}

TEST(ChatCommands, SystemShowsSetsAndTakesBackTheSystemPrompt) {
    ChatDesk desk;
    EXPECT_THAT(desk.talk("/system Be kind.\r"), HasSubstr("/system: a story has no system prompt"));
    desk.options.set("chat-template", "zephyr").take();
    EXPECT_THAT(
        desk.talk("/system\r/system Be kind.\r/system\r/system -\r"),
        HasSubstr("/system\nsystem -\n> /system Be kind.\nsystem Be kind.\n> /system\nsystem Be kind.\n"
                  "> /system -\nsystem -\n"));
}

TEST(ChatCommands, RegenAndMoreGoOnWithTheLastReply) {
    ChatDesk desk;
    EXPECT_THAT(desk.talk("/regen\r"), HasSubstr("/regen\nnothing was written yet\n\n> "));
    desk.operators.script.assign(3, desk.byte_token('a'));
    for (int i = 0; i < 3; ++i) desk.operators.script.push_back(desk.byte_token('b'));
    for (int i = 0; i < 3; ++i) desk.operators.script.push_back(desk.byte_token('c'));
    EXPECT_THAT(
        desk.talk("/n 3\rx\r/regen\r/more\r"),
        HasSubstr(
            "xaaa\n[3 tokens: /more goes on, /n sets how many]\n\n> /regen\nxbbb\n[3 tokens: /more goes "
            "on, /n sets how many]\n\n> /more\nccc\n[3 tokens"));
}

TEST(ChatCommands, ClearForgetsWhatWasSaid) {
    ChatDesk desk;
    desk.options.set("chat-template", "chatml").take();
    desk.talk("Hi!\r");
    const size_t one_turn = desk.session.tokens().size();
    EXPECT_THAT(desk.talk("/clear\rHi!\r"), HasSubstr("\x1b[2J"));
    EXPECT_EQ(desk.session.tokens().size(), one_turn);
}

TEST(ChatCommands, SaveAndLoadKeepAConversation) {
    ChatDesk desk;
    testing::MemoryFiles files;
    EXPECT_THAT(desk.talk("/save talk\r/load talk\r"),
                HasSubstr("/save: there is no disk to keep conversations on; start with --disk IMG\n"));
    desk.machine.disk = &files;
    EXPECT_THAT(desk.talk("/load talk\r"), HasSubstr("\nnot loaded: no file TALK.CHT\n"));
    desk.operators.script.assign(3, desk.byte_token('a'));
    const std::string& shown = desk.talk("/top-p 0.5\rx\r/save talk\r/top-p 1\r/clear\r/load Talk\r/top-p\r");
    EXPECT_THAT(shown, HasSubstr("[TALK.CHT: 1 turns, 6 tokens, "));
    EXPECT_THAT(shown, HasSubstr("[TALK.CHT: 1 turns, 6 tokens, template plain]\n> /top-p\ntop-p 0.500\n"));
    for (const char* name : {"", "ninechars", "a.b", "a/b", "..", "\xC3\xA4", "a b"}) {
        for (const char* command : {"/save ", "/load "}) {
            ChatDesk other;
            other.machine.disk = &files;
            EXPECT_THAT(other.talk(std::string(command) + name + "\r"),
                        HasSubstr("1 to 8 letters and digits"))
                << name;
        }
    }
    EXPECT_EQ(files.files.size(), 1u);
    files.full = true;
    EXPECT_THAT(desk.talk("/save talk\r"), HasSubstr("not saved: the disk is full\n"));
}

TEST(ChatCommands, TellOfTheModelAndTheSpeed) {
    ChatDesk desk;
    desk.operators.script.assign(5, desk.byte_token('a'));
    const std::string& shown = desk.talk("/model\rx\r/stats\r/clear\r");
    EXPECT_THAT(shown, HasSubstr("1312384 parameters, f32, "));  // MODEL_CARD.md
    EXPECT_THAT(shown, HasSubstr("6 layers, hidden 128, feed-forward 384, 8 heads of 16, 4 key/value heads"));
    EXPECT_THAT(shown, HasSubstr("vocabulary 1024, context 512 of 512"));
    EXPECT_THAT(shown, HasSubstr("source"));  // provenance
    EXPECT_THAT(shown, HasSubstr("prompt eval time =      30.00 ms /     3 tokens (   10.00 ms per token,"
                                 "   100.00 tokens per second)\n"));  // BOS, the dummy prefix, x
    EXPECT_THAT(shown, HasSubstr("       eval time =      50.00 ms /     5 runs   (   10.00 ms per token,"
                                 "   100.00 tokens per second)\n"));
    EXPECT_THAT(shown, HasSubstr("      total time =      80.00 ms /     8 tokens\n"));
    EXPECT_THAT(shown, HasSubstr("first token time =      30.00 ms after Enter, of the last of 1; 5 tokens"));
    EXPECT_THAT(shown, HasSubstr("\x1b[2J"));
}

}  // namespace
}  // namespace bareflow
