// Finds better plans for the routines that a model uses, by the clock. A little at a time: step() is one sample of two
// routines, or the making of one. Which plans, and what wins, is profiler/'s.
#pragma once

#include <optional>

#include "arch/routine_trial.h"
#include "arch/routine_visit.h"
#include "emitter/routine_cache.h"
#include "emitter/routine_emitter.h"
#include "profiler/tuning.h"

namespace bareflow {

/// One of the model's shapes, with its weights.
struct TunedShape {
    static constexpr uint32_t kMostSets = 32;

    RoutineKey key;
    /// What is timed: the key, or where its weights are many megabytes, of the first rows that fill kMostBytes. A plan is
    /// good for both, and a trial takes milliseconds instead of seconds.
    RoutineKey timed;
    uint64_t calls = 0;    ///< in a token, or in a block of them
    uint32_t untried = 0;  ///< plans
    uint32_t count = 0;
    WeightSet
        sets[kMostSets];  ///< of the calls, one after another: each layer's, or pieces of one large matrix

    static constexpr uint64_t kMostBytes = 4 << 20;
    std::span<const WeightSet> weights() const { return {sets, count}; }
    /// Of all that a trial reads in turns.
    uint64_t bytes() const { return count * weight_bytes(timed); }
};

class RoutineTuner final : public PlanSource, private RoutineVisitor {
 public:
    struct Counts {
        uint32_t tried = 0, improved = 0, rejected = 0;
    };

    RoutineTuner(RoutineCache& cache, LogSink& log, Clock& clock, Allocator& allocator)
        : cache_(cache), log_(log), clock_(clock), allocator_(allocator) {}
    RoutineTuner(const RoutineTuner&) = delete;
    ~RoutineTuner() { drop_trial(); }
    Result<void> initialise();

    /// Forgets the shapes that it knows, but nothing that was tried, and takes those for which `show(visitor)` shows calls.
    template <typename Show>
    void meet_shapes(Show show) {
        begin_meeting();
        show(static_cast<RoutineVisitor&>(*this));
        end_meeting();
    }

    /// One sample, or one decision. False if no plan is left to try.
    bool step();
    /// What an earlier boot of this machine tried: not tried again, and its winners are the best-known plans.
    void restore(std::span<const PlanRecord> records) {
        for (const PlanRecord& record : records) table_.add(record);
    }
    const Plan* best_plan(const RoutineKey& key) const override {
        const PlanRecord* best = table_.best(key);
        return best == nullptr ? nullptr : &best->plan;
    }

    /// Plans not tried yet, of all shapes; the one on trial counts.
    uint32_t left() const;
    const Counts& counts() const { return counts_; }
    const TuningTable& table() const { return table_; }
    /// The hottest first.
    std::span<const TunedShape> shapes() const { return {shapes_.data(), shape_count_}; }

 private:
    static constexpr size_t kMaxShapes = 64;
    /// A sample is long enough for any clock, and short enough to be seldom interrupted.
    static constexpr uint64_t kSampleNs = 20'000;

    bool has_routine(const RoutineKey& key) const override { return can_emit(key); }
    void visit(const RoutineKey& key, const void* arguments) override;
    void begin_meeting();
    void end_meeting();
    TunedShape* shape_of(const RoutineKey& key);
    void add_weights(TunedShape& shape, const void* arguments);
    uint32_t count_untried(const TunedShape& shape) const;

    bool begin_trial();
    Result<void> begin_trial(TunedShape& shape, const RoutineCache::Entry& entry);
    bool begin_candidate(TunedShape& shape, const RoutineCache::Entry& entry);
    void sample_pair();
    void conclude();
    void conclude_baseline();
    /// Puts the candidate in place; false if it failed its probe for the whole shape.
    bool take_over();
    void judge_against_reference(const RoutineCache::Candidate& candidate);
    void record(const Plan& plan, const PlanTrial::Result& result, PlanVerdict verdict,
                std::string_view why = {});
    void drop_trial();
    void drop(std::optional<RoutineCache::Candidate>& candidate);

    RoutineCache& cache_;
    LogSink& log_;
    Clock& clock_;
    Allocator& allocator_;
    Buffer<TunedShape> shapes_;
    size_t shape_count_ = 0;
    TuningTable table_;
    Counts counts_;

    // ---- the trial that is on
    TunedShape* shape_ = nullptr;  ///< nullptr: none
    std::optional<ScratchCall> call_;
    std::optional<RoutineCache::Candidate>
        stand_in_;  ///< the incumbent's plan for shape_->timed, where that is not the key
    std::optional<RoutineCache::Candidate> candidate_;  ///< none: the baseline is timed, beside plain loads
    Routine incumbent_ = nullptr;
    Plan incumbent_plan_;
    PlanTrial trial_;
    bool wins_again_ = false;  ///< the candidate has won a trial, and must win a second one
    uint64_t next_set_ = 0;
};

}  // namespace bareflow
