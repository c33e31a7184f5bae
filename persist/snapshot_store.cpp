#include "persist/snapshot_store.h"

#include <algorithm>

#include "persist/snapshot_writer.h"

namespace bareflow {
namespace {

using namespace snapshot;

template <typename T>
std::span<uint8_t> bytes_of(T& sector) {
    static_assert(sizeof(T) == kSectorBytes);
    return {reinterpret_cast<uint8_t*>(&sector), sizeof sector};
}
uint64_t whole_sectors(uint64_t bytes) { return (bytes + kSectorBytes - 1) / kSectorBytes * kSectorBytes; }

}  // namespace

void SnapshotStore::refuse(SnapshotRefusal reason, std::string_view what) {
    refusals_.add(reason);
    LogRecord(log_, "snapshot_refused").field("reason", name_of(reason)).field("what", what);
}

void SnapshotStore::read_header(Slot& slot) {
    using enum SnapshotRefusal;
    slot.refusal = kAbsent;
    if (slot.file == nullptr) return;
    slot.refusal = kSmall;
    if (slot.file->size() < kPayloadOffset + kSectorBytes) return;
    slot.refusal = kDevice;
    if (!slot.file->read(kHeaderOffset, bytes_of(slot.header))) return;
    slot.refusal = check_header(bytes_of(slot.header), slot.file->size());
    if (slot.refusal != kNone) return;
    slot.generation = slot.header.generation;
    BootMark mark{};
    // Without its mark a snapshot is as good.
    if (!slot.file->read(kMarkOffset, bytes_of(mark))) mark = {};
    slot.mark = read_mark(bytes_of(mark), slot.header);
}

SnapshotRefusal SnapshotStore::read_payload(const Slot& slot) {
    const uint64_t bytes = slot.header.payload_bytes;
    // Its last sector is whole in the file, since sizes of files are.
    Result<Buffer<uint8_t>> room = Buffer<uint8_t>::make(allocator_, whole_sectors(bytes), "snapshot");
    if (!room) return SnapshotRefusal::kMemory;
    payload_ = room.take();
    if (!slot.file->read(kPayloadOffset, payload_.span())) return SnapshotRefusal::kDevice;
    return view_.open(slot.header, {payload_.data(), bytes});
}

/// Whether the slot's snapshot can be used; if so it is in view_.
SnapshotRefusal SnapshotStore::try_slot(Slot& slot, const SnapshotIdentity& wanted) {
    if (slot.refusal != SnapshotRefusal::kNone) return slot.refusal;
    const SnapshotRefusal refusal = check_identity(slot.header, wanted);
    if (refusal != SnapshotRefusal::kNone) return refusal;
    if (slot.mark.unclean >= kMostUnclean) return SnapshotRefusal::kUnclean;
    slot.refusal = read_payload(slot);
    if (slot.refusal != SnapshotRefusal::kNone) payload_ = {};
    if (slot.refusal == SnapshotRefusal::kPayloadCrc) slot.generation = 0;
    return slot.refusal;
}

const SnapshotView* SnapshotStore::load(const SnapshotIdentity& wanted) {
    for (Slot& slot : slots_) read_header(slot);
    const unsigned newest = slots_[1].generation > slots_[0].generation ? 1 : 0;
    for (const unsigned i : {newest, 1 - newest}) {
        Slot& slot = slots_[i];
        // What makes the newest one's boots fail may be in its elder too.
        const bool is_wanted = loaded_ < 0 && why_ != SnapshotRefusal::kUnclean;
        const SnapshotRefusal refusal = is_wanted ? try_slot(slot, wanted) : slot.refusal;
        if (refusal != SnapshotRefusal::kNone) {
            note(refusal, i);
        } else if (is_wanted) {
            loaded_ = static_cast<int>(i);
            boots_ = slot.header.boot_count + slot.mark.boots;
        }
    }
    if (loaded_ < 0) return nullptr;
    why_ = SnapshotRefusal::kNone;
    return &view_;
}

/// A slot that is empty was refused nothing: so are both before the first save.
void SnapshotStore::note(SnapshotRefusal refusal, unsigned slot) {
    if (refusal != SnapshotRefusal::kEmpty)
        refuse(refusal, FixedString<8>::formatted("slot {:c}", name_of_slot(slot)));
    if (why_ == SnapshotRefusal::kNone || why_ == SnapshotRefusal::kEmpty) why_ = refusal;
}

Result<void> SnapshotStore::write_mark(uint32_t unclean, uint32_t boots) {
    Slot& slot = slots_[loaded_];
    slot.mark.unclean = unclean;
    slot.mark.boots = boots;
    seal(slot.mark);
    TRY(slot.file->write(kMarkOffset, bytes_of(slot.mark)));
    return slot.file->flush();
}

Result<void> SnapshotStore::mark_started() {
    if (loaded_ < 0) return {};
    const BootMark& mark = slots_[loaded_].mark;
    return write_mark(mark.unclean + 1, mark.boots + 1);
}

Result<void> SnapshotStore::mark_finished() {
    if (loaded_ < 0 || slots_[loaded_].mark.unclean == 0) return {};
    return write_mark(0, slots_[loaded_].mark.boots);
}

Result<unsigned> SnapshotStore::target() const {
    if (slots_[0].file == nullptr || slots_[1].file == nullptr)
        return Error::make(ErrorCode::kNotFound,
                           "a snapshot needs two files to be kept safely; one is missing");
    if (loaded_ >= 0) return 1u - static_cast<unsigned>(loaded_);
    return slots_[1].generation < slots_[0].generation ? 1u : 0u;
}

Result<void> SnapshotStore::write_and_compare(FixedFile& file, uint64_t offset, ByteSpan bytes) {
    constexpr size_t kPiece = 16 * 1024;
    TRY(file.write(offset, bytes));
    TRY(file.flush());
    const Buffer<uint8_t> back =
        TRY(Buffer<uint8_t>::make(allocator_, std::min(kPiece, bytes.size()), "snapshot"));
    for (size_t at = 0; at < bytes.size(); at += back.size()) {
        const auto piece = back.span().first(std::min(back.size(), bytes.size() - at));
        TRY(file.read(offset + at, piece));
        if (__builtin_memcmp(piece.data(), bytes.data() + at, piece.size()) != 0) {
            return Error::make(ErrorCode::kDevice,
                               "what was written at byte {} reads back differently; the disk is failing",
                               offset + at);
        }
    }
    return {};
}

Result<void> SnapshotStore::save(Header& header, ByteSpan payload) {
    ASSERT(payload.size() % kSectorBytes == 0 && payload.size() >= header.payload_bytes);
    // A disk that could not read a header then may read it now: what is there shall neither be lost nor stay the newest.
    for (Slot& slot : slots_) {
        if (slot.refusal == SnapshotRefusal::kDevice && slot.generation == 0) read_header(slot);
    }
    // Where neither can be read, which is the newer one is not known, and what is written could not be compared.
    if (slots_[0].refusal == SnapshotRefusal::kDevice && slots_[1].refusal == SnapshotRefusal::kDevice)
        return Error::make(ErrorCode::kDevice,
                           "neither slot could be read; nothing is written over what may be there");
    const unsigned number = TRY(target());
    Slot& slot = slots_[number];
    if (!fits(kPayloadOffset, payload.size(), slot.file->size())) {
        return Error::make(ErrorCode::kOutOfRange,
                           "a snapshot of {} bytes does not fit in slot {:c} of {}; make the disk anew with "
                           "files of {} bytes",
                           kPayloadOffset + payload.size(), name_of_slot(number), slot.file->size(),
                           kLargestSlot);
    }
    header.generation = std::max(slots_[0].generation, slots_[1].generation) + 1;
    seal(header);
    TRY(write_and_compare(*slot.file, kPayloadOffset, payload));
    TRY(write_and_compare(*slot.file, kHeaderOffset, bytes_of(header)));
    slot.header = header;
    slot.generation = header.generation;
    slot.mark = read_mark({}, header);
    loaded_ = static_cast<int>(number);
    return {};
}

}  // namespace bareflow
