// The check that every routine passes before it is installed: run on inputs of our own, guarded against faults, and
// compared bit for bit with the scalar reference.
#pragma once

#include "arch/platform.h"
#include "emitter/routine_cache.h"
#include "model/operators.h"

namespace bareflow {

/// Weights are the caller's own (they may be gigabytes), x and y are the probe's. Of large outputs a sample of panels is
/// compared: the first, the last, and some between.
class ReferenceProbe final : public RoutineProbe {
 public:
    ReferenceProbe(Operators& reference, FaultGuard& guard, Allocator& allocator, Clock& clock)
        : reference_(reference), guard_(guard), allocator_(allocator), clock_(clock) {}
    /// A routine that seems slower than the reference is timed again, so that one interruption does not condemn it.
    Result<ProbeTimes> check(const RoutineKey& key, Routine routine, const void* arguments) override;

 private:
    Result<void> check_project(const RoutineKey& key, Routine routine, const ProjectArguments& given);
    Result<void> check_gate_up(const RoutineKey& key, Routine routine, const GateUpArguments& given);
    Result<void> check_qkv(const RoutineKey& key, Routine routine, const QkvArguments& given);
    Result<void> check_rms_norm(const RoutineKey& key, Routine routine);
    Result<void> check_attention(const RoutineKey& key, Routine routine);
    Result<void> check_argmax(const RoutineKey& key, Routine routine);
    Result<void> check_softmax(const RoutineKey& key, Routine routine);
    Result<void> check_quantise(const RoutineKey& key, Routine routine);
    Result<void> check_once(const RoutineKey& key, Routine routine, const void* arguments);
    Result<void> run(Routine routine, const void* arguments);
    /// Calls body(row, panel), which runs the reference, for a sample of m rows and of the panels of n outputs; adds the time
    /// that all would take.
    template <typename Body>
    Result<void> for_sampled_outputs(size_t m, size_t n, Body body);

    Operators& reference_;
    FaultGuard& guard_;
    Allocator& allocator_;
    Clock& clock_;
    ProbeTimes times_;
};

}  // namespace bareflow
