#include "model/conversation.h"

#include "tests/unit/model/conversation_support.h"

namespace bareflow {
namespace {

using testing::ConversationDesk;
using testing::default_image;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using testing::TextCollector;

TEST(Conversation, WritesTheTurnsAsTheTemplateSays) {
    ConversationDesk desk;
    desk.conversation->set_system("Be kind.").take();
    desk.will_write(" Hello.");
    EXPECT_EQ(desk.say("Hi!"), "Hello.");
    desk.will_write(" Fine.");
    EXPECT_EQ(desk.say("How are you?"), "Fine.");
    EXPECT_EQ(
        desk.everything(),
        "<s> <|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi!<|im_end|>\n<|im_start|>assistant\n"
        " Hello.<|im_end|>\n<|im_start|>user\nHow are you?<|im_end|>\n<|im_start|>assistant\n Fine.");
}

TEST(Conversation, ZephyrAndLlama2CloseATurnWithTheModelsOwnMarks) {
    ConversationDesk zephyr("zephyr");
    zephyr.will_write(" Hello.");
    zephyr.say("Hi!");
    zephyr.say("Bye!");
    EXPECT_EQ(zephyr.everything(),
              "<s> <|user|>\nHi!</s> \n<|assistant|>\n Hello.</s> \n<|user|>\nBye!</s> \n<|assistant|>\n");
    ConversationDesk llama("llama-2");
    llama.conversation->set_system("Be kind.").take();
    llama.will_write(" Hello.");
    llama.say("Hi!");
    llama.say("Bye!");
    EXPECT_EQ(llama.everything(),
              "<s> [INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHi! [/INST] Hello. </s><s> [INST] Bye! [/INST]");
}

TEST(Conversation, ABlankThatTheModelWroteItselfIsNotWrittenTwice) {
    ConversationDesk desk("llama-2");
    desk.operators.script = {desk.byte_token('a'), desk.tokens_of(" x").front()};
    desk.say("Hi!");
    desk.say("Bye!");
    EXPECT_THAT(desk.everything(), HasSubstr("[/INST]a </s><s>"));
}

TEST(Conversation, ATurnEvaluatesOnlyItsNewTokens) {
    ConversationDesk desk;
    desk.will_write(" Hello.");
    desk.say("Hi!");
    const std::vector<uint32_t> before = desk.tokens();
    desk.operators.fed.clear();
    desk.will_write(" Fine.");
    desk.say("How are you?");
    const std::vector<uint32_t> after = desk.tokens();
    ASSERT_GT(after.size(), before.size());
    EXPECT_TRUE(std::equal(before.begin(), before.end(), after.begin()));
    EXPECT_THAT(desk.operators.fed,
                ElementsAreArray(after.begin() + static_cast<ptrdiff_t>(before.size()), after.end()));
    EXPECT_EQ(desk.run.kept, before.size());
    EXPECT_THAT(desk.log.last("run"), HasSubstr("kept=" + std::to_string(before.size())));
}

// Bit for bit: the tokens that the reference chooses with the cache kept are those of a conversation that was read at once.
TEST(Conversation, WhatIsKeptIsWhatWouldBeComputedAgain) {
    for (ElementType cache : {ElementType::kF32, ElementType::kF16}) {
        ConversationDesk kept("chatml", 0, true, cache), fresh("chatml", 0, true, cache);
        for (ConversationDesk* desk : {&kept, &fresh}) desk->options.sampling.temperature = 1;
        for (const char* text : {"Tell me of a dog.", "And a cat?", "Good."}) {
            fresh.session.forget();
            EXPECT_EQ(kept.say(text, 30), fresh.say(text, 30));
            EXPECT_EQ(fresh.run.kept, 0u);
        }
        EXPECT_GT(kept.run.kept, 60u);
        EXPECT_EQ(kept.tokens(), fresh.tokens());
    }
}

TEST(Conversation, ShowingTheModelsCallsLeavesTheCacheAlone) {
    ConversationDesk shown("chatml", 0, true, ElementType::kF16), quiet("chatml", 0, true, ElementType::kF16);
    EXPECT_EQ(shown.say("Tell me of a dog.", 30), quiet.say("Tell me of a dog.", 30));
    testing::ScriptedOperators nothing(shown.clock);  // computes nothing of keys and values
    for (uint32_t rows : {1u, 16u, 64u}) shown.session.show_calls(nothing, rows);
    EXPECT_EQ(shown.say("And a cat?", 30), quiet.say("And a cat?", 30));
}

TEST(Conversation, RegenerationGoesBackToTheReplysBeginning) {
    ConversationDesk desk;
    desk.will_write(" Hello.");
    desk.say("Hi!");
    desk.operators.fed.clear();
    desk.will_write(" Good day.");
    EXPECT_EQ(desk.again(), "Good day.");
    EXPECT_EQ(desk.conversation->turns(), 1u);
    EXPECT_THAT(desk.everything(), ::testing::EndsWith("<|im_start|>assistant\n Good day."));
    EXPECT_EQ(desk.run.prompt.tokens, 1u) << "of the prompt only the last token is run again";
    ConversationDesk empty;
    EXPECT_EQ(empty.again(), "<nothing was written yet>");
    EXPECT_EQ(empty.more(), "<nothing was written yet>");
}

TEST(Conversation, RegenerationTakesTheNextRandomNumbers) {
    ConversationDesk desk("chatml", 0, true);
    desk.options.sampling.temperature = 1;
    const std::string first = desk.say("Tell me of a dog."), second = desk.again();
    EXPECT_NE(first, second);
    desk.session.seed(1);
    EXPECT_EQ(desk.again(), first) << "from the same seed the same reply";
}

TEST(Conversation, MoreGoesOnWhereTheReplyEnded) {
    for (const char* name : {"chatml", "plain"}) {
        ConversationDesk parts(name, 0, true), whole(name, 0, true);
        const std::string first = parts.say("Once upon a time", 7);
        EXPECT_EQ(parts.run.stop, StopReason::kLength);
        const std::string second = parts.more(8);
        EXPECT_EQ(first + second, whole.say("Once upon a time", 15)) << name;
        EXPECT_EQ(parts.tokens(), whole.tokens());
        EXPECT_EQ(parts.conversation->turns(), 1u);
    }
}

TEST(Conversation, APlainOneIsAStoryAtATime) {
    ConversationDesk desk("plain");
    desk.will_write(" there was a dog.");
    EXPECT_EQ(desk.say("Once upon a time"), "Once upon a time there was a dog.");
    desk.will_write(" girl");
    EXPECT_EQ(desk.say("A"), "A girl");
    EXPECT_EQ(desk.everything(), "<s> A girl");
    desk.will_write(" boy");
    EXPECT_EQ(desk.again(), "A boy");
    EXPECT_EQ(desk.conversation->turns(), 1u);
    const Result<void> set = desk.conversation->set_system("Be kind.");
    ASSERT_FALSE(set.ok());
    EXPECT_THAT(std::string(set.error().message()), HasSubstr("--chat-template"));
}

TEST(Conversation, ClearForgetsAllButTheSystemPrompt) {
    ConversationDesk desk;
    desk.conversation->set_system("Be kind.").take();
    desk.say("Hi!");
    desk.conversation->clear();
    EXPECT_EQ(desk.conversation->turns(), 0u);
    EXPECT_TRUE(desk.tokens().empty());
    desk.say("Bye!");
    EXPECT_THAT(desk.everything(), HasSubstr("Be kind."));
    EXPECT_THAT(desk.everything(), ::testing::Not(HasSubstr("Hi!")));
}

TEST(Conversation, AnotherSystemPromptCountsForTheTurnsThatWere) {
    ConversationDesk desk("chatml", 0, true);
    desk.say("Hi!", 10);
    desk.conversation->set_system("Be kind.").take();
    desk.say("Bye!", 10);
    EXPECT_EQ(desk.everything().substr(0, 60),
              "<s> <|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nH");
    desk.conversation->set_system("").take();
    desk.say("Good.", 10);
    EXPECT_THAT(desk.everything(),
                ::testing::StartsWith("<s> <|im_start|>user\nHi!<|im_end|>\n<|im_start|>assistant\n"));
    const std::string longest(Conversation::kMaxText, 'x');
    EXPECT_TRUE(desk.conversation->set_system(longest).ok());
    EXPECT_FALSE(desk.conversation->set_system(longest + "x").ok());
}

// ---------------------------------------------------------------- the context is full

TEST(Conversation, TheOldestTurnsGoWhenTheContextIsFullAndTheSystemPromptStays) {
    for (const char* name : {"chatml", "llama-2", "zephyr"}) {
        ConversationDesk desk(name, 256, true);
        desk.conversation->set_system("Be kind.").take();
        uint32_t forgotten = 0, turn = 0;
        for (; forgotten == 0 && turn < 50; ++turn) {
            desk.say("Tell me of dog number " + std::to_string(turn) + ".", 20);
            forgotten = desk.conversation->forgotten();
        }
        ASSERT_GT(forgotten, 0u) << name;
        EXPECT_EQ(desk.conversation->turns(), turn - forgotten);
        EXPECT_THAT(desk.everything(), HasSubstr("Be kind."));
        EXPECT_THAT(desk.everything(), ::testing::Not(HasSubstr("number 0.")));
        EXPECT_THAT(desk.everything(), HasSubstr("number " + std::to_string(turn - 1) + "."));
        EXPECT_LE(desk.tokens().size(), 256u);
        EXPECT_THAT(desk.log.last("context_shift"), HasSubstr("forgotten=" + std::to_string(forgotten)));
        EXPECT_LT(desk.session.tokens().size(), 200u) << "more room is made than this turn needs";
    }
}

TEST(Conversation, AfterAShiftTheReplyIsThatOfAFreshConversationWithTheTurnsThatWereKept) {
    ConversationDesk desk("llama-2", 256, true);
    desk.conversation->set_system("Be kind.").take();
    Said before;
    std::vector<Turn> turns;
    std::string texts, reply;
    std::vector<uint32_t> replies;
    for (int i = 0; i < 50; ++i) {
        before = desk.conversation->said();
        turns.assign(before.turns.begin(), before.turns.end());
        texts = before.texts;
        replies.assign(before.replies.begin(), before.replies.end());
        reply = desk.say("Tell me of dog number " + std::to_string(i) + ".", 20);
        if (desk.conversation->forgotten() > 0) break;
    }
    const uint32_t forgotten = desk.conversation->forgotten();
    ASSERT_GT(forgotten, 0u);
    size_t text = 0, tokens = 0;
    for (uint32_t i = 0; i < forgotten; ++i) text += turns[i].text_size, tokens += turns[i].reply_size;
    const std::string asked(desk.conversation->said().texts.substr(texts.size() - text));

    ConversationDesk fresh("llama-2", 256, true);
    ASSERT_TRUE(fresh.conversation
                    ->restore(*find_chat_template("llama-2"),
                              {"Be kind.", std::span(turns).subspan(forgotten),
                               std::string_view(texts).substr(text), std::span(replies).subspan(tokens)})
                    .ok());
    EXPECT_EQ(fresh.say(asked, 20), reply);
    EXPECT_EQ(fresh.conversation->forgotten(), 0u);
    EXPECT_EQ(fresh.run.kept, 0u);
    EXPECT_EQ(fresh.tokens(), desk.tokens());
}

TEST(Conversation, AReplyThatFillsTheContextMakesRoomAndGoesOn) {
    ConversationDesk desk("chatml", 160);
    desk.say("The first.", 5);  // nothing: its end
    desk.operators.script.assign(100, desk.byte_token('a'));
    EXPECT_EQ(desk.say("The second.", 200), std::string(100, 'a'));
    EXPECT_EQ(desk.run.stop, StopReason::kEndOfText);
    EXPECT_GT(desk.run.kept, 30u) << "the reply began behind the first turn";
    EXPECT_EQ(desk.conversation->forgotten(), 1u);
    EXPECT_EQ(desk.conversation->turns(), 1u);
    EXPECT_THAT(desk.everything(), ::testing::Not(HasSubstr("first")));
    EXPECT_THAT(desk.everything(), ::testing::EndsWith("assistant\n" + std::string(100, 'a')));
    EXPECT_LE(desk.tokens().size(), 160u);
}

TEST(Conversation, AReplyThatFillsTheContextAloneEnds) {
    ConversationDesk desk("chatml", 128);
    desk.operators.script.assign(500, desk.byte_token('a'));
    desk.say("The only one.", 400);
    EXPECT_EQ(desk.run.stop, StopReason::kContext);
    EXPECT_EQ(desk.tokens().size(), 128u);
    EXPECT_THAT(desk.more(), HasSubstr("does not fit in the context of 128 tokens"));
    desk.operators.script.clear();
    desk.say("And another.", 5);
    EXPECT_EQ(desk.conversation->forgotten(), 1u) << "it goes as soon as there is another";
}

TEST(Conversation, WhatDoesNotFitEvenAloneIsRefusedAndNothingIsForgotten) {
    ConversationDesk desk("chatml", 128);
    desk.say("Hi!", 5);
    const std::vector<uint32_t> before = desk.tokens();
    EXPECT_THAT(desk.say(std::string(3000, 'q')),
                HasSubstr("does not fit in the context of 128 tokens; shorten it"));
    EXPECT_EQ(desk.conversation->turns(), 1u);
    EXPECT_EQ(desk.conversation->forgotten(), 0u);
    EXPECT_EQ(desk.tokens(), before);
    EXPECT_THAT(desk.say(std::string(Conversation::kMaxText + 1, 'q')), HasSubstr("at most 4096"));
    desk.conversation->set_system(std::string(3000, 'q')).take();
    EXPECT_THAT(desk.say("Hi!"), HasSubstr("with the system prompt"));
    EXPECT_EQ(desk.conversation->turns(), 1u);
}

TEST(Conversation, WhatIsRefusedForgetsNothingWhereTheTextsAreFull) {
    ConversationDesk desk("chatml", 128);
    const std::vector<Turn> turns(5, {1000, 1});
    const std::string texts(5000, 'x');
    const std::vector<uint32_t> replies(5, desk.byte_token('a'));
    const Said said{"", turns, texts, replies};
    ASSERT_TRUE(desk.conversation->restore(desk.conversation->chat_template(), said).ok());
    EXPECT_THAT(desk.say(std::string(3000, 'q')), HasSubstr("does not fit"));
    EXPECT_EQ(desk.conversation->said().texts, texts);
    EXPECT_EQ(desk.conversation->said().replies.size(), 5u);
    EXPECT_EQ(desk.say("Hi!"), "");
    EXPECT_EQ(desk.conversation->said().texts, "Hi!");
    EXPECT_EQ(desk.conversation->forgotten(), 5u);
}

TEST(Conversation, ARefusedStoryLeavesTheOneBefore) {
    ConversationDesk desk("plain", 128);
    desk.will_write(" there was");
    desk.say("Once upon a time", 2);
    const std::vector<uint32_t> before = desk.tokens();
    EXPECT_THAT(desk.say(std::string(3000, 'q')), HasSubstr("more than the context's 128"));
    EXPECT_EQ(desk.tokens(), before);
    desk.will_write(" a dog.");
    EXPECT_EQ(desk.more(), " a dog.");
    EXPECT_EQ(desk.everything(), "<s> Once upon a time there was a dog.");
    EXPECT_EQ(desk.again(), "Once upon a time");
}

TEST(Conversation, ARefusedRegenerationLeavesTheReply) {
    ConversationDesk desk("chatml", 128);
    desk.will_write(" Hello.");
    desk.say("Hi!");
    desk.conversation->set_system(std::string(3000, 'q')).take();
    EXPECT_THAT(desk.again(), HasSubstr("with the system prompt"));
    desk.conversation->set_system("").take();
    desk.will_write(" Dear.");
    EXPECT_EQ(desk.more(), " Dear.");
    EXPECT_THAT(desk.everything(), ::testing::EndsWith("<|im_start|>assistant\n Hello. Dear."));
}

// Each encoding allocates, so allocations tell how much was encoded.
TEST(Conversation, ForgettingFourTimesAsManyTurnsEncodesAboutFourTimesAsMuch) {
    const auto encodings = [](uint32_t count) {
        ConversationDesk desk;
        const std::vector<Turn> turns(count, {3, 1});
        std::string texts;
        for (uint32_t i = 0; i < count; ++i) texts += "Hi!";
        const std::vector<uint32_t> replies(count, desk.byte_token('a'));
        EXPECT_TRUE(
            desk.conversation->restore(desk.conversation->chat_template(), {"", turns, texts, replies}).ok());
        const size_t before = desk.allocator.made;
        desk.say("Hi!");
        EXPECT_GT(desk.conversation->forgotten(), count * 3 / 4);
        return desk.allocator.made - before;
    };
    EXPECT_LT(encodings(200), 6 * encodings(50));
}

TEST(Conversation, AThousandTurnsStayInTheirBuffers) {
    for (uint32_t context : {48u, 128u}) {
        ConversationDesk desk("chatml", context);
        for (int i = 0; i < 1000; ++i) {
            desk.operators.script.assign(static_cast<size_t>(i % 40), desk.byte_token('a'));
            desk.say(i % 97 == 0 ? std::string(2000, 'q') : i % 3 == 0 ? "" : "Hi!", 40);
            ASSERT_LE(desk.tokens().size(), context);
        }
    }
}

// ---------------------------------------------------------------- stops

TEST(Conversation, AStopStringEndsTheReplyAndIsNoPartOfIt) {
    ConversationDesk desk;
    desk.options.set("stop", "User:").take();
    desk.will_write(" Yes. User: no");
    EXPECT_EQ(desk.say("Hi!"), "Yes. ");
    EXPECT_EQ(desk.run.stop, StopReason::kStop);
    EXPECT_THAT(desk.everything(), ::testing::Not(HasSubstr("User:")));
    EXPECT_THAT(desk.everything(), HasSubstr("assistant\n Yes."));
    EXPECT_THAT(desk.log.last("run"), HasSubstr("stop=stop"));
    desk.operators.script.clear();
    desk.say("And?");
    EXPECT_THAT(desk.everything(), HasSubstr("<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>"));
}

TEST(Conversation, TheTemplatesMarksEndAReplyThatWritesThemAsText) {
    ConversationDesk chatml;
    chatml.will_write(" Yes.<|im_end|>\n<|im_start|>user\nI ask myself.");
    EXPECT_EQ(chatml.say("Hi!", 100), "Yes.");
    EXPECT_THAT(chatml.everything(), ::testing::EndsWith("<|im_start|>assistant\n Yes."));
    ConversationDesk zephyr("zephyr");
    zephyr.will_write(" Yes.\n<|user|>\nI ask myself.");
    EXPECT_EQ(zephyr.say("Hi!", 100), "Yes.\n");
}

TEST(Conversation, AStopEndsAStoryToo) {
    ConversationDesk desk("plain");
    desk.options.set("stop", "dog").take();
    desk.will_write(" there was a dog.");
    EXPECT_EQ(desk.say("Once upon a time, not a dog,"), "Once upon a time, not a dog, there was a ");
}

TEST(Conversation, ARegenerationThatWasStoppedBeforeItsFirstTokenLeavesTheReply) {
    ConversationDesk desk;
    desk.will_write(" Hello.");
    desk.say("Hi!");
    TextCollector out;
    out.stop_after = 0;
    EXPECT_TRUE(desk.conversation->say_again(desk.settings(5), out).ok());
    EXPECT_EQ(out.all, "");
    desk.will_write(" Dear.");
    EXPECT_EQ(desk.more(), " Dear.");
    EXPECT_THAT(desk.everything(), ::testing::EndsWith("<|im_start|>assistant\n Hello. Dear."));
}

TEST(Conversation, ATurnThatWasStoppedBeforeItsReplyWasNotSaid) {
    ConversationDesk desk;
    TextCollector out;
    out.stop_after = 0;
    EXPECT_TRUE(desk.conversation->say("Hi!", desk.settings(5), out).ok());
    EXPECT_EQ(desk.conversation->turns(), 0u);
    desk.say("Bye!");
    EXPECT_THAT(desk.everything(), ::testing::StartsWith("<s> <|im_start|>user\nBye!"));
}

TEST(Conversation, RunsOutOfMemoryWithAnErrorAtEachAllocation) {
    testing::SessionDesk desk;
    ASSERT_TRUE(desk.open().ok());
    for (size_t allowed = 0;; ++allowed) {
        desk.allocator.fail_after = desk.allocator.made + allowed;
        Conversation conversation(desk.session);
        const Result<void> made = conversation.open(desk.allocator, *find_chat_template("zephyr"));
        if (made.ok()) {
            EXPECT_EQ(allowed, 6u);
            break;
        }
        EXPECT_EQ(made.error().code(), ErrorCode::kOutOfMemory);
    }
}

}  // namespace
}  // namespace bareflow
