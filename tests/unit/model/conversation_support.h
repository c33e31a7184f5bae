// What the tests of conversations share: a conversation on the default model, by scripted operators or by the reference.
#pragma once

#include <gmock/gmock.h>

#include <map>

#include "model/chat_file.h"
#include "model/reference.h"
#include "tests/unit/model/session_support.h"

namespace bareflow::testing {

template <typename T>
std::string message_of(const Result<T>& result) {
    return result.ok() ? "" : std::string(result.error().message());
}

struct TextCollector final : TextListener {
    void text(std::string_view piece) override { all += piece; }
    bool stop_requested() override { return asked++ >= stop_after; }
    std::string all;
    size_t asked = 0, stop_after = SIZE_MAX;
};

/// Files in memory. What breaks breaks on demand.
struct MemoryFiles final : FileStore {
    Result<uint64_t> file_size(std::string_view name) override {
        const auto found = files.find(std::string(name));
        if (found == files.end()) return Error::make(ErrorCode::kNotFound, "no file {}", name);
        return uint64_t{found->second.size()};
    }
    Result<void> read_file(std::string_view name, uint64_t offset, std::span<uint8_t> out) override {
        if (reads++ >= fail_after_reads) return Error::make(ErrorCode::kDevice, "the disk failed");
        const std::vector<uint8_t>& file = files.at(std::string(name));
        if (!fits(offset, out.size(), file.size()))
            return Error::make(ErrorCode::kOutOfRange, "past the end");
        std::copy_n(file.begin() + static_cast<ptrdiff_t>(offset), out.size(), out.begin());
        return {};
    }
    Result<void> replace_file(std::string_view name, std::span<const ByteSpan> parts) override {
        if (full) return Error::make(ErrorCode::kOutOfRange, "the disk is full");
        std::vector<uint8_t>& file = files[std::string(name)];
        file.clear();
        for (const ByteSpan part : parts) file.insert(file.end(), part.begin(), part.end());
        return {};
    }
    std::map<std::string, std::vector<uint8_t>> files;
    bool full = false;
    size_t reads = 0, fail_after_reads = SIZE_MAX;
};

struct ConversationDesk : SessionDesk {
    /// `real`: the reference computes; else a script says what is written.
    explicit ConversationDesk(const char* name = "chatml", uint32_t context = 0, bool real = false,
                              ElementType cache = ElementType::kF32) {
        CpuFeatures cpu;
        Operators* chosen = real ? reference_operators(NumericClass::kMulAdd, cpu).take() : &operators;
        session.open(default_image(), *chosen, context, cache).take();
        session.seed(1);
        conversation.emplace(session);
        conversation->open(allocator, *find_chat_template(name)).take();
        options.sampling.temperature = 0;
    }
    Conversation::Settings settings(uint32_t n) {
        return {n, options.sampling, {options.stops, options.stop_count}};
    }
    /// What is written, or the error.
    std::string say(std::string_view text, uint32_t n = 20) {
        TextCollector out;
        return told(conversation->say(text, settings(n), out), out);
    }
    std::string again(uint32_t n = 20) {
        TextCollector out;
        return told(conversation->say_again(settings(n), out), out);
    }
    std::string more(uint32_t n = 20) {
        TextCollector out;
        return told(conversation->say_more(settings(n), out), out);
    }
    std::string told(const Result<RunStatistics>& result, const TextCollector& out) {
        if (!result.ok()) return "<" + std::string(result.error().message()) + ">";
        run = result.value();
        return out.all;
    }
    /// The tokens of the conversation as text, marks and all.
    std::string everything() {
        std::string text;
        for (uint32_t token : session.tokens())
            text += session.tokenizer().piece(token).empty() ? session.tokenizer().name(token)
                                                             : session.tokenizer().piece(token);
        return text;
    }
    std::vector<uint32_t> tokens() const { return {session.tokens().begin(), session.tokens().end()}; }

    Options options;
    RunStatistics run;
    std::optional<Conversation> conversation;
};

}  // namespace bareflow::testing
