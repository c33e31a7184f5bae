#include "arch/boot_main.h"

#include "arch/base/line_editor.h"
#include "arch/base/text.h"
#include "arch/base/version.h"
#include "arch/profile_report.h"
#include "arch/routine_dump.h"
#include "arch/routine_tuning.h"
#include "arch/snapshot_keeper.h"
#include "model/chat.h"

namespace bareflow {
namespace {

constexpr int kCtrlC = 0x03;

/// One story on a terminal that shows nothing else.
class StoryWriter final : public TextListener {
 public:
    StoryWriter(Terminal& terminal, RoutineTuning& tuning) : terminal_(terminal), tuning_(tuning) {}
    void text(std::string_view piece) override { terminal_.write(piece); }
    bool stop_requested() override {
        tuning_.between_tokens();
        for (int byte = terminal_.poll(); byte != Terminal::kNone; byte = terminal_.poll()) {
            if (byte == kCtrlC) return true;
        }
        return false;
    }

 private:
    Terminal& terminal_;
    RoutineTuning& tuning_;
};

class Machine final : public ChatMachine {
 public:
    Machine(Platform& platform, const RoutineEngine& engine, RoutineTuning& tuning)
        : platform_(platform), engine_(engine), tuning_(tuning) {}

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
        bareflow::dump_routines(engine_.cache(), key, out);
    }
    void report_profile(TextListener& out) override { bareflow::report_profile(*engine_.profiler(), out); }
    void tune(TextListener& out) override { tuning_.run_now(out); }
    bool idle() override { return tuning_.idle(); }
    void between_tokens() override { tuning_.between_tokens(); }

 private:
    Platform& platform_;
    const RoutineEngine& engine_;
    RoutineTuning& tuning_;
};

/// Opens the first candidate that can be used. Its error if there was but one; the last one's otherwise.
Result<void> open_model(Platform& platform, const Options& options, std::span<const ModelImage> candidates,
                        bool chatting, RoutineEngine& engine, Session& session) {
    Operators* operators = TRY(engine.start(platform, options));
    for (size_t i = 0; i < candidates.size(); ++i) {
        const ModelImage& candidate = candidates[i];
        Result<void> opened = session.open(candidate, *operators, options.context, options.cache_type);
        if (opened.ok()) return {};
        const std::string_view reason = opened.error().message;
        LogRecord(platform.log(), "model_refused")
            .field("source", candidate.kind)
            .field("name", candidate.name)
            .field("reason", reason);
        if (i + 1 == candidates.size()) {
            return Error::make(opened.error().code, "model {}: {}", candidate.name, reason);
        }
        if (chatting) {
            platform.terminal().write(FixedString<400>::formatted(
                "model {} cannot be used: {}\nTrying {}.\n", candidate.name, reason, candidates[i + 1].name));
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
                             RoutineTuning& tuning) {
    Terminal& terminal = platform.terminal();
    std::string_view prompt = options.prompt;
    Buffer<char> input;
    if (!options.has_prompt) {
        input =
            TRY(Buffer<char>::make(platform.allocator(), LineEditor::kMaxLine, "first line of the input"));
        prompt = TRY(first_line(terminal, input));
    }
    StoryWriter writer(terminal, tuning);
    TRY(session.generate(prompt, options.max_tokens, options.sampling, writer));
    terminal.write("\n");
    tuning.after_story();
    return {};
}

Result<void> chat(Platform& platform, const Options& options, const RoutineEngine& engine, Session& session,
                  RoutineTuning& tuning) {
    LineEditor editor = TRY(LineEditor::make(platform.terminal(), platform.allocator()));
    Machine machine(platform, engine, tuning);
    Chat(platform.terminal(), editor, session, options, machine).run();
    return {};
}

void log_timing(LogSink& log, std::string_view what, const TokenTiming& timing) {
    LogRecord(log, "timing")
        .field("of", what)
        .field("ms", timing.milliseconds())
        .field("tokens", timing.tokens)
        .field("ms_per_token", timing.ms_per_token())
        .field("tok_per_s", timing.tokens_per_second());
}

void log_statistics(Platform& platform, const Session& session, const RoutineEngine& engine,
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
    const RoutineCache::Counts counts =
        engine.cache() != nullptr ? engine.cache()->counts() : RoutineCache::Counts{};
    LogRecord(log, "routines")
        .field("compiled", counts.compiled)
        .field("restored", counts.restored)
        .field("rejected", counts.rejected)
        .field("slower", counts.slower)
        .field("evicted", counts.evicted)
        .field("code_bytes", counts.code_bytes);
    if (engine.profiler() != nullptr) log_profile(*engine.profiler(), log);
    LogRecord(log, "size").field("kernel", use.image).field("image", use.image + embedded_model_bytes);
}

uint64_t embedded_bytes(std::span<const ModelImage> candidates) {
    for (const ModelImage& candidate : candidates) {
        if (candidate.kind == "embedded") return candidate.image.size();
    }
    return 0;
}

Result<void> run(Platform& platform, const Options& options, std::span<const ModelImage> candidates,
                 uint64_t start_ns) {
    const bool chatting = !options.has_prompt && platform.terminal().interactive();
    LogRecord(platform.log(), "bareflow")
        .field("version", kVersion)
        .field("platform", platform.name())
        .field("mode", chatting ? "chat" : "once")
        .field("cpu", platform.cpu_name());
    RoutineEngine engine;  // outlives the session that computes with it
    Session session(platform.allocator(), platform.log(), platform.clock(), start_ns);
    TRY(open_model(platform, options, candidates, chatting, engine, session));
    SnapshotKeeper keeper(platform, engine, session);
    keeper.restore();
    engine.prepare(session);
    session.seed(options.sampling.random_seed ? platform.entropy() : options.sampling.seed);
    RoutineTuning tuning(platform, engine, session, options);
    Result<void> done = chatting ? chat(platform, options, engine, session, tuning)
                                 : write_one_story(platform, options, session, tuning);
    tuning.log_summary();
    keeper.finish(done.ok());
    if (options.profile) {
        StoryWriter writer(platform.terminal(), tuning);
        report_profile(*engine.profiler(), writer);
    }
    log_statistics(platform, session, engine, embedded_bytes(candidates));
    return done;
}

}  // namespace

Result<void> boot_main(Platform& platform, const Options& options, std::span<const ModelImage> candidates) {
    Result<void> done = run(platform, options, candidates, platform.clock().now_ns());
    if (!done.ok()) LogRecord(platform.log(), "error").field("what", done.error().message.view());
    return done;
}

}  // namespace bareflow
