// When the tuner works, how long, and what it tells: --tune, --tune-ms and /tune.
#pragma once

#include "arch/routine_engine.h"

namespace bareflow {

class RoutineTuning {
 public:
    RoutineTuning(Platform& platform, RoutineEngine& engine, Session& session, const Options& options)
        : platform_(platform),
          engine_(engine),
          session_(session),
          options_(options),
          budget_ns_(uint64_t{options.tune_ms} * 1'000'000) {}

    /// A slice of work while nobody waits; false if there is none: it is off, the boot's budget is used, or no plan is left.
    bool idle() { return options_.tune != TuneChoice::kOff && work(kIdleSliceNs); }
    /// A slice of work in the middle of a story, if the user wants it there.
    void between_tokens() {
        if (options_.tune == TuneChoice::kInline) work(kTokenSliceNs);
    }
    /// What is left of the budget, at the end of a single run whose user gave one.
    void after_story() {
        if (options_.has_tune_ms)
            while (idle()) {
            }
    }
    /// /tune: tries all that is left, whatever the budget, with a progress bar; then a table of what it brought, and what
    /// other numeric classes and weight types would.
    void run_now(TextListener& out);
    /// A record of all that was tried, if something was since the last one.
    void log_summary();

 private:
    /// A serial port loses keys that nobody takes for 1.4 ms.
    static constexpr uint64_t kIdleSliceNs = 1'000'000, kTokenSliceNs = 1'000'000;

    bool work(uint64_t slice_ns);
    /// False if there is no tuner. Lets it know the model's shapes, again when routines were made since.
    bool meet_shapes();
    void show_progress(TextListener& out, uint32_t done, uint64_t ns);
    void show_table(TextListener& out);

    Platform& platform_;
    RoutineEngine& engine_;
    Session& session_;
    const Options& options_;
    const uint64_t budget_ns_;
    uint64_t spent_ns_ = 0;
    uint32_t met_at_ = UINT32_MAX;  ///< routines compiled when shapes were met
    bool nothing_left_ = false;
    uint32_t summed_up_ = 0;  ///< plans tried at the last summary
};

}  // namespace bareflow
