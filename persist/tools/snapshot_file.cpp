#include "persist/tools/snapshot_file.h"

#include "emitter/routine_emitter.h"
#include "emitter/routine_maker.h"

namespace bareflow {
namespace {

Error refused(const std::string& path, SnapshotRefusal refusal) {
    const std::string_view hint =
        refusal == SnapshotRefusal::kEmpty ? "; it is an empty slot: no boot has saved into it yet"
        : refusal == SnapshotRefusal::kMagic
            ? "; give a slot's file, such as SNAPA.BIN copied from the disk by mcopy"
            : "; persist/README.md says what each reason means";
    return invalid("{}: no snapshot that can be read: {}{}", path, name_of(refusal), hint);
}

}  // namespace

Result<SnapshotFile> SnapshotFile::open(const std::string& path) {
    return of(TRY(MappedFile::open(path)), path);
}

Result<SnapshotFile> SnapshotFile::of(MappedFile slot, const std::string& path) {
    SnapshotFile opened(std::move(slot), path);
    const ByteSpan bytes = opened.file_.bytes();
    if (bytes.size() < snapshot::kPayloadOffset) return refused(path, SnapshotRefusal::kSmall);
    const ByteSpan sector = bytes.first(sizeof(snapshot::Header));
    SnapshotRefusal refusal = check_header(sector, bytes.size());
    if (refusal != SnapshotRefusal::kNone) return refused(path, refusal);
    snapshot::Header header;
    __builtin_memcpy(&header, sector.data(), sizeof header);
    refusal = opened.view_.open(header, bytes.subspan(snapshot::kPayloadOffset, header.payload_bytes));
    if (refusal != SnapshotRefusal::kNone) return refused(path, refusal);
    opened.mark_ = read_mark(bytes.subspan(snapshot::kMarkOffset, sizeof(snapshot::BootMark)), header);
    return opened;
}

SnapshotRefusal SnapshotFile::check(const snapshot::StoredRoutine& routine) const {
    const SnapshotRefusal refusal = view_.check(routine, ~uint64_t{0});
    if (refusal != SnapshotRefusal::kNone || routine.state != snapshot::RoutineState::kInstalled ||
        header().emitter_version != kEmitterVersion)
        return refusal;
    if (!can_emit(routine.key) || !(complete_plan(routine.key, routine.plan) == routine.plan))
        return SnapshotRefusal::kPlan;
    std::vector<uint8_t> room(snapshot::kMaxRoutineBytes);
    const Result<size_t> size = tiny_maker().make(routine.key, routine.plan, room);
    if (!size.ok()) return SnapshotRefusal::kPlan;
    const ByteSpan code = view_.code(routine);
    const bool same =
        size.value() == code.size() && __builtin_memcmp(room.data(), code.data(), code.size()) == 0;
    return same ? SnapshotRefusal::kNone : SnapshotRefusal::kCodeDiffers;
}

}  // namespace bareflow
