// Cold start: what stands between a model and its first token is the making of its routines, their checks included.
#include <cstdio>

#include "emitter/routine_maker.h"
#include "tests/bench/bench_models.h"
#include "tests/bench/emitted.h"
#include "tests/bench/running_model.h"

namespace bareflow::bench {
namespace {

/// Blocks of all sizes, and tokens: everything that a model wants routines for.
void touch_everything(RunningModel& model) {
    SamplingOptions greedy;
    greedy.temperature = 0;
    for (const uint32_t tokens : {Transformer::kBlock, Transformer::kSmallBlock}) model.prompt(tokens);
    model.next_token(greedy);
}

struct Installed {
    RoutineKey key;
    Plan plan;
};

}  // namespace

void bench_cold_start(Report& report, const Settings& settings, const std::string& name,
                      const HugeImage& image) {
    constexpr unsigned kStarts = 7;
    Options options;
    options.threads = 1;
    std::vector<Installed> made;
    uint64_t code_bytes = 0;
    for (const AssemblerChoice assembler : {AssemblerChoice::kTiny, AssemblerChoice::kAsmjit}) {
        options.assembler = assembler;
        std::vector<double> extra_ns;
        for (unsigned start = 0; start < kStarts; ++start) {
            RunningModel model(image, options, {}, RunningModel::Start::kCold);
            const double began = now_ns();
            touch_everything(model);
            const double between = now_ns();
            touch_everything(model);
            extra_ns.push_back(std::max(0.0, 2 * between - began - now_ns()));
            if (model.routines() == nullptr) return;  // nothing is emitted on this machine
            made.clear();
            code_bytes = model.routines()->counts().code_bytes;
            for (const RoutineCache::Entry& entry : model.routines()->entries())
                if (entry.state != RoutineCache::Entry::State::kEmpty)
                    made.push_back({entry.key, entry.plan});
        }
        const Spread ms = times(spread_of(extra_ns), 1e-6);
        const char* who = assembler == AssemblerChoice::kTiny ? "tiny" : "asmjit";
        std::printf("   %-44s %10.2f ms (%.2f-%.2f)\n",
                    (std::string("first run over second, ") + who).c_str(), ms.median, ms.low, ms.high);
        report.figure(name + ", cold start, " + who, "ms", ms, Better::kLower);
    }
    static uint8_t room[1 << 16];
    Contest contest;
    for (RoutineMaker* maker : {&tiny_maker(), &asmjit_maker()}) {
        contest.add(std::string(maker->name()), [&made, maker](size_t) {
            for (const Installed& each : made)
                if (!maker->make(each.key, each.plan, room)) give_up("a routine could not be emitted");
        });
    }
    contest.run(settings.rounds, settings.round_ms);
    for (size_t i = 0; i < contest.size(); ++i) {
        const Spread us = times(contest.ns(i), 1e-3);
        std::printf("   %-44s %10.1f us (%.1f-%.1f), %zu routines, %llu bytes\n",
                    ("emitting all of them, " + contest.name(i)).c_str(), us.median, us.low, us.high,
                    made.size(), 0ULL + code_bytes);
        report.figure(name + ", emitting all routines, " + contest.name(i), "us", us, Better::kLower);
    }
}

}  // namespace bareflow::bench
