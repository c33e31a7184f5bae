// What a benchmark says: tables on stdout, the same as JSON, and which of the project's bars were reached.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/bench/roofline.h"
#include "tests/bench/stopwatch.h"

namespace bareflow::bench {

struct Settings {
    unsigned rounds = 15;
    double round_ms = 3;
    int core = 0;                       ///< what runs on one core runs on this one
    std::vector<std::string> models{};  ///< of the section models; empty: its own choice
};

/// What of a figure is good. Compared with an earlier run, the other is a loss.
enum class Better { kLower, kHigher };

class Report {
 public:
    /// A heading with a line of explanation.
    void section(const std::string& name, const std::string& explanation);
    /// One measured figure of the section, kept for --json and --compare: its name is unlike all others of the section.
    void figure(const std::string& name, const std::string& unit, Spread value, Better better);
    /// The same, of a time.
    void time(const std::string& name, Spread ns) { figure(name, "ns", ns, Better::kLower); }
    /// A bar: `what` should be at least `wanted`. Reached if the median is; where only the upper quartile is, that is
    /// said.
    void bar(const std::string& what, Spread measured, double wanted);
    /// The machine's limits, and what was measured under them.
    Roofline& roofline() { return roofline_; }
    /// Prints how many bars were reached and which were not; the JSON of everything.
    const nlohmann::json& finish();

 private:
    nlohmann::json all_ = nlohmann::json::object();
    std::string section_;
    std::vector<std::string> missed_;
    size_t bars_ = 0;
    Roofline roofline_;
};

/// Prints old, new and their ratio for every figure that both runs have; how many became worse by more than their
/// intervals. `older` is what --json wrote; exits if it is something else.
size_t compare_with(const std::string& older, const nlohmann::json& now);

// The sections, in the order in which they run.
void bench_peaks(Report& report, const Settings& settings);
void bench_ladder(Report& report, const Settings& settings);
void bench_matvec(Report& report, const Settings& settings);
void bench_fused(Report& report, const Settings& settings);
void bench_matmul(Report& report, const Settings& settings);
void bench_emission(Report& report, const Settings& settings);
void bench_profiler(Report& report, const Settings& settings);
void bench_models(Report& report, const Settings& settings);
void bench_sampler(Report& report, const Settings& settings);

}  // namespace bareflow::bench
