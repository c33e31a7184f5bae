// Two slots for snapshots, of which one is always whole: the newer one is read, the other one is written.
//
// Order of a save: payload, flush, read back; then the header, one sector with generation and CRCs, flush. Until that sector
// is on the disk the slot's old header stands before a payload that its CRC does not fit, and the other slot is the newest.
// So a power cut leaves the old snapshot or the new one. The boot mark is a sector of its own far from the header, tells
// nothing but a count, and is ignored where it is damaged or of another generation.
#pragma once

#include "arch/base/allocator.h"
#include "arch/base/log.h"
#include "persist/fixed_file.h"
#include "persist/snapshot.h"

namespace bareflow {

class SnapshotStore {
 public:
    static constexpr unsigned kSlots = 2;
    /// Boots in a row that began from a snapshot and did not end well, after which it is set aside.
    static constexpr uint32_t kMostUnclean = 3;

    /// A slot may be nullptr: then nothing is ever saved, since a single snapshot cannot be replaced safely.
    SnapshotStore(FixedFile* a, FixedFile* b, LogSink& log, Allocator& allocator)
        : slots_{{.file = a}, {.file = b}}, log_(log), allocator_(allocator) {}
    SnapshotStore(const SnapshotStore&) = delete;

    /// Reads the newest snapshot that fits `wanted`, else the other one, and logs why one was refused. nullptr: a cold start,
    /// and why() says why. The view is valid until release(). Once.
    const SnapshotView* load(const SnapshotIdentity& wanted);
    /// Of the newest snapshot that was refused, or of its absence; kNone after a load that found one.
    SnapshotRefusal why() const { return why_; }
    /// The payload's memory is given back.
    void release() { payload_ = {}; }

    /// Boots that led to what was loaded, and those that began from it since; 0 if nothing was.
    uint32_t boots() const { return boots_; }
    /// Of what was loaded, or saved since: 'a' or 'b'; '-' if nothing was.
    char slot_name() const { return loaded_ < 0 ? '-' : name_of_slot(static_cast<unsigned>(loaded_)); }

    /// A boot begins from what was loaded: counted as one that did not end well, until it saves or mark_finished() takes that
    /// back. Nothing is written where nothing was loaded, or nothing is to be taken back.
    Result<void> mark_started();
    Result<void> mark_finished();

    /// Writes into the slot that was not loaded; where none was, into the one that is damaged, else the older. `header` and
    /// `payload` are write_payload()'s; generation and header CRC are set here. After an error what was loaded is untouched.
    Result<void> save(snapshot::Header& header, ByteSpan payload);

    /// Counts and logs a refusal.
    void refuse(SnapshotRefusal reason, std::string_view what);
    const RefusalCounts& refusals() const { return refusals_; }

 private:
    struct Slot {
        FixedFile* file;
        snapshot::Header header{};
        snapshot::BootMark mark{};
        SnapshotRefusal refusal = SnapshotRefusal::kAbsent;  ///< of its header, or of all of it
        uint64_t generation = 0;  ///< 0: nothing that could be used, now or by another boot
    };
    static char name_of_slot(unsigned index) { return index == 0 ? 'a' : 'b'; }

    void read_header(Slot& slot);
    SnapshotRefusal try_slot(Slot& slot, const SnapshotIdentity& wanted);
    void note(SnapshotRefusal refusal, unsigned slot);
    SnapshotRefusal read_payload(const Slot& slot);
    Result<void> write_mark(uint32_t unclean, uint32_t boots);
    Result<unsigned> target() const;
    Result<void> write_and_compare(FixedFile& file, uint64_t offset, ByteSpan bytes);

    Slot slots_[kSlots];
    LogSink& log_;
    Allocator& allocator_;
    Buffer<uint8_t> payload_;
    SnapshotView view_;
    RefusalCounts refusals_;
    SnapshotRefusal why_ = SnapshotRefusal::kNone;
    int loaded_ = -1;
    uint32_t boots_ = 0;
};

}  // namespace bareflow
