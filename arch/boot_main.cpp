#include "arch/boot_main.h"

#include "arch/base/line_editor.h"
#include "arch/base/text.h"
#include "arch/base/version.h"
#include "model/chat.h"

namespace bareflow {
namespace {

constexpr int kCtrlC = 0x03;

/// One story on a terminal that shows nothing else.
class StoryWriter final : public TextListener {
 public:
    StoryWriter(Terminal& terminal, RoutineService& routines) : terminal_(terminal), routines_(routines) {}
    void text(std::string_view piece) override { terminal_.write(piece); }
    bool stop_requested() override {
        routines_.between_tokens();
        for (int byte = terminal_.poll(); byte != Terminal::kNone; byte = terminal_.poll()) {
            if (byte == kCtrlC) return true;
        }
        return false;
    }

 private:
    Terminal& terminal_;
    RoutineService& routines_;
};

class Machine final : public ChatMachine {
 public:
    Machine(Platform& platform, RoutineService& routines, Session& session)
        : platform_(platform), routines_(routines), session_(session) {}

    /// ok, or what is wrong with the model's weights.
    Result<void> weights() const { return weights_; }

    Report cpu_report() override {
        return Report::formatted("{}\n{}\n", platform_.cpu_name(), describe(platform_.cpu()).view());
    }
    Report memory_report() override {
        const MemoryUse use = platform_.memory_use();
        Report report;
        auto line = [&](std::string_view what, uint64_t bytes) {
            constexpr double kMiB = 1024 * 1024;
            report.append_format("{:<24}{:>12.2} MiB\n", what, static_cast<double>(bytes) / kMiB);
        };
        line("machine", use.total);
        line("program, without model", use.image);
        line("heap, in use", use.heap_in_use);
        line("heap, peak", use.heap_peak);
        line("heap, reserved", use.heap_reserved);
        return report;
    }
    uint64_t random_seed() override { return platform_.entropy(); }
    void dump_routines(std::string_view key, TextListener& out) override {
        routines_.dump_routines(key, out);
    }
    void report_profile(TextListener& out) override { routines_.report_profile(out); }
    void tune(TextListener& out) override { routines_.tune(out); }
    FileStore* files() override { return platform_.files(); }
    Allocator& allocator() override { return platform_.allocator(); }
    bool idle() override { return check_weights() || routines_.idle(); }
    void between_tokens() override { routines_.between_tokens(); }

 private:
    bool check_weights() {
        const Result<bool> more = session_.check_weights();
        if (more.ok()) return more.value();
        platform_.terminal().print("\nThe model is damaged, and nothing that it writes can be trusted: {}\n",
                                   more.error().message());
        weights_ = more.error();
        return false;
    }

    Platform& platform_;
    RoutineService& routines_;
    Session& session_;
    Result<void> weights_;
};

/// Opens the first candidate that can be used. Its error if there was but one; the last one's otherwise.
Result<void> open_model(Platform& platform, const Options& options, std::span<const ModelImage> candidates,
                        bool chatting, RoutineService& routines, Session& session) {
    Operators* operators = TRY(routines.start(platform, options));
    for (size_t i = 0; i < candidates.size(); ++i) {
        const ModelImage& candidate = candidates[i];
        Result<void> opened = session.open(candidate, *operators, options.context, options.cache_type);
        if (opened.ok()) return {};
        const std::string_view reason = opened.error().message();
        LogRecord(platform.log(), "model_refused")
            .field("source", candidate.kind)
            .field("name", candidate.name)
            .field("reason", reason);
        if (i + 1 == candidates.size()) {
            return Error::make(opened.error().code(), "model {}: {}", candidate.name, reason);
        }
        if (chatting) {
            platform.terminal().print("model {} cannot be used: {}\nTrying {}.\n", candidate.name, reason,
                                      candidates[i + 1].name);
        }
    }
    return Error::make(ErrorCode::kNotFound, "there is no model; give one with -m");
}

/// The first line of the input, without its end; empty where there is none.
Result<std::string_view> first_line(Terminal& terminal, const Buffer<char>& buffer) {
    size_t size = 0;
    for (int byte = terminal.read(); byte != Terminal::kNone && byte != '\n'; byte = terminal.read()) {
        if (size == buffer.size()) {
            return Error::make(ErrorCode::kOutOfRange,
                               "the input's first line is longer than {} bytes; shorten it", buffer.size());
        }
        buffer[size++] = static_cast<char>(byte);
    }
    const std::string_view line(buffer.data(), size);
    return trimmed(line).empty() ? std::string_view() : line.substr(0, line.size() - line.ends_with('\r'));
}

Result<void> write_one_story(Platform& platform, const Options& options, Session& session,
                             RoutineService& routines) {
    Terminal& terminal = platform.terminal();
    std::string_view prompt = options.prompt;
    Buffer<char> input;
    if (!options.has_prompt) {
        input =
            TRY(Buffer<char>::make(platform.allocator(), LineEditor::kMaxLine, "first line of the input"));
        prompt = TRY(first_line(terminal, input));
    }
    StoryWriter writer(terminal, routines);
    TRY(session.generate(prompt, {options.max_tokens, options.sampling, {options.stops, options.stop_count}},
                         writer));
    terminal.write("\n");
    while (TRY(session.check_weights())) continue;
    routines.after_story();
    return {};
}

/// The option's template, else the model's own; the user is told where that is one that nobody here knows.
const ChatTemplate& choose_template(Platform& platform, const Options& options, const Weights& weights) {
    const bool asked = !options.chat_template.empty();
    const ChatTemplate* found =
        asked ? find_chat_template(options.chat_template) : recognise_chat_template(weights.chat_template);
    const std::string_view source = asked ? "option" : found != nullptr ? "model" : "unknown";
    if (found == nullptr) {
        found = find_chat_template(kTemplateNames[0]);
        platform.terminal().write(
            "The model's chat template is none that BareFlow knows: what you type is continued as a text.\n"
            "--chat-template zephyr, llama-2 or chatml says which one it resembles.\n");
    }
    LogRecord(platform.log(), "chat_template").field("name", found->name).field("source", source);
    return *found;
}

Result<void> chat(Platform& platform, const Options& options, Session& session, RoutineService& routines) {
    LineEditor editor = TRY(LineEditor::make(platform.terminal(), platform.allocator()));
    Machine machine(platform, routines, session);
    Conversation conversation(session);
    TRY(conversation.open(platform.allocator(), choose_template(platform, options, session.weights())));
    if (!options.system.empty()) {
        if (const Result<void> set = conversation.set_system(options.system); !set.ok())
            platform.terminal().write(FixedString<300>::formatted("--system: {}\n", set.error().message()));
    }
    Chat(platform.terminal(), editor, session, conversation, options, machine).run();
    return machine.weights();
}

void log_timing(LogSink& log, std::string_view what, const TokenTiming& timing) {
    LogRecord(log, "timing")
        .field("of", what)
        .field("ms", timing.milliseconds())
        .field("tokens", timing.tokens)
        .field("ms_per_token", timing.ms_per_token())
        .field("tok_per_s", timing.tokens_per_second());
}

void log_statistics(Platform& platform, const Session& session, RoutineService& routines,
                    uint64_t embedded_model_bytes) {
    LogSink& log = platform.log();
    const SessionStatistics& s = session.statistics();
    LogRecord(log, "timing").field("of", "load").field("ms", TokenTiming{1, s.load_ns}.milliseconds());
    log_timing(log, "prompt", s.prompt);
    log_timing(log, "generation", s.evaluation);
    LogRecord(log, "stories")
        .field("count", s.runs)
        .field("generated", s.generated)
        .field("start_to_first_token_ms", TokenTiming{1, s.start_to_first_token_ns}.milliseconds());
    const MemoryUse use = platform.memory_use();
    LogRecord(log, "memory_use")
        .field("heap_peak", use.heap_peak)
        .field("heap_in_use", use.heap_in_use)
        .field("heap_reserved", use.heap_reserved);
    routines.log_statistics();
    LogRecord(log, "size").field("kernel", use.image).field("image", use.image + embedded_model_bytes);
}

uint64_t embedded_bytes(std::span<const ModelImage> candidates) {
    for (const ModelImage& candidate : candidates) {
        if (candidate.kind == "embedded") return candidate.image.size();
    }
    return 0;
}

Result<void> run(RoutineService& routines, Platform& platform, const Options& options,
                 std::span<const ModelImage> candidates, uint64_t start_ns) {
    const bool chatting = !options.has_prompt && platform.terminal().interactive();
    LogRecord(platform.log(), "bareflow")
        .field("version", kVersion)
        .field("platform", platform.name())
        .field("stage", name_of(platform.stage()))
        .field("mode", chatting ? "chat" : "once")
        .field("cpu", platform.cpu_name());
    Session session(platform.allocator(), platform.log(), platform.clock(), start_ns);
    TRY(open_model(platform, options, candidates, chatting, routines, session));
    Options settings = options;
    if (const Result<void> set = settings.set_defaults(session.weights().defaults); !set.ok())
        LogRecord(platform.log(), "model_defaults").field("reason", set.error().message());
    routines.prepare(session);
    session.seed(settings.sampling.random_seed ? platform.entropy() : settings.sampling.seed);
    Result<void> done = chatting ? chat(platform, settings, session, routines)
                                 : write_one_story(platform, settings, session, routines);
    routines.finish(done.ok());
    if (options.profile) {
        StoryWriter writer(platform.terminal(), routines);
        routines.report_profile(writer);
    }
    log_statistics(platform, session, routines, embedded_bytes(candidates));
    return done;
}

}  // namespace

Result<void> boot_with(RoutineService& routines, Platform& platform, const Options& options,
                       std::span<const ModelImage> candidates) {
    Result<void> done = run(routines, platform, options, candidates, platform.clock().now_ns());
    if (!done.ok()) LogRecord(platform.log(), "error").field("what", done.error().message());
    return done;
}

}  // namespace bareflow
