// Where the time goes: cycles by operation and shape, for the prompt and for generation. SEED.md's names, as a class.
#pragma once

#include <cstdint>
#include <span>

#include "arch/base/allocator.h"
#include "arch/base/phase.h"
#include "arch/base/routine.h"

namespace bareflow {

/// One operation at one shape, (M x K) times (K x N). Attention has the query's size as n and a position's as k; norms and
/// argmax have k = 1.
struct ProfiledShape {
    Operation operation{};
    ElementType type{};  ///< of the weights, where there are any
    uint32_t m = 1, n = 0, k = 1;

    bool operator==(const ProfiledShape&) const = default;
};

struct MatMulProfile {
    ProfiledShape shape;
    Phase phase{};
    uint64_t call_count = 0;   ///< all calls
    uint64_t timed_count = 0;  ///< those of them that were timed
    uint64_t timed_cycles = 0, min_cycles = 0, max_cycles = 0;

    uint64_t mean_cycles() const { return timed_count == 0 ? 0 : timed_cycles / timed_count; }
    /// Of all calls, judged by those that were timed.
    uint64_t total_cycles() const { return mean_cycles() * call_count; }
};

/// Cycles are the time-stamp counter's: a constant rate on any CPU with an invariant one. Two readings with their fences
/// take some 70 ns, which would be 4% of a token of a very small model, so not every token is timed.
class Profiler {
 public:
    static Result<Profiler> make(Allocator& allocator);

    /// What follows belongs to `phase`.
    void enter(Phase phase) {
        phase_ = phase;
        passes_ = 0;
    }
    /// A token begins, or a block of a prompt: the first ones of a phase are timed, then one in kTimedOneIn.
    void pass_begins() {
        timing_ = passes_ < kTimedAtFirst || passes_ % kTimedOneIn == 0;
        ++passes_;
    }
    /// Everything up to matmul_profile_end() is a call of `shape`. Not nested.
    void matmul_profile_begin(const ProfiledShape& shape);
    void matmul_profile_end();
    /// Forgets all.
    void reset();

    /// The hottest shapes of a phase, most cycles first, into `out`; how many there are in it.
    size_t matmul_get_hottest(Phase phase, std::span<MatMulProfile> out) const;
    /// Of all shapes of a phase.
    uint64_t total_cycles(Phase phase) const;
    /// Calls that found no room in the table, whose cycles are not counted.
    uint64_t dropped() const { return dropped_; }

    static constexpr uint32_t kTimedAtFirst = 8, kTimedOneIn = 16;
    static constexpr size_t kMaxShapes = 256;  ///< a power of two

 private:
    struct Slot {
        MatMulProfile profile;
        Slot* follower =
            nullptr;  ///< what came after it last time: a model asks for the same again and again

        bool is(const ProfiledShape& shape, Phase phase) const {
            return profile.call_count != 0 && profile.shape == shape && profile.phase == phase;
        }
    };
    Slot* slot_of(const ProfiledShape& shape);
    Slot* find_slot(const ProfiledShape& shape);

    Buffer<Slot> table_;
    Phase phase_ = Phase::kPrompt;
    uint32_t passes_ = 0;
    bool timing_ = true;
    Slot* current_ = nullptr;
    uint64_t began_ = 0;
    uint64_t dropped_ = 0;
};

}  // namespace bareflow
