// Reading a snapshot: bytes from a disk that anybody may have written. Nothing is trusted before it is checked, no size is
// used before it is proven, and every refusal has its reason.
#pragma once

#include "arch/base/bytes.h"
#include "arch/base/cpu_features.h"
#include "persist/snapshot_format.h"
#include "persist/snapshot_refusal.h"

namespace bareflow {

/// What a snapshot must have been made by and for.
struct SnapshotIdentity {
    snapshot::BuildId build{};
    uint32_t emitter_version = 0;
    uint32_t abi_version = kRoutineAbi;
    uint64_t features = 0;  ///< feature_bits() of this CPU
    NumericClass numerics{};
    uint64_t model_bytes = 0;
    uint32_t model_crc32c = 0;
};

/// Whether a header's own bytes are whole and its counts fit each other and a slot of `slot_bytes`. `sector` is 512 bytes.
SnapshotRefusal check_header(ByteSpan sector, uint64_t slot_bytes);
/// Whether a whole snapshot is for this machine, build and model.
SnapshotRefusal check_identity(const snapshot::Header& header, const SnapshotIdentity& wanted);

/// Whether the key is one that a name can be given to: each field known, unused ones zero.
bool is_sound(const RoutineKey& key);
/// Whether the plan can be one for the key; what it is exactly only an emitter can say.
bool is_sound(const Plan& plan, const RoutineKey& key);

/// The mark, or one that counts nothing where `sector` holds none for the snapshot with that header.
snapshot::BootMark read_mark(ByteSpan sector, const snapshot::Header& header);

/// A payload whose place for everything is known. Entries are handed out as copies; what they say is checked one by one.
class SnapshotView {
 public:
    SnapshotView() = default;
    /// `payload` is header.payload_bytes long and must outlive the view; check_header() found nothing. The CRC is compared here.
    SnapshotRefusal open(const snapshot::Header& header, ByteSpan payload);

    const snapshot::Header& header() const { return header_; }
    const snapshot::HistoryTotals& totals() const { return totals_; }
    uint32_t boots() const { return header_.boot_records; }
    snapshot::StoredBoot boot(uint32_t index) const { return at<snapshot::StoredBoot>(boots_, index); }

    uint32_t plans() const { return header_.plans; }
    snapshot::StoredPlan plan(uint32_t index) const { return at<snapshot::StoredPlan>(plans_, index); }
    uint32_t profiles() const { return header_.profiles; }
    snapshot::StoredProfile profile(uint32_t index) const {
        return at<snapshot::StoredProfile>(profiles_, index);
    }
    uint32_t routines() const { return header_.routines; }
    snapshot::StoredRoutine routine(uint32_t index) const {
        return at<snapshot::StoredRoutine>(routines_, index);
    }
    /// Of a routine that check() accepts.
    ByteSpan code(const snapshot::StoredRoutine& routine) const {
        return code_.subspan(routine.code_offset, routine.code_bytes);
    }

    /// `features` are the CPU's.
    SnapshotRefusal check(const snapshot::StoredRoutine& routine, uint64_t features) const;
    /// A plan whose key is `sound` need not have it checked again: plans of a key follow one another.
    SnapshotRefusal check(const snapshot::StoredPlan& plan, const RoutineKey& sound = {}) const;
    SnapshotRefusal check(const snapshot::StoredProfile& profile) const;

 private:
    template <typename T>
    static T at(ByteSpan array, uint32_t index) {
        T entry;
        ASSERT(fits(index * sizeof(T), sizeof(T), array.size()));
        __builtin_memcpy(&entry, array.data() + index * sizeof(T), sizeof(T));
        return entry;
    }

    snapshot::Header header_{};
    snapshot::HistoryTotals totals_{};
    ByteSpan boots_, plans_, profiles_, routines_, code_;
};

}  // namespace bareflow
