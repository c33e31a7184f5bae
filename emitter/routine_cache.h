// The routines that exist: made on demand, checked before first use, found by key.
#pragma once

#include <optional>

#include "arch/base/allocator.h"
#include "arch/base/bytes.h"
#include "arch/base/log.h"
#include "arch/base/routine.h"
#include "emitter/routine_maker.h"
#include "emitter/routine_source.h"
#include "mm/code_arena.h"

namespace bareflow {

/// How long a routine took on its probe, and how long the reference takes for the same.
struct ProbeTimes {
    uint64_t routine_ns = 0, reference_ns = 0;
};

/// Runs a new routine on inputs of its own and compares with the reference; also survives its faults.
class RoutineProbe {
 public:
    /// `arguments` are those of the call that wants the routine: its weights may be used, its outputs not. An error
    /// says how the routine was wrong.
    virtual Result<ProbeTimes> check(const RoutineKey& key, Routine routine, const void* arguments) = 0;

 protected:
    ~RoutineProbe() = default;
};

/// Who may know a better plan for a key than the emitter's own choice.
class PlanSource {
 public:
    /// A complete plan; nullptr if it knows none.
    virtual const Plan* best_plan(const RoutineKey& key) const = 0;

 protected:
    ~PlanSource() = default;
};

class RoutineCache final : public RoutineSource, public EvictionListener, public CodeDirectory {
 public:
    struct Entry {
        /// kCold: called, but not often enough. kSlower: right, but slower than the reference on this machine, which runs
        /// instead.
        enum class State : uint8_t { kEmpty, kCold, kInstalled, kSlower, kQuarantined, kEvicted };
        RoutineKey key;
        Plan plan;
        State state = State::kEmpty;
        Routine code = nullptr;
        uint32_t bytes = 0;
        uint64_t saved_ns = 0;  ///< a call saves so much over the reference, by the probe
        uint64_t calls = 0;     ///< since it was installed; while cold, all
        bool wrong = false;     ///< in quarantine for what it is, not for want of memory to try it

        /// What the routine is worth when the arena is full.
        uint64_t value() const { return calls * saved_ns; }
    };
    struct Counts {
        uint32_t compiled = 0, restored = 0, rejected = 0, slower = 0, evicted = 0;
        uint64_t code_bytes = 0;  ///< of what is installed now
    };

    /// A routine that was made and checked, and that no call uses yet.
    struct Candidate {
        RoutineKey key;
        Plan plan;
        Routine code = nullptr;
        uint32_t bytes = 0;
        ProbeTimes times;
    };

    RoutineCache(RoutineMaker& maker, RoutineProbe& probe, LogSink& log, uint64_t hot_calls = kHotCalls)
        : maker_(maker), probe_(probe), log_(log), hot_calls_(hot_calls) {}
    RoutineCache(const RoutineCache&) = delete;

    /// Takes over `region` for code (see CodeArena::make).
    Result<void> initialise(std::span<uint8_t> region, CodePages& pages, Allocator& allocator);

    /// The installed routine, or nullptr; counts a call of it. A few nanoseconds.
    Routine find(const RoutineKey& key) override;
    /// Where the emitter has a generator for the key and is_hot() says so, find_or_make() by the best-known plan.
    Made make_if_hot(const RoutineKey& key, const void* arguments) override;
    /// Counts a call that found no routine; whether one should be made now: at a key's hot_calls-th call, so that what never
    /// comes back costs nothing, but at once where the call alone is more work than the making.
    bool is_hot(const RoutineKey& key);
    static constexpr uint64_t kHotCalls = 2;
    /// Some half a millisecond of one core, by the reference a few: a routine and its probe take less.
    static constexpr uint64_t kHotMultiplyAdds = 1 << 20;
    /// Asked for plans from now on, before the emitter is. Must outlive its use.
    void set_plan_source(const PlanSource* source) { plan_source_ = source; }
    /// The best-known plan for the key, complete.
    Plan best_plan(const RoutineKey& key) const;
    /// As find(); where there is none, makes one with `plan` (complete), has it checked for the call with `arguments`
    /// and installs it. nullptr if that failed, now or before: a key that was rejected stays in quarantine, with a log
    /// record that says why. Where there is no room, the routine that saved the least time goes.
    Routine find_or_make(const RoutineKey& key, const Plan& plan, const void* arguments);

    /// As find_or_make makes one, beside what is installed. It stays until install() or discard(); a routine that is
    /// installed may have to make room for it. An error says what was wrong with it.
    Result<Candidate> make_candidate(const RoutineKey& key, const Plan& plan, const void* arguments) {
        return make_candidate(key, plan, arguments, probe_);
    }
    /// Checked by another probe, for keys of another numeric class.
    Result<Candidate> make_candidate(const RoutineKey& key, const Plan& plan, const void* arguments,
                                     RoutineProbe& probe);
    void discard(const Candidate& candidate) {
        arena_->release(reinterpret_cast<const void*>(candidate.code));
    }
    /// The candidate answers its key's calls from now on; what did before is released. Nobody may be running it.
    void install(const Candidate& candidate);
    /// What became of a routine that an earlier boot made, probed and kept.
    enum class Restored : uint8_t {
        kYes,
        kNotMade,  ///< there is no generator for the key, or the plan is not one that the emitter makes
        kDiffers,  ///< the emitter makes other bytes
        kNoRoom,   ///< in the table or the arena
    };
    /// Emits the routine again, compares it with `code`, byte for byte, and installs what was emitted: without a probe, since
    /// the same bytes have passed theirs. Bytes from a disk are never run.
    Restored restore(const RoutineKey& key, const Plan& plan, ByteSpan code, uint64_t saved_ns);
    /// An earlier boot found that the reference is faster (kSlower), or that the routine is wrong (kQuarantined).
    Restored restore_verdict(const RoutineKey& key, const Plan& plan, Entry::State state);
    /// The key's entry; nullptr if there is none.
    const Entry* entry_of(const RoutineKey& key) const;

    const Counts& counts() const { return counts_; }
    const CodeArena& arena() const { return *arena_; }
    RoutineMaker& maker() const { return maker_; }
    /// All slots, empty ones included.
    std::span<const Entry> entries() const { return entries_.span(); }
    bool find_code(uint64_t address, FixedString<96>& name, uint64_t& offset) const override;
    void evicted(const void* entry) override;

 private:
    static constexpr size_t kSlots = 512;  ///< a power of two
    static constexpr size_t kMaxRoutine = 64 * 1024;

    Entry* slot_of(const RoutineKey& key) const;
    Result<void> make(Entry& entry, const void* arguments);

    RoutineMaker& maker_;
    RoutineProbe& probe_;
    LogSink& log_;
    const uint64_t hot_calls_;
    const PlanSource* plan_source_ = nullptr;
    std::optional<CodeArena> arena_;
    Buffer<Entry> entries_;
    Counts counts_;
};

}  // namespace bareflow
