// What one boot leaves to the next: routines, plans, profile and history, brought back before anything is made and kept at a
// clean end. Whatever goes wrong with the disk is a log record, and a cold start at worst.
#pragma once

#include <optional>

#include "arch/platform.h"
#include "arch/routine_engine.h"
#include "persist/snapshot_store.h"
#include "profiler/convergence.h"

namespace bareflow {

class SnapshotKeeper {
 public:
    /// Does nothing where the platform has no slots, or the engine emits nothing.
    SnapshotKeeper(Platform& platform, RoutineEngine& engine, Session& session)
        : platform_(platform), engine_(engine), session_(session) {}
    SnapshotKeeper(const SnapshotKeeper&) = delete;

    /// Once, when the session has its model and before the engine prepares it. The tuner's table comes back, and each routine
    /// that the emitter makes again with the same bytes. Counts the boot as begun.
    void restore();
    /// The boot ends. If it went well what it knows is saved, with a record `boot` of what it did; else it is only not counted
    /// as a crash.
    void finish(bool went_well);

    /// Boots that ended well, oldest first; with this one, after finish(true).
    std::span<const BootSummary> history() const { return {history_.data(), history_size_}; }

 private:
    Result<void> make_room();
    SnapshotIdentity identity() const;
    void begin(const SnapshotView& view);
    void restore_history(const SnapshotView& view);
    void restore_plans(const SnapshotView& view);
    void restore_routines(const SnapshotView& view);
    SnapshotRefusal restore_routine(const SnapshotView& view, const snapshot::StoredRoutine& routine);
    void add_profile(const snapshot::StoredProfile& profile);

    void note_boot();
    uint32_t explored_permille() const;
    Result<void> save();
    void turn_over(const snapshot::Header& header, ByteSpan payload);
    snapshot::StoredRoutine stored(const RoutineCache::Entry& entry) const;

    Platform& platform_;
    RoutineEngine& engine_;
    Session& session_;
    std::optional<SnapshotStore> store_;
    uint64_t began_ns_ = 0;

    snapshot::HistoryTotals totals_{};
    Buffer<BootSummary> history_;  ///< room for one more than is kept
    size_t history_size_ = 0;
    Buffer<snapshot::StoredBoot> boots_;  ///< the same, as they are stored
    Buffer<snapshot::StoredProfile> profiles_;
    size_t profile_count_ = 0;
};

/// Whether the key can belong to a model of this shape: then no call of the model finds a routine for other sizes.
bool is_shape_of(const ModelConfig& config, const RoutineKey& key);

}  // namespace bareflow
