#include "model/chat_file.h"

#include <cstring>
#include <random>

#include "arch/base/crc32c.h"
#include "tests/unit/model/conversation_support.h"

namespace bareflow {
namespace {

using chat_file::Header;
using testing::ConversationDesk;
using ::testing::HasSubstr;
using testing::MemoryFiles;
using testing::message_of;

constexpr const char* kName = "TALK.CHT";

struct FileDesk : ConversationDesk {
    using ConversationDesk::ConversationDesk;
    Result<uint64_t> save() {
        return save_conversation(files, kName, *conversation, session, options, allocator);
    }
    /// The error; empty if all went well.
    std::string load() {
        const Result<void> done = load_conversation(files, kName, *conversation, session, options, allocator);
        return done.ok() ? "" : std::string(done.error().message());
    }
    std::vector<uint8_t>& bytes() { return files.files[kName]; }
    Header header() {
        Header header;
        std::memcpy(&header, bytes().data(), sizeof header);
        return header;
    }
    /// As somebody hostile would: all checksums are right again.
    void put(Header header) {
        const auto crc = [&](uint64_t from, uint64_t to) {
            to = std::min<uint64_t>(to, bytes().size());
            return from < to ? crc32c(std::span(bytes()).subspan(from, to - from)) : 0;
        };
        const uint64_t said = uint64_t{header.turn_count} * 8 +
                              (uint64_t{header.reply_count} + header.token_count) * 4 + header.text_size +
                              header.system_size;
        header.said_crc32c = crc(sizeof header, sizeof header + said);
        header.kv_crc32c = crc(sizeof header + said, bytes().size());
        header.header_crc32c =
            crc32c({reinterpret_cast<const uint8_t*>(&header), offsetof(Header, header_crc32c)});
        std::memcpy(bytes().data(), &header, sizeof header);
    }
    MemoryFiles files;
};

struct Case {
    const char* chat_template;
    ElementType cache;
};
const Case kCases[] = {{"chatml", ElementType::kF32},
                       {"llama-2", ElementType::kF16},
                       {"zephyr", ElementType::kF32},
                       {"plain", ElementType::kF16}};

TEST(ChatFile, TheNextReplyIsTheOneThatWouldHaveComeWithoutIt) {
    for (const Case& c : kCases) {
        FileDesk saved(c.chat_template, 0, true, c.cache), loaded(c.chat_template, 0, true, c.cache);
        saved.options.sampling.temperature = 1;
        saved.options.sampling.top_k = 100;
        if (!find_chat_template(c.chat_template)->is_plain())
            saved.conversation->set_system("Be kind.").take();
        saved.say("Tell me of a dog.", 30);
        saved.say("And of a cat.", 30);
        ASSERT_EQ(message_of(saved.save()), "");
        loaded.files.files = saved.files.files;
        loaded.session.seed(99);
        loaded.say("Something else that goes away.", 10);
        ASSERT_EQ(loaded.load(), "") << c.chat_template;
        EXPECT_EQ(loaded.tokens(), saved.tokens());
        EXPECT_EQ(loaded.conversation->turns(), saved.conversation->turns());
        EXPECT_EQ(loaded.conversation->system(), saved.conversation->system());
        EXPECT_EQ(loaded.options.sampling.top_k, 100u);
        EXPECT_EQ(loaded.session.current_seed(), 1u);
        for (int i = 0; i < 2; ++i) {
            EXPECT_EQ(loaded.more(9), saved.more(9));
            EXPECT_EQ(loaded.run.kept, saved.run.kept) << "nothing is evaluated again";
            EXPECT_EQ(loaded.say("And then?", 30), saved.say("And then?", 30));
            EXPECT_EQ(loaded.run.kept, saved.run.kept);
            EXPECT_EQ(loaded.again(30), saved.again(30));
        }
        EXPECT_EQ(loaded.tokens(), saved.tokens());
    }
}

TEST(ChatFile, BringsItsTemplateAlong) {
    FileDesk saved("llama-2"), loaded("chatml");
    saved.say("Hi!");
    ASSERT_EQ(message_of(saved.save()), "");
    loaded.files.files = saved.files.files;
    ASSERT_EQ(loaded.load(), "");
    EXPECT_EQ(loaded.conversation->chat_template().name, "llama-2");
}

TEST(ChatFile, AnEmptyConversationAndAFullContextCanBeKept) {
    FileDesk desk("chatml", 64);
    ASSERT_EQ(message_of(desk.save()), "");
    EXPECT_EQ(desk.bytes().size(), sizeof(Header));
    ASSERT_EQ(desk.load(), "");
    EXPECT_EQ(desk.conversation->turns(), 0u);
    desk.operators.script.assign(500, desk.byte_token('a'));
    desk.say("", 400);
    ASSERT_EQ(desk.run.stop, StopReason::kContext);
    ASSERT_EQ(message_of(desk.save()), "");
    EXPECT_EQ(desk.bytes().size(),
              sizeof(Header) + 8 + 64 * 4 + desk.session.reply().size() * 4 + 64 * 12 * 64 * 4);
    const std::vector<uint32_t> before = desk.tokens();
    desk.conversation->clear();
    ASSERT_EQ(desk.load(), "");
    EXPECT_EQ(desk.tokens(), before);
    desk.conversation->clear();  // empty again, after something was said
    ASSERT_EQ(message_of(desk.save()), "");
    ASSERT_EQ(desk.load(), "");
    EXPECT_EQ(desk.conversation->turns(), 0u);
    EXPECT_EQ(desk.allocator.live, FileDesk("chatml", 64).allocator.live);
}

TEST(ChatFile, WhatDoesNotBelongHereIsRefusedAndTheConversationGoesOn) {
    FileDesk saved("chatml", 0, true);
    saved.say("Hi!", 10);
    saved.say("Hi!", 10);
    ASSERT_EQ(message_of(saved.save()), "");
    const auto refused = [&](FileDesk& desk, const char* reason) {
        desk.files.files = saved.files.files;
        desk.say("Mine.", 5);
        const std::vector<uint32_t> before = desk.tokens();
        EXPECT_THAT(desk.load(), HasSubstr(reason));
        EXPECT_EQ(desk.tokens(), before);
        EXPECT_EQ(desk.conversation->turns(), 1u);
        EXPECT_EQ(desk.more(3).front() == '<', false);
    };
    FileDesk half("chatml", 0, true, ElementType::kF16), small("chatml", 48, true);
    refused(half, "start with --cache-type f32");
    refused(small, "start with -c ");
    FileDesk none("chatml", 0, true);
    none.say("Mine.", 5);
    EXPECT_THAT(none.load(), HasSubstr("no file TALK.CHT"));
    // A header of another model, class or version.
    const struct {
        void (*change)(Header&);
        const char* reason;
    } cases[] = {
        {[](Header& h) { h.model_hash ^= 1; }, "start with that model (-m)"},
        {[](Header& h) { h.numerics = 0; }, "start with --numerics fma"},
        {[](Header& h) { h.version = 2; }, "version 2; this BareFlow reads 1"},
        {[](Header& h) { h.magic[0] = 'X'; }, "no conversation of BareFlow's"},
    };
    for (const auto& c : cases) {
        Header header = saved.header();
        c.change(header);
        const std::vector<uint8_t> good = saved.bytes();
        saved.put(header);
        FileDesk desk("chatml", 0, true);
        refused(desk, c.reason);
        saved.bytes() = good;
    }
}

TEST(ChatFile, NoByteCanChangeUnnoticed) {
    FileDesk desk("chatml", 64, true);
    desk.conversation->set_system("S").take();
    desk.say("", 8);
    ASSERT_EQ(message_of(desk.save()), "");
    const std::vector<uint8_t> good = desk.bytes();
    const uint64_t text_ends = 2000;
    for (size_t i = 0; i < good.size(); i += i < text_ends ? 1 : 97) {
        desk.bytes()[i] ^= 0x10;
        ASSERT_NE(desk.load(), "") << "byte " << i;
        desk.bytes() = good;
    }
    for (size_t size = 0; size < good.size(); size += size < text_ends ? 1 : 97) {
        desk.bytes().resize(size);
        ASSERT_NE(desk.load(), "") << "the first " << size;
        desk.bytes() = good;
    }
    desk.bytes().push_back(0);
    EXPECT_THAT(desk.load(), HasSubstr("its header speaks of"));
    desk.bytes() = good;
    EXPECT_EQ(desk.load(), "");
}

TEST(ChatFile, HostileCountsAreRefused) {
    const struct {
        void (*change)(Header&);
        const char* reason;
    } cases[] = {
        {[](Header& h) { h.token_count = UINT32_MAX; }, "start with -c"},
        {[](Header& h) { h.evaluated = h.token_count + 1; }, "contradict"},
        {[](Header& h) { h.text_begin = UINT32_MAX; }, "contradict"},
        {[](Header& h) { h.reply_begin = h.token_count + 1; }, "contradict"},
        {[](Header& h) { h.turn_count = UINT32_MAX; }, "its header speaks of"},
        {[](Header& h) { h.text_size = UINT32_MAX, h.reply_count = UINT32_MAX; }, "its header speaks of"},
        {[](Header& h) { h.layers = 1; }, "start with that model"},
        {[](Header& h) { h.kv_row_bytes = 1; }, "cache-type"},
        {[](Header& h) { h.file_size += 1; }, "its header speaks of"},
        {[](Header& h) { h.temperature = -1; }, "out of range"},
        {[](Header& h) { h.top_p = __builtin_nanf(""); }, "out of range"},
        {[](Header& h) { std::memset(h.random, 0, sizeof h.random); }, "out of range"},
        {[](Header& h) { std::memset(h.chat_template, 'x', sizeof h.chat_template); }, "chat template"},
        {[](Header& h) { std::memset(h.chat_template, 0, sizeof h.chat_template); }, "chat template"},
        {[](Header& h) { std::memcpy(h.chat_template, "plain\0", 7); }, "has no such turns"},
        {[](Header& h) { h.text_size -= 1, h.system_size += 1; }, "do not add up"},
        {[](Header& h) { h.text_size += 4, h.reply_count -= 1; }, "do not add up"},
        {[](Header& h) { h.header_size = 128; }, "version"},
    };
    for (const auto& c : cases) {
        FileDesk desk("chatml", 128);
        desk.conversation->set_system("System").take();
        desk.operators.script.assign(6, desk.byte_token('a'));
        desk.say("Hi", 3);
        desk.say("Hi", 3);
        ASSERT_EQ(message_of(desk.save()), "");
        Header header = desk.header();
        c.change(header);
        desk.put(header);
        EXPECT_THAT(desk.load(), HasSubstr(c.reason));
    }
}

// Whatever is in a file with right checksums: an error or a conversation that can be gone on with. Under the sanitizers, too.
TEST(ChatFile, RandomChangesWithRightChecksumsDoNoHarm) {
    std::mt19937 random(3);
    size_t loaded = 0;
    FileDesk desk("chatml", 96);
    desk.say("Hi", 4);
    desk.operators.script.assign(9, desk.byte_token('a'));
    desk.say("Hi", 9);
    ASSERT_EQ(message_of(desk.save()), "");
    const std::vector<uint8_t> good = desk.bytes();
    for (int round = 0; round < 1000; ++round) {
        desk.bytes() = good;
        for (uint32_t changes = 1 + random() % 3; changes > 0; --changes) {
            // The counts, the settings, the turns and tokens.
            const size_t at = random() % 2 == 0 ? 44 + random() % 120 : sizeof(Header) + random() % 200;
            desk.bytes()[at] = static_cast<uint8_t>(random() % 4 == 0 ? random() : random() % 8);
        }
        desk.put(desk.header());
        if (desk.load() != "") continue;
        ++loaded;
        desk.operators.script.assign(5, desk.byte_token('b'));
        desk.more(3);
        desk.again(3);
        desk.say("Hi", 3);
        ASSERT_LE(desk.tokens().size(), 96u);
        ASSERT_EQ(message_of(desk.save()), "");
    }
    EXPECT_GT(loaded, 50u);
}

TEST(ChatFile, ADiskThatFailsLeavesAConversationThatGoesOn) {
    FileDesk desk("chatml", 64, true);
    desk.say("", 8);
    ASSERT_EQ(message_of(desk.save()), "");
    for (size_t reads = 0;; ++reads) {
        desk.files.reads = 0, desk.files.fail_after_reads = reads;
        if (desk.load() == "") {
            EXPECT_GT(reads, 12u);
            break;
        }
        desk.say("", 3);
        EXPECT_GE(desk.conversation->turns(), 1u);
    }
    desk.files.full = true;
    EXPECT_THAT(message_of(desk.save()), HasSubstr("the disk is full"));
}

TEST(ChatFile, RunsOutOfMemoryWithAnErrorAtEachAllocation) {
    FileDesk desk("chatml", 64);
    desk.say("", 8);
    ASSERT_EQ(message_of(desk.save()), "");
    const size_t live = desk.allocator.live;
    for (size_t allowed = 0;; ++allowed) {
        desk.allocator.fail_after = desk.allocator.made + allowed;
        const bool saved = desk.save().ok();
        desk.allocator.fail_after = desk.allocator.made + allowed;
        const bool loaded = desk.load() == "";
        EXPECT_EQ(desk.allocator.live, live);
        if (saved && loaded) break;
    }
}

}  // namespace
}  // namespace bareflow
