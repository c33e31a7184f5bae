#include "tests/bench/stopwatch.h"

#include <sched.h>

#include <algorithm>
#include <chrono>

namespace bareflow::bench {

Spread spread_of(std::vector<double> values) {
    if (values.empty()) return {};
    std::sort(values.begin(), values.end());
    // Between two values, where a quartile lies between them.
    const auto at = [&](size_t quarter) {
        const double place = static_cast<double>((values.size() - 1) * quarter) / 4;
        const auto below = static_cast<size_t>(place);
        const size_t above = std::min(below + 1, values.size() - 1);
        return values[below] + (values[above] - values[below]) * (place - static_cast<double>(below));
    };
    return {at(2), at(1), at(3)};
}

double now_ns() {
    using namespace std::chrono;
    return duration<double, std::nano>(steady_clock::now().time_since_epoch()).count();
}

void pin_to_core(int core) {
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET(core, &cores);
    sched_setaffinity(0, sizeof cores, &cores);  // not allowed: the figures are noisier, no more
    constexpr double kAwakeNs = 100e6;
    for (const double end = now_ns() + kAwakeNs; now_ns() < end;) {
    }
}

size_t Contest::add(std::string name, std::function<void(size_t)> run) {
    contestants_.push_back({std::move(name), std::move(run)});
    return contestants_.size() - 1;
}

double Contest::time(Contestant& contestant) {
    // Longer than it takes to bring any cache back.
    constexpr double kLongNs = 50e6;
    if (contestant.last_ns < kLongNs) contestant.run(contestant.next++);
    const double began = now_ns();
    for (size_t i = 0; i < contestant.calls; ++i) contestant.run(contestant.next++);
    contestant.last_ns = (now_ns() - began) / static_cast<double>(contestant.calls);
    return contestant.last_ns;
}

void Contest::run(unsigned rounds, double round_ms, double most_s) {
    for (Contestant& each : contestants_) {
        const double began = now_ns();
        each.run(each.next++);
        each.last_ns = now_ns() - began;
        // Doubled until a round is long enough to be measured, then set to its length.
        const double round_ns = round_ms * 1e6;
        double total = each.last_ns < round_ns ? time(each) : each.last_ns;
        while (total < round_ns / 4) {
            each.calls *= 2;
            total = time(each) * static_cast<double>(each.calls);
        }
        const double one = total / static_cast<double>(each.calls);
        each.calls = std::max<size_t>(1, static_cast<size_t>(round_ns / one));
    }
    const double began = now_ns();
    for (unsigned round = 0; round < rounds; ++round) {
        if (round >= kFewestRounds && now_ns() - began > most_s * 1e9) break;
        for (Contestant& each : contestants_) each.ns.push_back(time(each));
    }
}

Spread Contest::ratio(size_t a, size_t b) const {
    std::vector<double> ratios;
    for (size_t i = 0; i < contestants_[a].ns.size(); ++i) {
        ratios.push_back(contestants_[b].ns[i] / contestants_[a].ns[i]);
    }
    return spread_of(std::move(ratios));
}

}  // namespace bareflow::bench
