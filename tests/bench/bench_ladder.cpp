// SEED.md's ladder: its own algorithms from scalar to SSE2 to AVX2, the emitted routine on top, the well-made forms beside.
#include <cstdio>

#include "tests/bench/emitted.h"
#include "tests/bench/matrices.h"
#include "tests/bench/report.h"
#include "tests/bench/yardsticks.h"

namespace bareflow::bench {
namespace {

void rungs(Report& report, const Settings& settings, const Machine& machine, const char* level, size_t n,
           size_t k) {
    const Product p(1, n, k);
    const Code routine = emit(projection_key(machine, 1, n, k));
    const ProjectArguments arguments{p.y.get(), p.panels.get(), p.x.get()};
    Contest contest;
    const auto add = [&](const char* name, Matvec matvec, const Floats& w) {
        return contest.add(name,
                           [&p, &w, matvec](size_t) { matvec(p.y.get(), w.get(), p.x.get(), p.n, p.k); });
    };
    const size_t scalar = add("SEED scalar", seed_scalar, p.by_columns),
                 sse2 = add("SEED SSE2", seed_sse2, p.by_columns),
                 avx2 = add("SEED AVX2", seed_avx2, p.by_columns);
    const size_t jit = contest.add("emitted", [&](size_t) { routine.as<Routine>()(&arguments); });
    add("scalar, 4 sums", rows_scalar, p.by_rows);
    add("SSE2, 4 sums", rows_sse2, p.by_rows);
    add("AVX2, 4 sums", rows_avx2, p.by_rows);
    contest.run(settings.rounds, settings.round_ms);

    const std::string shape = std::to_string(n) + "x" + std::to_string(k);
    std::printf(" %s, %zu KiB: %s\n", shape.c_str(), n * k * sizeof(float) / 1024, level);
    for (size_t i = 0; i < contest.size(); ++i) {
        const Spread ns = contest.ns(i);
        std::printf("   %-16s %10.0f ns (%.0f-%.0f) %7.1f GFLOP/s %6.1fx the scalar\n",
                    contest.name(i).c_str(), ns.median, ns.low, ns.high,
                    2.0 * static_cast<double>(n * k) / ns.median, contest.ratio(i, scalar).median);
        report.time(shape + " " + contest.name(i), ns);
    }
    if (std::string(level) == "L1") {
        report.bar(shape + ": SEED's SSE2 / scalar", contest.ratio(sse2, scalar), 2.5);
        report.bar(shape + ": SEED's AVX2 / SSE2", contest.ratio(avx2, sse2), 2.0);
        report.bar(shape + ": emitted / SEED's AVX2", contest.ratio(jit, avx2), 1.5);
    } else {
        report.bar(shape + ": emitted / SEED's scalar", contest.ratio(jit, scalar), 12.0);
    }
}

}  // namespace

void bench_ladder(Report& report, const Settings& settings) {
    report.section("ladder", "f32 matvec by SEED.md's own algorithms, rung by rung, and by well-made ones");
    const Machine machine = this_machine();
    rungs(report, settings, machine, "L1", 64, 64);
    rungs(report, settings, machine, "L1", 32, 128);
    rungs(report, settings, machine, "L2", 288, 288);
    rungs(report, settings, machine, "L2", 128, 384);
}

}  // namespace bareflow::bench
