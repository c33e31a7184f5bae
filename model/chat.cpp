#include "model/chat.h"

#include "arch/base/text.h"
#include "arch/base/version.h"

namespace bareflow {
namespace {

constexpr std::string_view kPrompt = "> ";
constexpr int kCtrlC = 0x03;

}  // namespace

void Chat::run() {
    terminal_.listen();
    greet();
    while (std::optional<std::string_view> line = read_line()) {
        const bool plain = conversation_.chat_template().is_plain();
        if (!line->starts_with('/')) {
            const std::string_view text = trimmed(*line);
            // A story begins as it was typed; to a model that talks, blanks around mean nothing, and nothing is said by none.
            if (plain || !text.empty()) tell(Telling::kNew, plain && !text.empty() ? *line : text);
            continue;
        }
        switch (commands_.run(*line)) {
            case ChatCommands::Outcome::kGoOn:
                break;
            case ChatCommands::Outcome::kQuit:
                return;
            case ChatCommands::Outcome::kAgain:
                tell(Telling::kAgain);
                break;
            case ChatCommands::Outcome::kMore:
                tell(Telling::kMore);
                break;
        }
    }
}

void Chat::greet() {
    terminal_.write(FixedString<200>::formatted("BareFlow {}, model {}, {} positions.\n", kVersion,
                                                session_.image().name, session_.transformer().context()));
    if (conversation_.chat_template().is_plain()) {
        terminal_.write(
            "Begin a story and press Enter: it is continued. An empty line starts one from nothing.\n"
            "Ctrl-C stops a story, /help lists the commands, /quit ends.\n\n");
    } else {
        terminal_.write(
            "Say something and press Enter.\n"
            "Ctrl-C stops a reply, /help lists the commands, /quit ends.\n\n");
    }
}

std::optional<std::string_view> Chat::read_line() {
    editor_.start(kPrompt);
    for (int byte = next_byte(); byte != Terminal::kNone; byte = next_byte()) {
        switch (editor_.feed(static_cast<uint8_t>(byte))) {
            case LineEditor::Event::kNone:
                break;
            case LineEditor::Event::kLine:
                return editor_.line();
            case LineEditor::Event::kCancelled:
                editor_.start(kPrompt);
                break;
            case LineEditor::Event::kEndOfInput:
                return std::nullopt;
        }
    }
    terminal_.write("\n");
    return std::nullopt;
}

int Chat::next_byte() {
    if (typed_ahead_taken_ < typed_ahead_.size()) {
        return static_cast<unsigned char>(typed_ahead_.view()[typed_ahead_taken_++]);
    }
    typed_ahead_.clear();
    typed_ahead_taken_ = 0;
    // The machine's own work stops for the first key, and waits until the line is done: a serial port keeps few bytes.
    while (editor_.line().empty() && machine_.idle()) {
        if (const int byte = terminal_.poll(); byte != Terminal::kNone) return byte;
    }
    return terminal_.read();
}

bool Chat::stop_requested() {
    if (telling_) machine_.between_tokens();
    for (int byte = terminal_.poll(); byte != Terminal::kNone; byte = terminal_.poll()) {
        if (byte == kCtrlC) {
            typed_ahead_.clear();
            typed_ahead_taken_ = 0;
            return true;
        }
        const char c = static_cast<char>(byte);
        typed_ahead_.append({&c, 1});
    }
    return false;
}

void Chat::tell(Telling telling, std::string_view text) {
    const Conversation::Settings settings{
        options_.max_tokens, options_.sampling, {options_.stops, options_.stop_count}};
    telling_ = true;
    const Result<RunStatistics> run = telling == Telling::kNew     ? conversation_.say(text, settings, *this)
                                      : telling == Telling::kAgain ? conversation_.say_again(settings, *this)
                                                                   : conversation_.say_more(settings, *this);
    telling_ = false;
    if (run.ok()) {
        terminal_.write("\n");
        tell_end(run.value());
    } else {
        terminal_.write(run.error().message());
        terminal_.write("\n");
    }
    terminal_.write("\n");
}

void Chat::tell_end(const RunStatistics& run) {
    const uint32_t context = session_.transformer().context();
    if (const uint32_t turns = conversation_.forgotten(); turns != 0) {
        terminal_.write(FixedString<120>::formatted(
            "[the context of {} tokens was full: the first {} turns are forgotten]\n", context, turns));
    }
    switch (run.stop) {
        case StopReason::kEndOfText:
        case StopReason::kStop:
            break;
        case StopReason::kLength:
            terminal_.write(
                FixedString<80>::formatted("[{} tokens: /more goes on, /n sets how many]\n", run.generated));
            break;
        case StopReason::kContext:
            terminal_.write(FixedString<80>::formatted("[the context of {} tokens is full]\n", context));
            break;
        case StopReason::kInterrupt:
            terminal_.write("[stopped]\n");
            break;
    }
}

}  // namespace bareflow
