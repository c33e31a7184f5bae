#include "tests/bench/cores.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <thread>

#include "tests/bench/emitted.h"
#include "tests/bench/stopwatch.h"

namespace bareflow::bench {
namespace {

void stay_on(int core) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    sched_setaffinity(0, sizeof one, &one);
}

struct alignas(128) Ball {
    std::atomic<uint32_t> number{0};
};
constexpr uint32_t kThrows = 500, kBatches = 40;

/// Waits for the number, then answers with the next one.
void answer(Ball& ball) {
    for (uint32_t wanted = 1; wanted < 2 * kThrows * kBatches; wanted += 2) {
        while (ball.number.load(std::memory_order_acquire) != wanted) {
        }
        ball.number.store(wanted + 1, std::memory_order_release);
    }
}

double there_and_back(Ball& ball) {
    std::vector<double> ns;
    uint32_t number = 0;
    for (uint32_t batch = 0; batch < kBatches; ++batch) {
        const double began = now_ns();
        for (uint32_t i = 0; i < kThrows; ++i, number += 2) {
            ball.number.store(number + 1, std::memory_order_release);
            while (ball.number.load(std::memory_order_acquire) != number + 2) {
            }
        }
        ns.push_back((now_ns() - began) / kThrows);
    }
    // The lower quartile: whoever else runs here only ever makes it longer.
    return spread_of(std::move(ns)).low;
}

}  // namespace

const std::vector<int>& given_cores() {
    static const std::vector<int> cores = [] {
        cpu_set_t set;
        std::vector<int> found;
        if (sched_getaffinity(0, sizeof set, &set) == 0) {
            for (int core = 0; core < CPU_SETSIZE; ++core) {
                if (CPU_ISSET(core, &set)) found.push_back(core);
            }
        }
        return found.empty() ? std::vector<int>{0} : found;
    }();
    return cores;
}

void use_given_cores() {
    cpu_set_t all;
    CPU_ZERO(&all);
    for (const int core : given_cores()) CPU_SET(core, &all);
    sched_setaffinity(0, sizeof all, &all);
}

Placement placement_of(int core, int other) {
    // Between what such machines were found to take: 30 ns siblings, 65 ns one CCD, 305 ns two.
    constexpr double kSiblings = 45, kOneChip = 150;
    Ball ball;
    double ns = 0;
    std::thread first([&] {
        stay_on(core);
        std::thread second([&] {
            stay_on(other);
            answer(ball);
        });
        ns = there_and_back(ball);
        second.join();
    });
    first.join();
    return {ns, ns < kSiblings ? "SMT siblings" : ns < kOneChip ? "same CCD" : "different CCDs, or shared"};
}

std::string placement_text() {
    std::string text;
    const std::vector<int>& cores = given_cores();
    for (size_t i = 1; i < cores.size(); ++i) {
        const Placement placement = placement_of(cores[0], cores[i]);
        char line[120];
        std::snprintf(line, sizeof line, "%scores %d and %d: %.0f ns there and back, %s", i == 1 ? "" : "; ",
                      cores[0], cores[i], placement.ns, placement.name.c_str());
        text += line;
    }
    return text;
}

CoreTeam::CoreTeam(unsigned count, int first) {
    std::vector<int> order = given_cores();
    const auto place = std::find(order.begin(), order.end(), first);
    if (place != order.end()) std::rotate(order.begin(), place, place + 1);
    count = std::min({count, static_cast<unsigned>(order.size()), Workers::kMaxWorkers});
    if (count <= 1) return;
    use_given_cores();
    threads_ = std::make_unique<Threads>();
    workers_ = &threads_->start(count);
    run([&order](unsigned worker, unsigned) { stay_on(order[worker]); });
}

std::string CoreTeam::name() const { return count() == 1 ? "1 core" : std::to_string(count()) + " cores"; }

void CoreTeam::run(const std::function<void(unsigned, unsigned)>& part) const {
    if (workers_ == nullptr) return part(0, 1);
    using Part = std::function<void(unsigned, unsigned)>;
    auto call = [](void* context, unsigned worker, unsigned count) {
        (*static_cast<const Part*>(context))(worker, count);
    };
    if (!workers_->run(workers_->count(), call, const_cast<Part*>(&part))) give_up("a job within a job");
}

}  // namespace bareflow::bench
