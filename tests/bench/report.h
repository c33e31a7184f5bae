// What a benchmark says: tables on stdout, the same as JSON, and which of the project's bars were reached.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "tests/bench/stopwatch.h"

namespace bareflow::bench {

struct Settings {
    unsigned rounds = 15;
    double round_ms = 3;
};

class Report {
 public:
    /// A heading with a line of explanation.
    void section(const std::string& name, const std::string& explanation);
    /// One measured figure of the section: {"what": …} and so on; kept for --json.
    void figure(nlohmann::json figure);
    /// A bar: `what` should be at least `wanted`. Reached if the median is; where only the upper quartile is, that is
    /// said.
    void bar(const std::string& what, Spread measured, double wanted);
    /// Prints how many bars were reached and which were not; the JSON of everything.
    const nlohmann::json& finish();

 private:
    nlohmann::json all_ = nlohmann::json::object();
    std::string section_;
    std::vector<std::string> missed_;
    size_t bars_ = 0;
};

// The sections, in the order in which they run.
void bench_peaks(Report& report, const Settings& settings);
void bench_ladder(Report& report, const Settings& settings);
void bench_matvec(Report& report, const Settings& settings);
void bench_fused(Report& report, const Settings& settings);
void bench_matmul(Report& report, const Settings& settings);
void bench_emission(Report& report, const Settings& settings);
void bench_profiler(Report& report, const Settings& settings);
void bench_sampler(Report& report, const Settings& settings);

}  // namespace bareflow::bench
