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
        if (!line->starts_with('/')) {
            tell(trimmed(*line).empty() ? std::string_view() : *line);
        } else if (commands_.run(*line) == ChatCommands::Outcome::kQuit) {
            return;
        }
    }
}

void Chat::greet() {
    terminal_.write(FixedString<200>::formatted("BareFlow {}, model {}, {} positions.\n", kVersion,
                                                session_.image().name, session_.transformer().context()));
    terminal_.write(
        "Begin a story and press Enter: it is continued. An empty line starts one from nothing.\n"
        "Ctrl-C stops a story, /help lists the commands, /quit ends.\n\n");
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

void Chat::tell(std::string_view beginning) {
    telling_ = true;
    Result<RunStatistics> run = session_.generate(beginning, options_.max_tokens, options_.sampling, *this);
    telling_ = false;
    if (!run.ok()) {
        terminal_.write(run.error().message);
        terminal_.write("\n\n");
        return;
    }
    terminal_.write("\n");
    switch (run.value().stop) {
        case StopReason::kEndOfText:
            break;
        case StopReason::kLength:
            terminal_.write(
                FixedString<80>::formatted("[{} tokens: /n sets how many]\n", run.value().generated));
            break;
        case StopReason::kContext:
            terminal_.write(FixedString<80>::formatted("[the context of {} tokens is full]\n",
                                                       session_.transformer().context()));
            break;
        case StopReason::kInterrupt:
            terminal_.write("[stopped]\n");
            break;
    }
    terminal_.write("\n");
}

}  // namespace bareflow
