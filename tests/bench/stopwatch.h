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
/// `each` times as much, and `whole` / as much: a time as a speed.
inline Spread times(Spread s, double each) { return {s.median * each, s.low * each, s.high * each}; }
inline Spread speed(double whole, Spread s) { return {whole / s.median, whole / s.high, whole / s.low}; }

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
    /// Calls that take far longer than caches remember are not called untimed first. No further round begins after
    /// `most_s` seconds, once there were some (kFewestRounds).
    void run(unsigned rounds, double round_ms, double most_s = 1e9);
    static constexpr unsigned kFewestRounds = 3;

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
        double last_ns = 0;  ///< of a call, when it was last timed
        std::vector<double> ns{};
    };
    static double time(Contestant& contestant);
    std::vector<Contestant> contestants_;
};

}  // namespace bareflow::bench
