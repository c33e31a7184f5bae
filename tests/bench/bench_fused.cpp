// Fused query, key and value with rotation, against three emitted matvecs and a rotation pass.
#include <cstdio>

#include "tests/bench/emitted.h"
#include "tests/bench/matrices.h"
#include "tests/bench/report.h"
#include "tests/bench/yardsticks.h"

namespace bareflow::bench {
namespace {

struct Layer {
    const char* model;
    size_t dim, kv, head, layers;
};
constexpr Layer kLayers[] = {{"dim 32", 32, 32, 8, 1},
                             {"dim 48", 48, 48, 8, 1},
                             {"dim 64, 4 of 8 kv heads", 64, 32, 8, 5},
                             {"bareflow-stories", 128, 64, 16, 6},
                             {"stories15M", 288, 288, 48, 6},
                             {"TinyLlama", 2048, 256, 64, 22}};
constexpr size_t kCallCostShows = 64;

void one_layer(Report& report, const Settings& settings, const Machine& machine, const Layer& layer) {
    const Product query(1, layer.dim, layer.dim), key(1, layer.kv, layer.dim), value(1, layer.kv, layer.dim);
    Floats cos(layer.head / 2), sin(layer.head / 2);
    for (size_t i = 0; i < layer.head / 2; ++i) {
        cos[i] = 0.8f;
        sin[i] = 0.6f;
    }
    const RoutineKey project = projection_key(machine, 1, layer.dim, layer.dim);
    RoutineKey qkv = project;
    qkv.operation = Operation::kQkv;
    qkv.kv_n = static_cast<uint32_t>(layer.kv);
    qkv.head_size = static_cast<uint32_t>(layer.head);
    const Code fused = emit(qkv), of_query = emit(project);
    const Code of_key = emit(projection_key(machine, 1, layer.kv, layer.dim));

    const ProjectArguments q{query.y.get(), query.panels.get(), query.x.get()},
        k{key.y.get(), key.panels.get(), query.x.get()}, v{value.y.get(), value.panels.get(), query.x.get()};
    const QkvArguments all{query.y.get(),      key.y.get(),      value.y.get(),
                           query.panels.get(), key.panels.get(), value.panels.get(),
                           query.x.get(),      cos.get(),        sin.get()};
    Contest contest;
    const size_t one = contest.add("fused, rotated", [&](size_t) { fused.as<Routine>()(&all); });
    const auto three_calls = [&] {
        of_query.as<Routine>()(&q);
        of_key.as<Routine>()(&k);
        of_key.as<Routine>()(&v);
    };
    const size_t three = contest.add("three, rotated after", [&](size_t) {
        three_calls();
        rotate_avx2(query.y.get(), layer.dim, layer.head, cos.get(), sin.get());
        rotate_avx2(key.y.get(), layer.kv, layer.head, cos.get(), sin.get());
    });
    const size_t bare = contest.add("three, not rotated", [&](size_t) { three_calls(); });
    contest.run(settings.rounds, settings.round_ms);

    std::printf(" %s: %zu -> %zu + 2 x %zu\n", layer.model, layer.dim, layer.dim, layer.kv);
    for (size_t i = 0; i < contest.size(); ++i) {
        const Spread ns = contest.ns(i);
        std::printf("   %-22s %10.0f ns (%.0f-%.0f)\n", contest.name(i).c_str(), ns.median, ns.low, ns.high);
        report.time(std::string(layer.model) + " " + contest.name(i), ns);
    }
    const Spread alone = contest.ratio(one, bare);
    // Written once instead of written, read and written: q and k, in every layer.
    const size_t saved = 2 * (layer.dim + layer.kv) * sizeof(float) * layer.layers;
    std::printf(
        "   fused over three without any rotation: %.2f (%.2f-%.2f); temporaries not touched again: %zu "
        "bytes a token\n",
        alone.median, alone.low, alone.high, saved);
    report.bar(std::string(layer.model) + ": fused / three matvecs and a rotation", contest.ratio(one, three),
               layer.dim <= kCallCostShows ? 1.15 : 0.99);
}

}  // namespace

void bench_fused(Report& report, const Settings& settings) {
    report.section("fused", "query, key and value in one routine, f32, hot");
    const Machine machine = this_machine();
    for (const Layer& layer : kLayers) one_layer(report, settings, machine, layer);
}

}  // namespace bareflow::bench
