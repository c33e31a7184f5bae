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
#include "tests/bench/bench_turns.h"
#include "tests/bench/cores.h"
#include "tests/bench/emitted.h"
#include "tests/bench/report.h"

using namespace bareflow::bench;

namespace {

constexpr struct {
    const char* name;
    void (*run)(Report&, const Settings&);
} kSections[] = {{"peaks", bench_peaks},       {"ladder", bench_ladder},   {"matvec", bench_matvec},
                 {"fused", bench_fused},       {"matmul", bench_matmul},   {"emission", bench_emission},
                 {"profiler", bench_profiler}, {"sampler", bench_sampler}, {"models", bench_models}};

struct Arguments {
    Settings settings;
    std::vector<std::string> sections;
    std::string json, compare, svg, gguf;
    bool turns = false;
};

void declare(CLI::App& app, Arguments& arguments) {
    app.set_version_flag("--version", std::string(bareflow::kVersion));
    std::vector<std::string> names;
    for (const auto& section : kSections) names.emplace_back(section.name);
    Settings& settings = arguments.settings;
    app.add_option("sections,--section", arguments.sections,
                   "peaks, ladder, matvec, fused, matmul, emission, profiler, sampler, models (default: all)")
        ->check(CLI::IsMember(names));
    app.add_option("--model", settings.models,
                   "for the section models: a file, or SHAPE:TYPE as in tinyllama-1.1b:q4_0 (bareflow-import "
                   "--synthetic); default: stories15m and tinyllama-1.1b in every type")
        ->option_text("FILE|SHAPE[:TYPE] ...");
    app.add_option("--rounds", settings.rounds, "rounds in which all contestants take turns")
        ->capture_default_str()
        ->check(CLI::Range(1u, 1000u));
    app.add_option("--round-ms", settings.round_ms, "milliseconds of a contestant in a round")
        ->capture_default_str()
        ->check(CLI::Range(0.1, 1000.0));
    app.add_option("--core", settings.core, "the core to run on")
        ->capture_default_str()
        ->check(CLI::Range(0, 1023));
    app.add_option("--json", arguments.json, "write every figure to this file");
    app.add_option("--compare", arguments.compare,
                   "compare with the --json file of an earlier run; status 1 if something became worse")
        ->check(CLI::ExistingFile);
    app.add_option("--svg", arguments.svg, "draw a roofline plot into this file");
    auto* gguf = app.add_option("--gguf", arguments.gguf,
                                "no figures: write the synthetic --model SHAPE:TYPE as llama.cpp reads it");
    app.add_flag("--turns", arguments.turns,
                 "no figures of its own: time --model as standard input asks (tests/bench/peers.mjs)")
        ->excludes(gguf);
}

nlohmann::json machine_json(const std::string& cpu, const nlohmann::json& sections) {
    return {{"version", std::string(bareflow::kVersion)},
            {"cpu", cpu},
            {"cores", given_cores().size()},
            {"placement", placement_text()},
            {"sections", sections}};
}

void write_json(const std::string& path, const nlohmann::json& all) {
    std::ofstream file(path);
    file << all.dump(2) << '\n';
    if (!file.flush()) give_up("could not write " + path + "; is the folder there, and writable?");
}

int run_for_peers(const Arguments& arguments) {
    const std::vector<std::string>& models = arguments.settings.models;
    if (models.size() != 1 || choices_of(models[0]).size() != 1) {
        std::fputs("bareflow-bench: --gguf and --turns want one --model SHAPE:TYPE\n", stderr);
        return 2;
    }
    const ModelChoice choice = choices_of(models[0])[0];
    arguments.turns ? take_turns(choice) : write_gguf(choice, arguments.gguf);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app(
        "How fast routines and whole models are, beside the machine's limits, hand-written code and other "
        "libraries.\nEvery figure is a median of interleaved rounds, with quartiles; every ratio is within "
        "this run.",
        "bareflow-bench");
    Arguments arguments;
    declare(app, arguments);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : 2;
    }
    const Settings& settings = arguments.settings;
    given_cores();  // before this thread is kept on one
    if (arguments.turns || !arguments.gguf.empty()) return run_for_peers(arguments);
    for (const std::string& model : settings.models) choices_of(model);  // wrong ones are told now
    const std::string cpu(bareflow::cpu_brand(bareflow::HostCpuid()).view());
    std::printf("bareflow-bench %s on %s, %zu cores, %u rounds of %.1f ms\n",
                std::string(bareflow::kVersion).c_str(), cpu.c_str(), given_cores().size(), settings.rounds,
                settings.round_ms);
    if (given_cores().size() > 1) std::printf("%s\n", placement_text().c_str());
    pin_to_core(settings.core);
    Report report;
    const std::vector<std::string>& wanted = arguments.sections;
    for (const auto& section : kSections) {
        const bool chosen =
            wanted.empty() || std::find(wanted.begin(), wanted.end(), section.name) != wanted.end();
        if (chosen) section.run(report, settings);
    }
    const nlohmann::json all = machine_json(cpu, report.finish());
    if (!arguments.json.empty()) write_json(arguments.json, all);
    if (!arguments.svg.empty()) report.roofline().draw(arguments.svg);
    const bool worse = !arguments.compare.empty() && compare_with(arguments.compare, all) > 0;
    return worse ? 1 : 0;
}
