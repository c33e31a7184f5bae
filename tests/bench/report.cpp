#include "tests/bench/report.h"

#include <cstdio>

namespace bareflow::bench {

void Report::section(const std::string& name, const std::string& explanation) {
    section_ = name;
    all_[name] =
        nlohmann::json::object({{"figures", nlohmann::json::array()}, {"bars", nlohmann::json::array()}});
    std::printf("\n== %s: %s\n", name.c_str(), explanation.c_str());
    std::fflush(stdout);
}

void Report::figure(const std::string& name, const std::string& unit, Spread value, Better better) {
    all_[section_]["figures"].push_back({{"name", name},
                                         {"unit", unit},
                                         {"median", value.median},
                                         {"low", value.low},
                                         {"high", value.high},
                                         {"better", better == Better::kLower ? "lower" : "higher"}});
}

void Report::bar(const std::string& what, Spread measured, double wanted) {
    const bool reached = measured.median >= wanted;
    const bool within_noise = !reached && measured.high >= wanted;
    ++bars_;
    std::printf("   %-6s %-58s %6.2f (%.2f-%.2f), bar %.2f\n",
                reached        ? "ok"
                : within_noise ? "noise"
                               : "MISSED",
                what.c_str(), measured.median, measured.low, measured.high, wanted);
    std::fflush(stdout);
    if (!reached)
        missed_.push_back(section_ + ": " + what + (within_noise ? " (its upper quartile reaches it)" : ""));
    all_[section_]["bars"].push_back({{"what", what},
                                      {"median", measured.median},
                                      {"low", measured.low},
                                      {"high", measured.high},
                                      {"bar", wanted},
                                      {"reached", reached}});
}

const nlohmann::json& Report::finish() {
    std::printf("\n%zu of %zu bars reached\n", bars_ - missed_.size(), bars_);
    for (const std::string& each : missed_) std::printf("  missed: %s\n", each.c_str());
    return all_;
}

}  // namespace bareflow::bench
