// What the tuner knows and how it decides: samples of two routines side by side, the rule, and a record of every plan that was
// tried. Plain data and arithmetic: no routine is made or run here.
#pragma once

#include "arch/base/allocator.h"
#include "profiler/plan_space.h"

namespace bareflow {

/// What became of a plan. Part of what is stored from boot to boot: numbers stay.
enum class PlanVerdict : uint8_t {
    kUntried = 0,
    kBaseline,  ///< what the key had before any other plan was tried
    kAtLimit,  ///< the same, and it reads its weights as fast as memory gives them: the key needs no other plan
    kWorse,    ///< not better by the margin
    kBetter,    ///< took the place of the plan before it
    kRejected,  ///< could not be made, faulted, or differed from the reference
};
constexpr std::string_view name_of(PlanVerdict verdict) {
    constexpr std::string_view kNames[] = {"untried", "baseline", "at_limit", "worse", "better", "rejected"};
    return kNames[static_cast<size_t>(verdict)];
}

/// One plan that was tried for a key. Compared, stored and restored as bytes.
struct PlanRecord {
    RoutineKey key;
    Plan plan;
    uint32_t median_ns = 0;     ///< of a call
    uint32_t spread_ns = 0;     ///< between the quartiles
    uint32_t incumbent_ns = 0;  ///< median of the plan that it ran against, in the same rounds
    PlanVerdict verdict{};
    uint8_t reserved[3] = {};
};
static_assert(std::is_trivially_copyable_v<PlanRecord>);
static_assert(sizeof(PlanRecord) == sizeof(RoutineKey) + sizeof(Plan) + 3 * 4 + 4,
              "no padding: stored as bytes");

/// Times of an incumbent and a candidate, taken in turns. The candidate wins if the median of the differences, pair by pair,
/// is more than the margin: 2% of the incumbent's time, and three standard errors of that median as the pairs' own spread
/// tells it (IQR / 1.349 is the deviation, 1.253 / sqrt(pairs) the median's share of it).
class PlanTrial {
 public:
    static constexpr size_t kPairs = 15;
    /// After so many pairs a candidate that has lost beyond the noise is given up.
    static constexpr size_t kFewestPairs = 5;

    struct Result {
        double incumbent_ns = 0, candidate_ns = 0, spread_ns = 0;  ///< of a call
        double gain_ns = 0;                                        ///< median of the differences
        double noise_ns = 0;                                       ///< standard error of that median
        bool wins = false;

        double gain() const { return incumbent_ns == 0 ? 0 : gain_ns / incumbent_ns; }
    };

    /// Each time that is added is of `calls` calls.
    explicit PlanTrial(uint64_t calls = 1) : calls_(calls) {}
    void add(uint64_t incumbent_ns, uint64_t candidate_ns);
    size_t pairs() const { return count_; }
    uint64_t calls() const { return calls_; }
    bool done() const;
    Result result() const;

 private:
    double incumbent_[kPairs], candidate_[kPairs];
    size_t count_ = 0;
    uint64_t calls_;
};

/// Every plan that was tried. Finite as the space is; what is in it is never tried again.
class TuningTable {
 public:
    static constexpr size_t kMaxRecords = 2048;
    static bareflow::Result<TuningTable> make(Allocator& allocator);

    std::span<const PlanRecord> records() const { return {records_.data(), count_}; }
    const PlanRecord* find(const RoutineKey& key, const Plan& plan) const;
    bool full() const { return count_ == records_.size(); }
    /// Adds or replaces the record of (key, plan). Not when full.
    void add(const PlanRecord& record);
    /// Whether the key's routine needs no other plan.
    bool is_closed(const RoutineKey& key) const;
    /// The last plan that won, or the baseline; nullptr where nothing was tried.
    const PlanRecord* best(const RoutineKey& key) const;
    const PlanRecord* baseline(const RoutineKey& key) const;
    /// How many times as fast the key is as it was at first: what each plan that won brought, against the one before it.
    double speedup(const RoutineKey& key) const;
    /// Plans of the key that were tried, the baseline not counted.
    size_t tried(const RoutineKey& key) const;

    /// The first plan of `space` without a record; nullptr if there is none, or none is needed.
    const Plan* next_untried(const RoutineKey& key, const PlanSpace& space) const;
    size_t untried(const RoutineKey& key, const PlanSpace& space) const;

 private:
    Buffer<PlanRecord> records_;
    size_t count_ = 0;
};

}  // namespace bareflow
