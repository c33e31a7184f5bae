#include "model/session.h"

#include <gmock/gmock.h>

#include <fstream>
#include <sstream>

#include "arch/base/text.h"
#include "model/reference.h"
#include "tests/unit/model/session_support.h"
#include "tests/unit/model/test_models.h"

namespace bareflow {
namespace {

using ::testing::ElementsAre;
using testing::greedy;
using ::testing::HasSubstr;
using testing::ScriptedOperators;
using testing::SessionDesk;
using ::testing::StartsWith;

constexpr uint32_t kBos = 1, kEos = 2;

/// Collects a story, and asks for its end after so many pieces or questions.
struct Collector final : TextListener {
    void text(std::string_view piece) override {
        pieces.emplace_back(piece);
        if (on_text) on_text();
    }
    bool stop_requested() override { return asked++ >= stop_after_questions; }
    std::string all() const {
        std::string joined;
        for (const std::string& piece : pieces) joined += piece;
        return joined;
    }
    std::vector<std::string> pieces;
    size_t asked = 0, stop_after_questions = SIZE_MAX;
    std::function<void()> on_text;
};

RunStatistics generate(SessionDesk& desk, std::string_view prompt, uint32_t n, Collector& story) {
    Result<RunStatistics> run = desk.session.generate(prompt, n, greedy(), story);
    EXPECT_TRUE(run.ok()) << run.error().message();
    return run.take();
}

TEST(Session, WritesTheModelCardsStory) {
    std::ifstream card("model/MODEL_CARD.md");
    std::stringstream text;
    text << card.rdbuf();
    const std::string prompt = "Tom and Lily went to the park.";
    ASSERT_THAT(text.str(), HasSubstr("Prompt: " + prompt + "\n"));

    SessionDesk desk;
    CpuFeatures cpu;
    Operators* reference = reference_operators(NumericClass::kMulAdd, cpu).take();
    ASSERT_TRUE(desk.session.open(testing::default_image(), *reference, 0).ok());
    Collector story;
    generate(desk, prompt, 40, story);
    EXPECT_THAT(story.all(), StartsWith(prompt + " "));
    EXPECT_GT(story.all().size(), 100u);
    EXPECT_THAT(text.str(), HasSubstr("\n> " + story.all()));
}

TEST(Session, FeedsBosThePromptAndEachTokenAtItsPosition) {
    SessionDesk desk;
    ASSERT_TRUE(desk.open().ok());
    std::vector<uint32_t> expected = desk.tokens_of("Once upon");
    expected.insert(expected.begin(), kBos);
    const std::vector<uint32_t> script = {100, 200, 300};
    desk.operators.script.assign(script.begin(), script.end());
    expected.insert(expected.end(), script.begin(), script.end());

    Collector story;
    RunStatistics run = generate(desk, "Once upon", 10, story);
    EXPECT_EQ(desk.operators.fed, expected);
    EXPECT_EQ(desk.operators.positions, expected.size());
    EXPECT_EQ(run.stop, StopReason::kEndOfText);
    EXPECT_EQ(run.generated, 3u);
}

TEST(Session, AVocabularyWithoutBosBeginsWithThePromptButAnEmptyOneStillHasBos) {
    Image image(testing::default_model());
    image.at<wllm::TokenizerHeader>(image.section(1).offset).flags |= wllm::kTokenizerNoBos;
    reseal(image);
    SessionDesk desk;
    ASSERT_TRUE(desk.session.open({"file", "no bos", image.bytes()}, desk.operators, 0).ok());
    Collector story;
    generate(desk, "Once upon", 0, story);
    EXPECT_EQ(desk.operators.fed, desk.tokens_of("Once upon"));
    desk.operators.fed.clear();
    EXPECT_EQ(generate(desk, "", 0, story).prompt.tokens, 1u);
    EXPECT_EQ(desk.operators.fed, std::vector<uint32_t>{kBos});
}

TEST(Session, ThePromptIsWrittenByteForByteBeforeItsContinuation) {
    for (std::string prompt :
         {"Once upon", " leading", "trailing ", "a▁b", "two\nlines", "\xFF\xC3 bad", "  ", "é"}) {
        SessionDesk desk;
        ASSERT_TRUE(desk.open().ok());
        desk.will_write(" a dog.");
        Collector story;
        generate(desk, prompt, 20, story);
        EXPECT_EQ(story.pieces.at(0), prompt);
        EXPECT_EQ(story.all(), prompt + " a dog.");
    }
}

TEST(Session, AnEmptyPromptBeginsFromBosAndDropsTheDummyPrefix) {
    SessionDesk desk;
    ASSERT_TRUE(desk.open().ok());
    for (uint32_t token : desk.tokens_of("One day")) desk.operators.script.push_back(token);
    Collector story;
    RunStatistics run = generate(desk, "", 20, story);
    EXPECT_EQ(story.all(), "One day");
    EXPECT_EQ(run.prompt.tokens, 1u);
    EXPECT_EQ(desk.operators.fed.at(0), kBos);
}

TEST(Session, StopsAfterAsManyTokensAsAskedFor) {
    for (uint32_t n : {0u, 1u, 7u}) {
        SessionDesk desk;
        ASSERT_TRUE(desk.open().ok());
        desk.operators.script.assign(50, desk.byte_token('a'));
        Collector story;
        RunStatistics run = generate(desk, "x", n, story);
        EXPECT_EQ(run.stop, StopReason::kLength);
        EXPECT_EQ(run.generated, n);
        EXPECT_EQ(story.all(), "x" + std::string(n, 'a'));
        EXPECT_EQ(desk.operators.fed.size(), 1 + desk.tokens_of("x").size() + (n == 0 ? 0 : n - 1));
    }
}

TEST(Session, StopsAtEosAndAtBos) {
    for (uint32_t end : {kEos, kBos}) {
        SessionDesk desk;
        ASSERT_TRUE(desk.open().ok());
        desk.operators.script = {desk.byte_token('a'), desk.byte_token('b'), end, desk.byte_token('c')};
        Collector story;
        RunStatistics run = generate(desk, "", 50, story);
        EXPECT_EQ(run.stop, StopReason::kEndOfText);
        EXPECT_EQ(story.all(), "ab");
        EXPECT_THAT(desk.log.last("run"), HasSubstr("generated=2 stop=eos"));
    }
}

TEST(Session, StopsWhenTheContextIsFullAndSaysSo) {
    SessionDesk desk;
    ASSERT_TRUE(desk.open(8).ok());
    desk.operators.script.assign(50, desk.byte_token('a'));
    Collector story;
    RunStatistics run = generate(desk, "", 50, story);
    EXPECT_EQ(run.stop, StopReason::kContext);
    EXPECT_EQ(desk.operators.fed.size(), 8u);  // every position was used
    EXPECT_EQ(run.generated, 8u);              // the last one's token has no position of its own
    EXPECT_THAT(desk.log.last("run"), HasSubstr("stop=context"));
    EXPECT_THAT(desk.log.last("run"), HasSubstr("context of 8 positions is full"));
}

TEST(Session, APromptThatFillsTheContextIsContinuedByOneTokenAndALongerOneIsRefused) {
    SessionDesk desk;
    ASSERT_TRUE(desk.open(1 + 4).ok());
    std::string prompt = "aaaa";
    while (desk.tokens_of(prompt).size() < 4) prompt += "q";
    ASSERT_EQ(desk.tokens_of(prompt).size(), 4u);
    desk.operators.script.assign(50, desk.byte_token('z'));
    Collector fits;
    EXPECT_EQ(generate(desk, prompt, 50, fits).generated, 1u);

    while (desk.tokens_of(prompt).size() < 5) prompt += "q";
    Collector too_long;
    Result<RunStatistics> run = desk.session.generate(prompt, 50, greedy(), too_long);
    ASSERT_FALSE(run.ok());
    EXPECT_EQ(run.error().code(), ErrorCode::kOutOfRange);
    EXPECT_THAT(std::string(run.error().message()),
                HasSubstr("the prompt has 6 tokens, more than the context's 5"));
    EXPECT_TRUE(too_long.pieces.empty());

    Collector after;  // and the session goes on
    EXPECT_EQ(generate(desk, "", 2, after).generated, 2u);
}

TEST(Session, TheListenerStopsItBetweenTokens) {
    SessionDesk desk;
    ASSERT_TRUE(desk.open().ok());
    desk.operators.script.assign(50, desk.byte_token('a'));
    Collector story;
    story.stop_after_questions = 3;
    RunStatistics run = generate(desk, "", 50, story);
    EXPECT_EQ(run.stop, StopReason::kInterrupt);
    EXPECT_EQ(story.all(), "aaa");

    Collector in_the_prompt;
    in_the_prompt.stop_after_questions = 2;
    desk.operators.fed.clear();
    run = generate(desk, "Once upon a time there was a dog", 50, in_the_prompt);
    EXPECT_EQ(run.stop, StopReason::kInterrupt);
    EXPECT_EQ(run.generated, 0u);
    EXPECT_EQ(desk.operators.fed.size(), 2u);
    EXPECT_THAT(desk.log.last("run"), HasSubstr("stop=interrupt"));
}

TEST(Session, CharactersThatTokensSplitComeOutWhole) {
    SessionDesk desk;
    ASSERT_TRUE(desk.open().ok());
    for (unsigned char byte : std::string("世é😀")) desk.operators.script.push_back(desk.byte_token(byte));
    desk.operators.script.push_back(desk.byte_token(0xE4));  // and one that stays unfinished
    Collector story;
    generate(desk, "", 50, story);
    EXPECT_THAT(story.pieces, ElementsAre("世", "é", "😀", "\uFFFD"));
}

TEST(Session, TheFirstTokenIsOnTheLogBeforeItIsShown) {
    SessionDesk desk;
    ASSERT_TRUE(desk.open().ok());
    desk.operators.script.assign(3, desk.byte_token('a'));
    std::vector<std::string> log_when_shown;
    Collector story;
    story.on_text = [&] { log_when_shown.push_back(desk.log.last("first_token")); };
    generate(desk, "x", 3, story);
    ASSERT_EQ(log_when_shown.size(), 4u);
    EXPECT_EQ(log_when_shown[0], "");  // the prompt
    const double prompt_ms = 10.0 * static_cast<double>(1 + desk.tokens_of("x").size());
    EXPECT_EQ(log_when_shown[1],
              std::string(FixedString<80>::formatted("first_token ms={:.3} since_start_ms={:.3}\n", prompt_ms,
                                                     prompt_ms)
                              .view()));
}

TEST(Session, MeasuresPromptAndGenerationApart) {
    SessionDesk desk;
    ASSERT_TRUE(desk.open().ok());
    const size_t prompt_tokens = 1 + desk.tokens_of("Once upon a time").size();
    desk.operators.script.assign(20, desk.byte_token('a'));
    Collector story;
    RunStatistics run = generate(desk, "Once upon a time", 5, story);
    EXPECT_EQ(run.prompt.tokens, prompt_tokens);
    EXPECT_EQ(run.prompt.ns, prompt_tokens * ScriptedOperators::kTokenNs);
    EXPECT_EQ(run.evaluation.tokens, 4u);  // the first token came out of the prompt
    EXPECT_EQ(run.evaluation.ns, 4 * ScriptedOperators::kTokenNs);
    EXPECT_DOUBLE_EQ(run.evaluation.ms_per_token(), 10);
    EXPECT_DOUBLE_EQ(run.evaluation.tokens_per_second(), 100);
    EXPECT_EQ(run.first_token_ns, run.prompt.ns);
    EXPECT_THAT(desk.log.last("run"), HasSubstr("generated=5 stop=length"));
    EXPECT_THAT(desk.log.last("run"), HasSubstr("eval_ms=40.000 tok_per_s=100.000"));

    generate(desk, "", 3, story);
    const SessionStatistics& all = desk.session.statistics();
    EXPECT_EQ(all.runs, 2u);
    EXPECT_EQ(all.generated, 8u);
    EXPECT_EQ(all.prompt.tokens, prompt_tokens + 1);
    EXPECT_EQ(all.evaluation.tokens, 6u);
    EXPECT_EQ(all.start_to_first_token_ns, run.first_token_ns);  // of the first story only
    EXPECT_EQ(TokenTiming{}.ms_per_token(), 0);
    EXPECT_EQ(TokenTiming{}.tokens_per_second(), 0);
}

TEST(Session, NothingIsAllocatedPerToken) {
    SessionDesk desk;
    ASSERT_TRUE(desk.open().ok());
    auto allocations = [&](uint32_t n) {
        desk.operators.script.assign(300, desk.byte_token('a'));
        const size_t before = desk.allocator.made;
        Collector story;
        generate(desk, "Once upon a time", n, story);
        return desk.allocator.made - before;
    };
    EXPECT_EQ(allocations(200), allocations(1));
}

TEST(Session, ThePenaltyLooksAtThePromptAndAtWhatWasWritten) {
    SessionDesk desk;
    ASSERT_TRUE(desk.open().ok());
    const uint32_t a = desk.tokens_of("xa").back(), b = desk.byte_token('B'), c = desk.byte_token('C');
    desk.operators.logits = [&](float* y) {
        y[a] = 1.0f;
        y[b] = 0.9f;
        y[c] = 0.85f;
    };
    SamplingOptions sampling = greedy();
    sampling.repeat_penalty = 1.2f;
    Collector story;
    ASSERT_TRUE(desk.session.generate("xa", 3, sampling, story).ok());
    EXPECT_EQ(story.all(), "xaBCa");  // 1.0 / 1.2 = 0.83, 0.9 / 1.2 = 0.75, 0.85 / 1.2 = 0.71
}

TEST(Session, TheSameSeedWritesTheSameStoriesAgain) {
    SessionDesk desk;
    ASSERT_TRUE(desk.open().ok());
    desk.operators.logits = [](float* y) {
        for (int i = 0; i < 26; ++i) y['a' + 3 + i] = 5;
    };
    SamplingOptions sampling;
    sampling.top_k = 0;
    auto two_stories = [&](uint64_t seed) {
        desk.session.seed(seed);
        Collector first, second;
        EXPECT_TRUE(desk.session.generate("x", 30, sampling, first).ok());
        EXPECT_TRUE(desk.session.generate("x", 30, sampling, second).ok());
        EXPECT_NE(first.all(), second.all());
        return first.all() + second.all();
    };
    EXPECT_EQ(two_stories(1), two_stories(1));
    const std::string of_seed_1 = two_stories(1);
    EXPECT_NE(two_stories(2), of_seed_1);
    EXPECT_THAT(desk.log.last("run"), HasSubstr("seed=2"));
}

TEST(Session, LogsWhatTheModelIs) {
    SessionDesk desk;
    const Result<void> opened =
        desk.session.open(testing::default_image(), desk.operators, 64, ElementType::kF16);
    ASSERT_TRUE(opened.ok());
    const std::string record = desk.log.last("model");
    for (const char* field : {"source=embedded", "name=stories", "bytes=", "hash=", "layers=6", "hidden=128",
                              "heads=8", "kv_heads=4", "vocab=1024", "context=64", "type=f32",
                              "numerics=muladd", "load_ms=", "cache_type=f16", "kv_bytes=98304"}) {
        EXPECT_THAT(record, HasSubstr(std::string(" ") + field));
    }
}

TEST(Session, AModelThatCannotBeOpenedLeavesRoomForAnother) {
    SessionDesk desk;
    std::vector<uint8_t> broken(testing::default_model().begin(), testing::default_model().end());
    broken.resize(broken.size() / 2);
    EXPECT_FALSE(desk.session.open({"file", "broken", broken}, desk.operators, 0).ok());
    EXPECT_EQ(desk.allocator.live, 0u);
    Result<void> too_long = desk.open(1'000'000);
    ASSERT_FALSE(too_long.ok());
    EXPECT_THAT(std::string(too_long.error().message()), HasSubstr("512"));
    EXPECT_EQ(desk.allocator.live, 0u);
    ASSERT_TRUE(desk.open().ok());
    ASSERT_TRUE(desk.open(32).ok());  // and again, over an open one
    Collector story;
    EXPECT_EQ(generate(desk, "x", 0, story).stop, StopReason::kLength);
}

TEST(Session, RunsOutOfMemoryWithAnErrorAtEachAllocation) {
    size_t needed;
    {
        SessionDesk desk;
        ASSERT_TRUE(desk.open().ok());
        needed = desk.allocator.made;
    }
    for (size_t allowed = 0; allowed < needed; ++allowed) {
        SessionDesk desk;
        desk.allocator.fail_after = allowed;
        Result<void> opened = desk.open();
        ASSERT_FALSE(opened.ok()) << allowed;
        EXPECT_EQ(opened.error().code(), ErrorCode::kOutOfMemory);
        EXPECT_EQ(desk.allocator.live, 0u);
    }
}

}  // namespace
}  // namespace bareflow
