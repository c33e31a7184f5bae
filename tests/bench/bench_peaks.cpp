// The machine: how quickly one core and all of them read from each level of memory, multiply and add in floats and in
// bytes; what it costs to have all cores begin and end something together.
#include <cstdio>
#include <iterator>

#include "tests/bench/cores.h"
#include "tests/bench/emitted.h"
#include "tests/bench/matrices.h"
#include "tests/bench/report.h"

namespace bareflow::bench {
namespace {

struct Level {
    const char* name;
    size_t bytes;
    /// Each core reads so many of its own; larger ones, which one memory or cache serves, are shared out.
    bool of_each_core;
    bool drawn;  ///< in the roofline plot
};
constexpr size_t kMiB = size_t{1} << 20;
constexpr Level kLevels[] = {{"L1", 16 << 10, true, true},
                             {"L2", 256 << 10, true, true},
                             {"L2", 768 << 10, true, false},
                             {"L3", 8 * kMiB, false, true},
                             {"L3 or DRAM", 64 * kMiB, false, false},
                             {"DRAM", 2048 * kMiB, false, true}};
constexpr size_t kLargest = 2048 * kMiB;
constexpr size_t kTurns = 10000;

void reads(Report& report, const Settings& settings, const Machine& machine, const CoreTeam& team,
           const Floats& memory) {
    const PureLoad one_stream(machine.isa, 1), four_streams(machine.isa, 4);
    Contest contest;
    for (const Level& level : kLevels) {
        const size_t each = level.of_each_core ? level.bytes : level.bytes / team.count();
        for (const PureLoad* load : {&one_stream, &four_streams}) {
            contest.add(level.name, [&, load, each](size_t) {
                team.run([&](unsigned worker, unsigned) {
                    (*load)(memory.get() + worker * each / sizeof(float), each);
                });
            });
        }
    }
    contest.run(settings.rounds, settings.round_ms);
    for (size_t i = 0; i < contest.size(); ++i) {
        const Level& level = kLevels[i / 2];
        const double bytes = static_cast<double>(level.bytes) * (level.of_each_core ? team.count() : 1);
        const Spread gb = speed(bytes, contest.ns(i));
        const std::string name = team.name() + " read " + std::to_string(level.bytes >> 10) + " KiB, " +
                                 (i % 2 == 0 ? "1 stream" : "4 streams");
        std::printf("   %-44s %-10s %7.1f GB/s (%.1f-%.1f)\n", name.c_str(), level.name, gb.median, gb.low,
                    gb.high);
        report.figure(name, "GB/s", gb, Better::kHigher);
        if (i % 2 == 0 && level.drawn && (team.count() == 1 || level.bytes == kLargest))
            report.roofline().memory(team.name() + ", " + std::to_string(level.bytes >> 10) + " KiB",
                                     gb.median);
    }
}

void arithmetic(Report& report, const Settings& settings, const Machine& machine, const CoreTeam& team) {
    const PureMultiplyAdd widest(machine.isa, machine.numerics), sse(Isa::kSse2, NumericClass::kMulAdd);
    const PureIntegerDots dots(machine);
    Contest contest;
    std::vector<double> operations;
    const auto add = [&](const std::string& name, const auto& loop, double of_a_turn) {
        contest.add(name, [&](size_t) { team.run([&](unsigned, unsigned) { loop(kTurns); }); });
        operations.push_back(of_a_turn * kTurns * team.count());
    };
    add("f32, widest multiply-add", widest, widest.flops_a_turn());
    add("f32, SSE2 mul, add", sse, sse.flops_a_turn());
    add(std::string("int8, ") + dots.name(), dots, dots.operations_a_turn());
    contest.run(settings.rounds, settings.round_ms);
    for (size_t i = 0; i < contest.size(); ++i) {
        const Spread speeds = speed(operations[i], contest.ns(i));
        const std::string name = team.name() + " " + contest.name(i);
        std::printf("   %-55s %7.1f Gop/s (%.1f-%.1f)\n", name.c_str(), speeds.median, speeds.low,
                    speeds.high);
        report.figure(name, "Gop/s", speeds, Better::kHigher);
        if (i != 1) report.roofline().peak(name, speeds.median);
    }
}

void fork_and_join(Report& report, const Settings& settings, const CoreTeam& team) {
    Contest contest;
    contest.add("fork and join", [&](size_t) { team.run([](unsigned, unsigned) {}); });
    contest.run(settings.rounds, settings.round_ms);
    const Spread ns = contest.ns(0);
    std::printf("   %s, fork and join %.0f ns (%.0f-%.0f)\n", team.name().c_str(), ns.median, ns.low,
                ns.high);
    report.time(team.name() + " fork and join", ns);
}

}  // namespace

void bench_peaks(Report& report, const Settings& settings) {
    report.section("peaks", "pure loads of a buffer over and over, arithmetic in registers, fork and join");
    const Machine machine = this_machine();
    std::printf(" widest instructions %s, class %s\n", std::string(name_of(machine.isa)).c_str(),
                std::string(name_of(machine.numerics)).c_str());
    if (available_bytes() < kLargest + kLargest / 2) {
        std::printf("   skipped: needs %zu MiB of memory, %llu are free\n", (kLargest + kLargest / 2) >> 20,
                    0ULL + (available_bytes() >> 20));
        return;
    }
    const Floats memory(kLargest / sizeof(float));
    for (size_t i = 0; i < kLargest / sizeof(float); i += 1024) memory[i] = 1;
    const auto all = static_cast<unsigned>(given_cores().size());
    for (unsigned count = 1; count <= all; count += std::max(1u, all - 1)) {
        const CoreTeam team(count, settings.core);
        std::printf(" %s%s%s\n", team.name().c_str(), count == 1 ? "" : "; ",
                    count == 1 ? "" : placement_text().c_str());
        reads(report, settings, machine, team, memory);
        arithmetic(report, settings, machine, team);
        if (count > 1) fork_and_join(report, settings, team);
    }
    pin_to_core(settings.core);
}

}  // namespace bareflow::bench
