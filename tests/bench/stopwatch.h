// Timing that survives a noisy machine: contestants take turns, a round each, and are compared round by round, so that
// a slow second hits all of them. (Google Benchmark interleaves repetitions, but does not pair them.)
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace bareflow::bench {

/// Median and quartiles of some figures.
struct Spread {
    double median = 0, low = 0, high = 0;
};
Spread spread_of(std::vector<double> values);

/// Now, in nanoseconds, monotonic.
double now_ns();
/// Keeps the process on one core, and its clock awake for some milliseconds.
void pin_to_core(int core);

class Contest {
 public:
    /// Adds a contestant; run(i) does the work once, i counts its calls (so that it can take cold data in turn).
    /// Returns its number.
    size_t add(std::string name, std::function<void(size_t)> run);
    /// Every contestant runs for about `round_ms` in each of `rounds` rounds, in turn, after one call that is not timed: it
    /// brings back what the others threw out of the caches.
    void run(unsigned rounds, double round_ms);

    /// One call, untimed.
    void call(size_t i) { contestants_[i].run(contestants_[i].next++); }

    size_t size() const { return contestants_.size(); }
    const std::string& name(size_t i) const { return contestants_[i].name; }
    /// Nanoseconds of one call.
    Spread ns(size_t i) const { return spread_of(contestants_[i].ns); }
    /// How many times as fast contestant `a` is as `b`, of rounds in pairs.
    Spread ratio(size_t a, size_t b) const;

 private:
    struct Contestant {
        std::string name;
        std::function<void(size_t)> run;
        size_t calls = 1, next = 0;
        std::vector<double> ns{};
    };
    double time(Contestant& contestant) const;
    std::vector<Contestant> contestants_;
};

}  // namespace bareflow::bench
