// The machine: how quickly it reads from each level of its memory, and multiplies and adds.
#include <cstdio>
#include <iterator>

#include "tests/bench/emitted.h"
#include "tests/bench/matrices.h"
#include "tests/bench/report.h"

namespace bareflow::bench {

void bench_peaks(Report& report, const Settings& settings) {
    report.section("peaks", "one core: pure loads of a buffer over and over, and multiply-adds in registers");
    const Machine machine = this_machine();
    std::printf(" widest instructions %s, class %s\n", std::string(name_of(machine.isa)).c_str(),
                std::string(name_of(machine.numerics)).c_str());
    const struct {
        const char* level;
        size_t bytes;
    } sizes[] = {{"L1", 16 << 10}, {"L2", 256 << 10}, {"L3", 8 << 20}, {"DRAM", size_t{512} << 20}};
    const Floats memory((size_t{512} << 20) / sizeof(float));
    for (size_t i = 0; i < (size_t{512} << 20) / sizeof(float); i += 1024) memory[i] = 1;
    const PureLoad load(machine.isa, 1), four(machine.isa, 4);
    const PureMultiplyAdd widest(machine.isa, machine.numerics), sse(Isa::kSse2, NumericClass::kMulAdd);
    constexpr size_t kTurns = 10000;

    Contest contest;
    for (const auto& size : sizes) {
        contest.add(size.level, [&](size_t) { load(memory.get(), size.bytes); });
    }
    for (const auto& size : sizes) {
        contest.add(size.level, [&](size_t) { four(memory.get(), size.bytes); });
    }
    const size_t fma = contest.add("widest", [&](size_t) { widest(kTurns); });
    const size_t sse_mul_add = contest.add("SSE2 mul+add", [&](size_t) { sse(kTurns); });
    contest.run(settings.rounds, settings.round_ms);
    for (size_t i = 0; i < fma; ++i) {
        const Spread ns = contest.ns(i);
        const auto& size = sizes[i % std::size(sizes)];
        const int streams = i < std::size(sizes) ? 1 : 4;
        const auto bytes = static_cast<double>(size.bytes);
        std::printf("   read  %-5s %8zu KiB, %d stream%s %7.1f GB/s (%.1f-%.1f)\n", size.level,
                    size.bytes >> 10, streams, streams == 1 ? " " : "s", bytes / ns.median, bytes / ns.high,
                    bytes / ns.low);
        report.figure({{"read", size.level}, {"streams", streams}, {"GB/s", bytes / ns.median}});
    }
    const auto print_flops = [&](const char* name, size_t i, const PureMultiplyAdd& loop) {
        const double flops = loop.flops_a_turn() * kTurns;
        const Spread ns = contest.ns(i);
        std::printf("   flops %-18s %7.1f GFLOP/s (%.1f-%.1f)\n", name, flops / ns.median, flops / ns.high,
                    flops / ns.low);
        report.figure({{"flops", name}, {"GFLOP/s", flops / ns.median}});
    };
    print_flops("widest multiply-add", fma, widest);
    print_flops("SSE2 mul, add", sse_mul_add, sse);
}

}  // namespace bareflow::bench
