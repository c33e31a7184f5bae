// What the profiler costs: a begin and an end, and with that the share of a token of the embedded model.
#include <cstdio>

#include "arch/host/host_platform.h"
#include "arch/profiled_operators.h"
#include "model/reference.h"
#include "model/tools/std_allocator.h"
#include "tests/bench/emitted.h"
#include "tests/bench/report.h"

namespace bareflow::bench {

void bench_profiler(Report& report, const Settings& settings) {
    report.section("profiler", "one begin and one end, by themselves, among the shapes of a model");
    StdAllocator allocator;
    Profiler timing = Profiler::make(allocator).take(), counting = Profiler::make(allocator).take();
    for (uint32_t token = 0; token <= Profiler::kTimedAtFirst + 1; ++token) counting.pass_begins();
    const ProfiledShape shapes[] = {{Operation::kRmsNorm, {}, 1, 128, 1},
                                    {Operation::kQkv, ElementType::kF16, 1, 128, 128},
                                    {Operation::kAttention, {}, 1, 128, 64},
                                    {Operation::kProject, ElementType::kF16, 1, 128, 128},
                                    {Operation::kGateUp, ElementType::kF16, 1, 384, 128},
                                    {Operation::kProject, ElementType::kF16, 1, 128, 384},
                                    {Operation::kProject, ElementType::kF16, 1, 1024, 128}};
    Contest contest;
    for (Profiler* profiler : {&timing, &counting}) {
        contest.add("begin and end", [&shapes, profiler](size_t i) {
            profiler->matmul_profile_begin(shapes[i % std::size(shapes)]);
            profiler->matmul_profile_end();
        });
    }
    contest.run(settings.rounds, settings.round_ms);
    const Spread timed = contest.ns(0), counted = contest.ns(1);
    constexpr double kCallsAToken = 6 * 7 + 2;  // the embedded model's layers, the last norm and the head
    const double of_a_token =
        kCallsAToken * (timed.median + (Profiler::kTimedOneIn - 1) * counted.median) / Profiler::kTimedOneIn;
    std::printf(
        "   timed %.1f ns (%.1f-%.1f), counted %.1f ns (%.1f-%.1f)\n   the embedded model makes %.0f calls a "
        "token, one "
        "token in %u is timed: %.2f us a token\n",
        timed.median, timed.low, timed.high, counted.median, counted.low, counted.high, kCallsAToken,
        Profiler::kTimedOneIn, of_a_token / 1e3);
    report.time("timed", timed);
    report.time("counted", counted);
}

}  // namespace bareflow::bench
