#include "arch/routine_learning.h"

#include "arch/profile_report.h"
#include "arch/routine_dump.h"

namespace bareflow {

Result<Operators*> LearningRoutines::start(Platform& platform, const Options& options) {
    platform_ = &platform;
    options_ = &options;
    return engine_.start(platform, options);
}

void LearningRoutines::prepare(Session& session) {
    keeper_.emplace(*platform_, engine_, session);
    keeper_->restore();
    engine_.prepare(session);
    tuning_.emplace(*platform_, engine_, session, *options_);
}

void LearningRoutines::finish(bool went_well) {
    tuning_->log_summary();
    keeper_->finish(went_well);
}

void LearningRoutines::log_statistics() {
    const RoutineCache::Counts counts =
        engine_.cache() != nullptr ? engine_.cache()->counts() : RoutineCache::Counts{};
    LogRecord(platform_->log(), "routines")
        .field("compiled", counts.compiled)
        .field("restored", counts.restored)
        .field("rejected", counts.rejected)
        .field("slower", counts.slower)
        .field("evicted", counts.evicted)
        .field("code_bytes", counts.code_bytes);
    log_profile(*engine_.profiler(), platform_->log());
}

void LearningRoutines::dump_routines(std::string_view key, TextListener& out) {
    bareflow::dump_routines(engine_.cache(), key, out);
}
void LearningRoutines::report_profile(TextListener& out) {
    bareflow::report_profile(*engine_.profiler(), out);
}

}  // namespace bareflow
