// Routines of weights, called for the clock: on the model's own weights, all else scratch, so that nothing of a conversation
// changes.
#pragma once

#include "arch/base/allocator.h"
#include "arch/base/quantised.h"
#include "arch/base/routine.h"
#include "arch/base/terminal.h"

namespace bareflow {

/// The matrices of one call, as its arguments name them: project has one, gate_up two, qkv three.
struct WeightSet {
    const void* matrix[3] = {};

    static WeightSet of(const RoutineKey& key, const void* arguments);
    bool operator==(const WeightSet&) const = default;
};
/// How many of them a key's calls have.
constexpr unsigned matrices_of(const RoutineKey& key) {
    return key.operation == Operation::kGateUp ? 2 : key.operation == Operation::kQkv ? 3 : 1;
}

/// Calls of one key on inputs and outputs of its own.
class ScratchCall {
 public:
    /// `key` is of project, gate_up or qkv.
    static Result<ScratchCall> make(const RoutineKey& key, Allocator& allocator);
    /// Arguments of a call with these weights, valid until the next one.
    const void* arguments(const WeightSet& weights);
    /// Nanoseconds of `calls` calls that take `sets` in turns, from number `first` on.
    uint64_t time(Routine routine, std::span<const WeightSet> sets, uint64_t first, uint64_t calls,
                  Clock& clock);
    /// The same for plain loads of the weights, and nothing else: what memory gives.
    uint64_t time_plain_loads(std::span<const WeightSet> sets, uint64_t first, uint64_t calls, Clock& clock);

 private:
    RoutineKey key_;
    Buffer<float> x_, out_, angles_;
    Buffer<Q8Group> quantised_;
    uint64_t index_ = 0;
    uint64_t loaded_ = 0;  ///< what plain loads read: a result that must not be left out
    union {
        ProjectArguments project_;
        GateUpArguments gate_up_;
        QkvArguments qkv_;
    };

    ScratchCall() : project_{} {}
};

}  // namespace bareflow
