// C = X W^T for a block of a prompt: emitted routines beside AVX2 by hand and others' libraries, weights packed where the
// peer can.
#include <algorithm>
#include <cstdio>

#include "tests/bench/emitted.h"
#include "tests/bench/matrices.h"
#include "tests/bench/peers.h"
#include "tests/bench/report.h"
#include "tests/bench/yardsticks.h"

namespace bareflow::bench {
namespace {

constexpr size_t kLargestCache = size_t{24} << 20;

void one_shape(Report& report, const Settings& settings, const Machine& machine, size_t m, size_t n, size_t k,
               bool cold) {
    Product p(m, n, k);
    const Code routine = emit(projection_key(machine, m, n, k));
    const std::vector<Peer> peers = peers_for(p);
    size_t largest = p.weights();
    for (const Peer& peer : peers) largest = std::max(largest, peer.floats);
    ColdWeights cold_weights(cold ? largest : 1);
    const auto weights = [&](const float* own) { return cold ? cold_weights.next() : own; };

    Contest contest;
    const PureMultiplyAdd pure_multiply_add(machine.isa, machine.numerics);
    const double flops = 2.0 * static_cast<double>(m * n * k);
    const auto turns = static_cast<size_t>(flops / pure_multiply_add.flops_a_turn());
    const size_t peak = contest.add("limit: fma", [&](size_t) { pure_multiply_add(turns); });
    const size_t by_hand = contest.add("AVX2 6x16", [&](size_t) {
        panels_matmul_avx2(p.y.get(), weights(p.panels.get()), p.x.get(), m, n, k);
    });
    const size_t jit = contest.add("emitted", [&](size_t) {
        const ProjectArguments arguments{p.y.get(), weights(p.panels.get()), p.x.get()};
        routine.as<Routine>()(&arguments);
    });
    size_t onednn = 0;
    for (const Peer& peer : peers) {
        const size_t i = contest.add(peer.name, [&](size_t) { peer.run(weights(peer.weights)); });
        if (peer.name.starts_with("oneDNN")) onednn = i;
    }
    if (!cold) p.require_right(contest, by_hand);
    contest.run(settings.rounds, settings.round_ms);

    const std::string name = "M=" + std::to_string(m) + " " + std::to_string(n) + "x" + std::to_string(k) +
                             (cold ? " cold" : " hot");
    std::printf(" %s, code %zu bytes\n", name.c_str(), routine.size());
    for (size_t i = 0; i < contest.size(); ++i) {
        const Spread ns = contest.ns(i), share = contest.ratio(i, peak);
        std::printf("   %-16s %10.0f ns (%.0f-%.0f) %7.1f GFLOP/s %5.0f%% of the peak\n",
                    contest.name(i).c_str(), ns.median, ns.low, ns.high, flops / ns.median,
                    share.median * 100);
        report.time(name + " " + contest.name(i), ns);
        if (i == jit)
            report.roofline().point("matmul f32 " + name, flops,
                                    static_cast<double>(p.weights() * sizeof(float)), ns.median);
    }
    report.bar(name + ": emitted / oneDNN", contest.ratio(jit, onednn), 1.0);
    if (!cold) report.bar(name + ": emitted / FMA peak", contest.ratio(jit, peak), 0.9);
}

}  // namespace

void bench_matmul(Report& report, const Settings& settings) {
    report.section("matmul", "f32, M rows, one core; packed weights");
    const Machine machine = this_machine();
    for (const size_t m : {8, 16, 64}) {
        for (const auto& [n, k] :
             {std::pair<size_t, size_t>{288, 288}, {768, 288}, {288, 768}, {2048, 2048}, {5632, 2048}}) {
            const bool fits = n * k * sizeof(float) <= kLargestCache;
            one_shape(report, settings, machine, m, n, k, !fits || n >= 2048);
            if (n == 2048) one_shape(report, settings, machine, m, n, k, false);
        }
    }
}

}  // namespace bareflow::bench
