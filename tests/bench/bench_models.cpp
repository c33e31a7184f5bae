// Whole models, weights in anonymous huge pages: tokens a second of generation and prompts on one core and on all, beside
// pure loads of the same weights and the peaks of arithmetic, all in turn.
#include "tests/bench/bench_models.h"

#include <cstdio>

#include "tests/bench/cores.h"
#include "tests/bench/emitted.h"
#include "tests/bench/running_model.h"

namespace bareflow::bench {
namespace {

// A round of a model that takes longer than a millisecond a token is as long as a token; all rounds of a contest at most
// so long.
constexpr double kMostSeconds = 60;
constexpr uint32_t kPrompts[] = {64, 512};

SamplingOptions greedy() {
    SamplingOptions sampling;
    sampling.temperature = 0;
    return sampling;
}
/// Temperature and top-p alone: no top-k before them makes the candidates few.
SamplingOptions temperature_and_top_p() {
    SamplingOptions sampling;
    sampling.temperature = 0.8f;
    sampling.top_p = 0.9f;
    sampling.top_k = 0;
    sampling.min_p = 0;
    return sampling;
}
Options on_cores(unsigned count) {
    Options options;
    options.threads = count;
    return options;
}

/// A model on some cores, and these cores for pure loads and arithmetic.
struct Runner {
    Runner(const HugeImage& image, unsigned count, int first)
        : model(image, on_cores(count)), team(count, first) {}
    RunningModel model;  // before the team, which keeps this thread on one core
    CoreTeam team;
    size_t load = 0, four_loads = 0, generation = 0, sampled = 0, fma = 0, dots = 0;  ///< contestants
    size_t prompts[std::size(kPrompts)] = {};
};

/// What limits a model of this type, as the bars of the project say (issue 4).
struct Bars {
    double load, prefill;  ///< shares; 0: none is stated
};
Bars bars_for(const Weights& weights) {
    const bool large = weights.weight_bytes > (uint64_t{256} << 20);
    switch (weights.layers[0].query.type) {
        case ElementType::kF32:
            return {0.90, 0.80};
        case ElementType::kF16:
            return {large ? 0.92 : 0, 0};
        case ElementType::kQ8_0:
            return {large ? 0.92 : 0.65, 0.60};
        case ElementType::kQ4_0:
            return {large ? 0.92 : 0.45, 0.60};
    }
    return {};
}

class ModelBench {
 public:
    ModelBench(Report& report, const Settings& settings, const std::string& name)
        : report_(report), settings_(settings), name_(name), machine_(this_machine()) {}

    void run(const HugeImage& image) {
        const auto all = static_cast<unsigned>(given_cores().size());
        for (unsigned count = 1; count <= all; count += std::max(1u, all - 1)) {
            use_given_cores();  // threads that the model starts may run anywhere
            runners_.push_back(std::make_unique<Runner>(image, count, settings_.core));
        }
        pin_to_core(settings_.core);
        generation();
        prompts();
    }

 private:
    void generation();
    void prompts();
    void tell_generation(const Contest& contest, const Runner& runner);
    void tell_prompts(const Contest& contest, const Runner& runner);
    void speed_of(const std::string& what, Spread ns, double tokens) {
        const Spread rate = speed(tokens * 1e9, ns);
        std::printf("   %-44s %10.2f tok/s (%.2f-%.2f) %10.4f ms/token\n", what.c_str(), rate.median,
                    rate.low, rate.high, ns.median / tokens / 1e6);
        report_.figure(name_ + ", " + what, "tok/s", rate, Better::kHigher);
    }

    Report& report_;
    const Settings& settings_;
    std::string name_;
    Machine machine_;
    std::vector<std::unique_ptr<Runner>> runners_;
};

void ModelBench::generation() {
    const PureLoad one_stream(machine_.isa, 1), four_streams(machine_.isa, 4);
    Contest contest;
    for (const auto& each : runners_) {
        Runner& runner = *each;
        const auto add_load = [&](const PureLoad& load) {
            return contest.add("load", [&](size_t) {
                const ByteSpan weights = runner.model.read_by_a_token();
                runner.team.run([&](unsigned worker, unsigned count) {
                    const size_t share = weights.size() / count;
                    load(weights.data() + worker * share, share);
                });
            });
        };
        runner.load = add_load(one_stream);
        runner.four_loads = add_load(four_streams);
        runner.generation = contest.add("greedy", [&](size_t) { runner.model.next_token(greedy()); });
        runner.sampled =
            contest.add("sampled", [&](size_t) { runner.model.next_token(temperature_and_top_p()); });
    }
    contest.run(settings_.rounds, settings_.round_ms, kMostSeconds);
    for (const auto& runner : runners_) tell_generation(contest, *runner);
    if (runners_.size() == 1) return;
    const Runner &one = *runners_.front(), &all = *runners_.back();
    std::printf("   %s / 1 core, pure load alone: %.2f; %s\n", all.team.name().c_str(),
                contest.ratio(all.load, one.load).median, placement_text().c_str());
    report_.bar(name_ + ": " + all.team.name() + " / 1 core", contest.ratio(all.generation, one.generation),
                0.9 * all.team.count());
}

void ModelBench::tell_generation(const Contest& contest, const Runner& runner) {
    const std::string cores = runner.team.name();
    const auto bytes = static_cast<double>(runner.model.read_by_a_token().size());
    const Spread ns = contest.ns(runner.generation);
    speed_of(cores + ", generation, greedy", ns, 1);
    speed_of(cores + ", generation, temperature, top-p", contest.ns(runner.sampled), 1);
    const bool four = contest.ns(runner.four_loads).median < contest.ns(runner.load).median;
    const size_t best = four ? runner.four_loads : runner.load;
    const Spread share = contest.ratio(runner.generation, best);
    std::printf("   %s: weights at %.1f GB/s, pure load %.1f GB/s\n", cores.c_str(), bytes / ns.median,
                bytes / contest.ns(best).median);
    report_.figure(name_ + ", " + cores + ", share of a pure load", "share", share, Better::kHigher);
    const Bars bars = bars_for(runner.model.weights());
    if (bars.load > 0) report_.bar(name_ + ": " + cores + ", bytes/s over a pure load", share, bars.load);
    report_.bar(name_ + ": " + cores + ", sampled / greedy speed",
                contest.ratio(runner.sampled, runner.generation), 1 / 1.05);
    const TensorView& head = runner.model.weights().lm_head;
    const double operations = runner.model.operations_a_token() + 2.0 * head.rows * head.columns;
    report_.roofline().point(name_ + ", generation, " + cores, operations, bytes, ns.median);
}

void ModelBench::prompts() {
    constexpr size_t kTurns = 10000;
    const PureMultiplyAdd fma(machine_.isa, machine_.numerics);
    const PureIntegerDots dots(machine_);
    Contest contest;
    for (const auto& each : runners_) {
        Runner& runner = *each;
        runner.fma =
            contest.add("fma", [&](size_t) { runner.team.run([&](unsigned, unsigned) { fma(kTurns); }); });
        runner.dots =
            contest.add("dots", [&](size_t) { runner.team.run([&](unsigned, unsigned) { dots(kTurns); }); });
        for (size_t i = 0; i < std::size(kPrompts); ++i) {
            const uint32_t tokens = std::min(kPrompts[i], runner.model.context());
            runner.prompts[i] =
                contest.add("prompt", [&runner, tokens](size_t) { runner.model.prompt(tokens); });
        }
    }
    contest.run(settings_.rounds, settings_.round_ms, kMostSeconds);
    for (const auto& runner : runners_) {
        const bool quantised = is_quantised(runner->model.weights().layers[0].query.type);
        const size_t peak = quantised ? runner->dots : runner->fma;
        const double peak_operations =
            kTurns * runner->team.count() * (quantised ? dots.operations_a_turn() : fma.flops_a_turn());
        if (runner->team.count() > 1) std::printf("   %s\n", placement_text().c_str());
        for (size_t i = 0; i < std::size(kPrompts); ++i) {
            const uint32_t tokens = std::min(kPrompts[i], runner->model.context());
            const std::string what = runner->team.name() + ", prompt of " + std::to_string(tokens);
            const double operations = runner->model.operations_a_token() * tokens;
            speed_of(what, contest.ns(runner->prompts[i]), tokens);
            const Spread share = times(contest.ratio(runner->prompts[i], peak), operations / peak_operations);
            const std::string whose = quantised ? std::string("int8 peak") : std::string("FMA peak");
            std::printf("   %-44s %10.1f%% of the %s\n", "", share.median * 100, whose.c_str());
            report_.figure(name_ + ", " + what + ", share of the " + whose, "share", share, Better::kHigher);
            const Bars bars = bars_for(runner->model.weights());
            if (bars.prefill > 0) report_.bar(name_ + ": " + what + " / " + whose, share, bars.prefill);
            if (tokens == kPrompts[0]) {
                const auto bytes = static_cast<double>(runner->model.read_by_a_token().size());
                report_.roofline().point(name_ + ", " + what, operations, bytes,
                                         contest.ns(runner->prompts[i]).median);
            }
        }
    }
}

}  // namespace

void bench_models(Report& report, const Settings& settings) {
    report.section(
        "models",
        "generation at positions 8 to 71, and prompts without the head, as the host program runs them");
    if (settings.models.empty()) bench_model_ladder(report, settings);
    std::vector<std::string> wanted = settings.models;
    if (wanted.empty()) wanted = {"stories15m", "tinyllama-1.1b"};
    for (const std::string& text : wanted) {
        for (const ModelChoice& choice : choices_of(text)) {
            const std::optional<HugeImage> image = HugeImage::make(choice);
            if (!image) continue;
            std::printf(" %s\n", choice.name.c_str());
            std::fflush(stdout);
            ModelBench(report, settings, choice.name).run(*image);
            bench_cold_start(report, settings, choice.name, *image);
        }
    }
}

}  // namespace bareflow::bench
