// y = W x in f32 at every shape of stories15M and TinyLlama: emitted routines beside hand-written AVX2 and others'
// libraries, with the machine's limit measured in the same rounds (a pure load of the same weights, and the FMA peak).
#include <algorithm>
#include <cstdio>

#include "tests/bench/emitted.h"
#include "tests/bench/matrices.h"
#include "tests/bench/peers.h"
#include "tests/bench/report.h"
#include "tests/bench/yardsticks.h"

namespace bareflow::bench {
namespace {

struct Shape {
    size_t n, k;
};
constexpr Shape kShapes[] = {{16, 288},    {64, 64},     {288, 288},   {768, 288},
                             {288, 768},   {32000, 288}, {256, 2048},  {2048, 2048},
                             {5632, 2048}, {2048, 5632}, {32000, 2048}};
/// Larger weights are in no cache even when hot.
constexpr size_t kLargestCache = size_t{24} << 20;
constexpr double kAtTheLimit = 0.9;

/// How close contestant `i` comes to the machine's limit: the best of the loads, or the arithmetic if that takes longer.
/// `limits` are the first contestants: two loads, then the arithmetic.
Spread share_of_limit(const Contest& contest, size_t i) {
    const size_t load = contest.ns(0).median < contest.ns(1).median ? 0 : 1;
    const Spread by_load = contest.ratio(i, load), by_arithmetic = contest.ratio(i, 2);
    return by_load.median > by_arithmetic.median ? by_load : by_arithmetic;
}

void one_shape(Report& report, const Settings& settings, const Machine& machine, const Shape& shape,
               bool cold) {
    Product p(1, shape.n, shape.k);
    const Code routine = emit(projection_key(machine, 1, p.n, p.k));
    const std::vector<Peer> peers = peers_for(p);
    size_t largest = p.weights();
    for (const Peer& peer : peers) largest = std::max(largest, peer.floats);
    ColdWeights cold_weights(cold ? largest : 1);
    const auto weights = [&](const float* own) { return cold ? cold_weights.next() : own; };

    Contest contest;
    const PureLoad one_stream(machine.isa, 1), four_streams(machine.isa, 4);
    const PureMultiplyAdd pure_multiply_add(machine.isa, machine.numerics);
    const size_t bytes = p.weights() * sizeof(float);
    const auto turns =
        static_cast<size_t>(2.0 * static_cast<double>(p.weights()) / pure_multiply_add.flops_a_turn());
    contest.add("limit: load", [&](size_t) { one_stream(weights(p.panels.get()), bytes); });
    contest.add("limit: 4 streams", [&](size_t) { four_streams(weights(p.panels.get()), bytes); });
    contest.add("limit: fma", [&](size_t) { pure_multiply_add(turns); });
    const size_t seed = contest.add(
        "SEED AVX2", [&](size_t) { seed_avx2(p.y.get(), weights(p.by_columns.get()), p.x.get(), p.n, p.k); });
    const size_t rows = contest.add(
        "AVX2, 4 sums", [&](size_t) { rows_avx2(p.y.get(), weights(p.by_rows.get()), p.x.get(), p.n, p.k); });
    const size_t jit = contest.add("emitted", [&](size_t) {
        const ProjectArguments arguments{p.y.get(), weights(p.panels.get()), p.x.get()};
        routine.as<Routine>()(&arguments);
    });
    const size_t first_peer = contest.size();
    for (const Peer& peer : peers) contest.add(peer.name, [&](size_t) { peer.run(weights(peer.weights)); });
    if (!cold) p.require_right(contest, seed);
    contest.run(settings.rounds, settings.round_ms);

    const std::string name = std::to_string(p.n) + "x" + std::to_string(p.k) + (cold ? " cold" : " hot");
    const double flops = 2.0 * static_cast<double>(p.weights());
    std::printf(" %s, %.0f KiB, code %zu bytes\n", name.c_str(), static_cast<double>(p.weights()) * 4 / 1024,
                routine.size());
    for (size_t i = 0; i < contest.size(); ++i) {
        const Spread ns = contest.ns(i), share = share_of_limit(contest, i);
        std::printf("   %-16s %10.0f ns (%.0f-%.0f) %7.1f GFLOP/s %7.1f GB/s %5.0f%% of the limit\n",
                    contest.name(i).c_str(), ns.median, ns.low, ns.high, flops / ns.median,
                    flops * 2 / ns.median, share.median * 100);
        report.time(name + " " + contest.name(i), ns);
        if (i == jit)
            report.roofline().point("matvec f32 " + name, flops, static_cast<double>(bytes), ns.median);
    }
    report.bar(name + ": emitted / SEED AVX2", contest.ratio(jit, seed), 1.5);
    const auto at_limit = [&](size_t i) { return share_of_limit(contest, i).median >= kAtTheLimit; };
    report.bar(name + ": emitted / AVX2, 4 sums" + (at_limit(rows) ? " (at the limit)" : ""),
               contest.ratio(jit, rows), at_limit(rows) ? 0.97 : 1.15);
    size_t best = first_peer;
    for (size_t i = first_peer; i < contest.size(); ++i) {
        if (contest.ns(i).median < contest.ns(best).median) best = i;
    }
    const bool both = at_limit(best) && at_limit(jit);
    report.bar(name + ": emitted / best peer, " + contest.name(best) + (both ? " (both at the limit)" : ""),
               contest.ratio(jit, best), both ? 0.97 : 1.0);
}

}  // namespace

void bench_matvec(Report& report, const Settings& settings) {
    report.section("matvec",
                   "f32, one row, one core; the limit is a pure load of the same weights or the FMA peak");
    std::printf("%s\n", peer_versions().c_str());
    const Machine machine = this_machine();
    for (const Shape& shape : kShapes) {
        const size_t bytes = shape.n * shape.k * sizeof(float);
        if (bytes <= kLargestCache) one_shape(report, settings, machine, shape, false);
        if (shape.n * shape.k >= 288 * 288) one_shape(report, settings, machine, shape, true);
    }
}

}  // namespace bareflow::bench
