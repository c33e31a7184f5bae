// The service of images that carry an emitter: routines made for the model's shapes, tuned, profiled, and kept from boot to
// boot.
#pragma once

#include "arch/routine_service.h"
#include "arch/routine_tuning.h"
#include "arch/snapshot_keeper.h"

namespace bareflow {

class LearningRoutines final : public RoutineService {
 public:
    Result<Operators*> start(Platform& platform, const Options& options) override;
    void prepare(Session& session) override;
    void finish(bool went_well) override;
    void log_statistics() override;
    void dump_routines(std::string_view key, TextListener& out) override;
    void report_profile(TextListener& out) override;
    void tune(TextListener& out) override { tuning_->run_now(out); }
    bool idle() override { return tuning_->idle(); }
    void between_tokens() override { tuning_->between_tokens(); }
    void after_story() override { tuning_->after_story(); }

 private:
    Platform* platform_ = nullptr;
    const Options* options_ = nullptr;
    RoutineEngine engine_;
    std::optional<SnapshotKeeper> keeper_;
    std::optional<RoutineTuning> tuning_;
};

}  // namespace bareflow
