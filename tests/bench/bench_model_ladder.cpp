// SEED.md's ladder from end to end: milliseconds a token, stories15M's shape, one core, each rung as the host's options
// give it.
#include <cstdio>
#include <deque>

#include "emitter/routine_emitter.h"
#include "tests/bench/bench_models.h"
#include "tests/bench/emitted.h"
#include "tests/bench/running_model.h"
#include "tests/bench/unfused.h"

namespace bareflow::bench {
namespace {

constexpr const char* kShape = "stories15m";

struct Rung {
    std::string name;
    ElementType type;
    IsaChoice isa;
    bool fused;
};
std::vector<Rung> rungs_on(const Machine& machine) {
    using enum ElementType;
    using enum IsaChoice;
    std::vector<Rung> rungs{{"scalar (--jit off)", kF32, kScalar, true},
                            {"SSE2, one product at a time (--isa sse2)", kF32, kSse2, false}};
    if (runs_on(machine.cpu, Isa::kAvx2, machine.numerics))
        rungs.push_back({"AVX2, one product at a time (--isa avx2)", kF32, kAvx2, false});
    if (machine.isa == Isa::kAvx512) rungs.push_back({"AVX-512, one product at a time", kF32, kAuto, false});
    rungs.push_back({"fused", kF32, kAuto, true});
    rungs.push_back({"f16", kF16, kAuto, true});
    rungs.push_back({"Q8_0", kQ8_0, kAuto, true});
    rungs.push_back({"Q4_0", kQ4_0, kAuto, true});
    return rungs;
}

}  // namespace

void bench_model_ladder(Report& report, const Settings& settings) {
    const std::vector<Rung> rungs = rungs_on(this_machine());
    std::vector<std::optional<HugeImage>> images;
    for (const ElementType type : kElementTypes) {
        images.push_back(
            HugeImage::make({std::string(kShape) + " " + std::string(name_of(type)), {}, kShape, type}));
        if (!images.back()) return;
    }
    SamplingOptions greedy;
    greedy.temperature = 0;
    std::deque<RunningModel> models;
    std::deque<Unfused> unfused;
    Contest contest;
    for (const Rung& rung : rungs) {
        Options options;
        options.threads = 1;
        options.isa = rung.isa;
        options.jit = rung.isa != IsaChoice::kScalar;
        RunningModel::Wrap wrap;
        if (!rung.fused)
            wrap = [&](Operators& inner) { return static_cast<Operators*>(&unfused.emplace_back(inner)); };
        RunningModel& model = models.emplace_back(*images[static_cast<size_t>(rung.type)], options, wrap);
        contest.add(rung.name, [&model, greedy](size_t) { model.next_token(greedy); });
    }
    contest.run(settings.rounds, settings.round_ms);
    std::printf(" %s, 1 core, generation\n", kShape);
    for (size_t i = 0; i < contest.size(); ++i) {
        const Spread ms = times(contest.ns(i), 1e-6);
        std::printf("   %-44s %9.4f ms/token (%.4f-%.4f) %7.2fx the one before, %7.1fx the scalar\n",
                    contest.name(i).c_str(), ms.median, ms.low, ms.high,
                    i == 0 ? 1.0 : contest.ratio(i, i - 1).median, contest.ratio(i, 0).median);
        report.figure("ladder, " + contest.name(i), "ms/token", ms, Better::kLower);
    }
}

}  // namespace bareflow::bench
