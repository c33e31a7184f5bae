// bareflow-bench: emitted routines against the machine's limits, hand-written code and others' libraries, as ratios within
// one run. emitter/README.md has the results; issue bars are printed beside the figures.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "arch/base/version.h"
#include "arch/host/host_platform.h"
#include "tests/bench/emitted.h"
#include "tests/bench/report.h"

using namespace bareflow::bench;

int main(int argc, char** argv) {
    const struct {
        const char* name;
        void (*run)(Report&, const Settings&);
    } sections[] = {{"peaks", bench_peaks},       {"ladder", bench_ladder},  {"matvec", bench_matvec},
                    {"fused", bench_fused},       {"matmul", bench_matmul},  {"emission", bench_emission},
                    {"profiler", bench_profiler}, {"sampler", bench_sampler}};
    CLI::App app(
        "How fast emitted routines are, beside the machine's limits, hand-written code and other libraries.\n"
        "Every figure is a median of interleaved rounds, with quartiles; every ratio is within this run.",
        "bareflow-bench");
    app.set_version_flag("--version", std::string(bareflow::kVersion));
    std::vector<std::string> names, wanted;
    for (const auto& section : sections) names.emplace_back(section.name);
    Settings settings;
    std::string json;
    int core = 0;
    app.add_option("sections", wanted,
                   "peaks, ladder, matvec, fused, matmul, emission, profiler, sampler (default: all)")
        ->check(CLI::IsMember(names));
    app.add_option("--rounds", settings.rounds, "rounds in which all contestants take turns")
        ->capture_default_str()
        ->check(CLI::Range(1u, 1000u));
    app.add_option("--round-ms", settings.round_ms, "milliseconds of a contestant in a round")
        ->capture_default_str()
        ->check(CLI::Range(0.1, 1000.0));
    app.add_option("--core", core, "the core to run on")->capture_default_str()->check(CLI::Range(0, 1023));
    app.add_option("--json", json, "write every figure to this file");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : 2;
    }
    pin_to_core(core);
    std::printf("bareflow-bench %s on %s, one core, %u rounds of %.1f ms\n",
                std::string(bareflow::kVersion).c_str(),
                std::string(bareflow::cpu_brand(bareflow::HostCpuid()).view()).c_str(), settings.rounds,
                settings.round_ms);
    Report report;
    for (const auto& section : sections) {
        const bool chosen =
            wanted.empty() || std::find(wanted.begin(), wanted.end(), section.name) != wanted.end();
        if (chosen) section.run(report, settings);
    }
    const nlohmann::json& all = report.finish();
    if (!json.empty()) {
        std::ofstream file(json);
        file << all.dump(2) << '\n';
        if (!file.flush()) give_up("could not write " + json + "; is the folder there, and writable?");
    }
    return 0;
}
