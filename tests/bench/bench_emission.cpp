// How quickly code is made: one routine of 2,030 instructions by each assembler into a warm buffer, the model's own
// routines, and beside them what libxsmm takes to dispatch a new kernel and oneDNN to create a primitive.
#include <cstdio>

#include "emitter/asmjit_assembler.h"
#include "emitter/routine_emitter.h"
#include "emitter/routine_maker.h"
#include "tests/bench/emitted.h"
#include "tests/bench/peers.h"
#include "tests/bench/report.h"

namespace bareflow::bench {
namespace {

using namespace x86;

constexpr int kRows = 8, kSteps = 220, kVectorBytes = 32;
constexpr int kInstructions = kRows + kSteps * (1 + kRows) + kRows * 5 + 2;

/// Eight dot products of 220 * 8 floats, without a loop: y (rdx) = W (rdi, row-major) * x (rsi).
template <typename A>
void generate(A& a) {
    const Ymm x = ymm(15);
    const Xmm high = xmm(14);
    for (unsigned row = 0; row < kRows; ++row) a.vxorps(ymm(row), ymm(row), ymm(row));
    for (int step = 0; step < kSteps; ++step) {
        a.vmovups(x, ptr(rsi, step * kVectorBytes));
        for (unsigned row = 0; row < kRows; ++row) {
            a.vfmadd231ps(ymm(row), x, ptr(rdi, (static_cast<int>(row) * kSteps + step) * kVectorBytes));
        }
    }
    for (unsigned row = 0; row < kRows; ++row) {
        const Xmm sum = xmm(row);
        a.vextractf128(high, ymm(row), 1);
        a.vaddps(sum, sum, high);
        a.vhaddps(sum, sum, sum);
        a.vhaddps(sum, sum, sum);
        a.vmovss(ptr(rdx, static_cast<int>(row) * 4), sum);
    }
    a.vzeroupper();
    a.ret();
}

alignas(64) uint8_t buffer[1 << 16];

template <typename A, typename... More>
size_t emit_large(More... more) {
    A a(buffer, more...);
    generate(a);
    if (a.finish() != AssemblerError::kNone) give_up("an assembler failed");
    return a.size();
}

void large_routine(Report& report, const Settings& settings) {
    using Validation = AsmjitAssembler::Validation;
    Contest contest;
    const size_t tiny = contest.add("tiny", [](size_t) { emit_large<TinyAssembler>(); });
    const size_t bare =
        contest.add("asmjit, validation off", [](size_t) { emit_large<AsmjitAssembler>(Validation::kOff); });
    const size_t checked =
        contest.add("asmjit, validation on", [](size_t) { emit_large<AsmjitAssembler>(Validation::kOn); });
    contest.run(settings.rounds, settings.round_ms);
    std::printf(" one routine of %d instructions, %zu bytes\n", kInstructions, emit_large<TinyAssembler>());
    std::vector<Spread> speeds;
    for (size_t i = 0; i < contest.size(); ++i) {
        const Spread ns = contest.ns(i);
        constexpr double kMillion = 1e3;  // instructions a nanosecond, in millions a second
        speeds.push_back({kInstructions / ns.median * kMillion, kInstructions / ns.high * kMillion,
                          kInstructions / ns.low * kMillion});
        std::printf("   %-24s %8.2f us (%.2f-%.2f) %7.1f M instructions/s\n", contest.name(i).c_str(),
                    ns.median / 1e3, ns.low / 1e3, ns.high / 1e3, speeds.back().median);
        report.time(contest.name(i), ns);
    }
    const auto at_most = [&](const char* what, size_t i, double us) {
        const Spread ns = contest.ns(i);
        report.bar(what, {us * 1e3 / ns.median, us * 1e3 / ns.high, us * 1e3 / ns.low}, 1.0);
    };
    report.bar("tiny: M instructions/s", speeds[tiny], 250);
    report.bar("asmjit, validation off: M instructions/s", speeds[bare], 40);
    at_most("tiny: 10 us over the routine's", tiny, 10);
    at_most("asmjit, validation on: 60 us over the routine's", checked, 60);
}

/// Dispatch and creation happen once a shape, so they are timed one by one, each for a new shape.
void others(Report& report, const Settings& settings) {
    std::vector<double> libxsmm, onednn;
    int shape = 0;
    for (unsigned round = 0; round < settings.rounds + 2; ++round) {
        const double began = now_ns();
        if (!libxsmm_dispatches(++shape)) give_up("libxsmm made no kernel");
        const double between = now_ns();
        if (!onednn_creates(shape)) give_up("oneDNN made no primitive");
        if (round < 2) continue;  // to warm up
        libxsmm.push_back((between - began) / 1e3);
        onednn.push_back((now_ns() - between) / 1e3);
    }
    for (const auto& [name, values] :
         {std::pair{"libxsmm dispatch", libxsmm}, {"oneDNN primitive", onednn}}) {
        const Spread us = spread_of(values);
        std::printf("   %-24s %8.2f us (%.2f-%.2f)\n", name, us.median, us.low, us.high);
        report.figure(name, "us", us, Better::kLower);
    }
}

void routines(Report& report, const Settings& settings) {
    const Machine machine = this_machine();
    const RoutineKey base{.operation = Operation::kProject,
                          .numerics = machine.numerics,
                          .isa = machine.isa,
                          .type = ElementType::kF16,
                          .layout = Layout::kPanels16};
    std::vector<RoutineKey> keys(6, base);
    keys[0].n = keys[0].k = 2048;
    keys[1] = keys[0];
    keys[1].m = 64;
    keys[2].operation = Operation::kGateUp;
    keys[2].n = 5632;
    keys[2].k = 2048;
    keys[3] = keys[0];
    keys[3].operation = Operation::kQkv;
    keys[3].kv_n = 256;
    keys[3].head_size = 64;
    keys[4] = {.operation = Operation::kRmsNorm,
               .numerics = base.numerics,
               .isa = base.isa,
               .n = 2048,
               .eps = 1e-5f};
    keys[5] = {.operation = Operation::kAttention,
               .numerics = base.numerics,
               .isa = base.isa,
               .head_size = 64,
               .num_heads = 32,
               .num_kv_heads = 4};
    std::printf(" TinyLlama's routines\n");
    for (const RoutineKey& key : keys) {
        const Plan plan = default_plan(key);
        size_t bytes = 0;
        Contest contest;
        for (RoutineMaker* maker : {&tiny_maker(), &asmjit_maker()}) {
            contest.add(std::string(maker->name()), [&, maker](size_t) {
                const auto made = maker->make(key, plan, buffer);
                if (!made) give_up("a routine could not be emitted");
                bytes = made.value();
            });
        }
        contest.run(settings.rounds, settings.round_ms / 4);
        std::printf("   %-44s %6zu bytes, tiny %6.2f us, asmjit %6.2f us\n",
                    std::string(name_of(key).view()).c_str(), bytes, contest.ns(0).median / 1e3,
                    contest.ns(1).median / 1e3);
        for (size_t i = 0; i < contest.size(); ++i)
            report.time(std::string(name_of(key).view()) + " " + contest.name(i), contest.ns(i));
    }
}

}  // namespace

void bench_emission(Report& report, const Settings& settings) {
    report.section("emission", "microseconds from key to code, warm, one core");
    large_routine(report, settings);
    others(report, settings);
    routines(report, settings);
}

}  // namespace bareflow::bench
