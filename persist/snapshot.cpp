#include "persist/snapshot.h"

#include "arch/base/crc32c.h"

namespace bareflow {
namespace {

using snapshot::Header;

bool is_zero(ByteSpan bytes) {
    for (const uint8_t byte : bytes) {
        if (byte != 0) return false;
    }
    return true;
}
template <typename T, size_t count>
bool is_one_of(T value, const T (&all)[count]) {
    for (const T each : all) {
        if (each == value) return true;
    }
    return false;
}

bool lengths_fit(const Header& header, uint64_t slot_bytes) {
    using namespace snapshot;
    if (header.boot_records > kMaxBoots || header.plans > kMaxPlans || header.profiles > kMaxProfiles ||
        header.routines > kMaxRoutines || header.code_bytes > kMaxCodeBytes)
        return false;
    const uint64_t payload =
        payload_size(header.boot_records, header.plans, header.profiles, header.routines, header.code_bytes);
    return header.payload_bytes == payload && fits(kPayloadOffset, payload, slot_bytes);
}

}  // namespace

SnapshotRefusal check_header(ByteSpan sector, uint64_t slot_bytes) {
    using enum SnapshotRefusal;
    if (sector.size() != sizeof(Header)) return kLength;
    if (is_zero(sector)) return kEmpty;
    Header header;
    __builtin_memcpy(&header, sector.data(), sizeof header);
    if (header.magic != snapshot::kMagic) return kMagic;
    if (header.version != snapshot::kFormatVersion) return kFormatVersion;
    if (header.header_crc32c != crc32c(sector.first(offsetof(Header, header_crc32c)))) return kHeaderCrc;
    const bool known = is_one_of(header.numerics, kNumericClasses) && is_one_of(header.stage, kStages) &&
                       is_one_of(header.quantised_isa, kIsas);
    if (!known || header.reserved0 != 0 || header.reserved1 != 0 || header.generation == 0 ||
        header.generation > snapshot::kMaxGeneration || !is_zero(header.reserved))
        return kReserved;
    return lengths_fit(header, slot_bytes) ? kNone : kLength;
}

SnapshotRefusal check_identity(const Header& header, const SnapshotIdentity& wanted) {
    using enum SnapshotRefusal;
    if (header.build_id != wanted.build) return kBuild;
    if (header.emitter_version != wanted.emitter_version) return kEmitter;
    if (header.abi_version != wanted.abi_version) return kAbi;
    if ((header.required_features & ~wanted.features) != 0) return kFeatures;
    if (header.model_bytes != wanted.model_bytes || header.model_crc32c != wanted.model_crc32c) return kModel;
    return header.numerics == wanted.numerics ? kNone : kNumerics;
}

bool is_sound(const RoutineKey& key) {
    constexpr Epilogue kEpilogues[] = {Epilogue::kStore, Epilogue::kAdd, Epilogue::kArgmax};
    constexpr Layout kLayouts[] = {Layout::kRowMajor, Layout::kPanels16};
    const bool known = key.operation >= Operation::kProject && key.operation <= Operation::kQuantiseWords &&
                       is_one_of(key.numerics, kNumericClasses) && is_one_of(key.isa, kIsas) &&
                       is_one_of(key.epilogue, kEpilogues) && is_one_of(key.type, kElementTypes) &&
                       is_one_of(key.layout, kLayouts);
    if (!known) return false;
    // A name has the fields that the operation uses, and no others.
    const Result<RoutineKey> named = parse_key(name_of(key));
    return named.ok() && named.value() == key;
}

bool is_sound(const Plan& plan, const RoutineKey& key) {
    const unsigned widest = has_evex(key.isa) ? 64 : has_vex(key.isa) ? 32 : 16;
    const bool width = plan.vector_bytes == 16 || plan.vector_bytes == 32 || plan.vector_bytes == 64;
    return width && plan.vector_bytes <= widest && plan.reserved == 0;
}

snapshot::BootMark read_mark(ByteSpan sector, const Header& header) {
    using snapshot::BootMark;
    BootMark mark{};
    if (sector.size() == sizeof mark) __builtin_memcpy(&mark, sector.data(), sizeof mark);
    const bool whole = sector.size() == sizeof mark && mark.magic == snapshot::kMarkMagic &&
                       mark.crc32c == crc32c(sector.first(offsetof(BootMark, crc32c)));
    if (whole && mark.generation == header.generation && mark.header_crc32c == header.header_crc32c)
        return mark;
    mark = {};
    mark.magic = snapshot::kMarkMagic;
    mark.generation = header.generation;
    mark.header_crc32c = header.header_crc32c;
    return mark;
}

SnapshotRefusal SnapshotView::open(const Header& header, ByteSpan payload) {
    if (payload.size() != header.payload_bytes || !lengths_fit(header, UINT64_MAX))
        return SnapshotRefusal::kLength;
    if (crc32c(payload) != header.payload_crc32c) return SnapshotRefusal::kPayloadCrc;
    header_ = header;
    ByteReader reader(payload);
    totals_ = reader.read<snapshot::HistoryTotals>();
    boots_ = reader.take(header.boot_records * sizeof(snapshot::StoredBoot));
    plans_ = reader.take(header.plans * sizeof(snapshot::StoredPlan));
    profiles_ = reader.take(header.profiles * sizeof(snapshot::StoredProfile));
    routines_ = reader.take(header.routines * sizeof(snapshot::StoredRoutine));
    code_ = reader.take(header.code_bytes);
    return reader.ok() && reader.left() == 0 ? SnapshotRefusal::kNone : SnapshotRefusal::kLength;
}

SnapshotRefusal SnapshotView::check(const snapshot::StoredRoutine& routine, uint64_t features) const {
    using enum SnapshotRefusal;
    if (!is_sound(routine.key)) return kKey;
    if (!is_sound(routine.plan, routine.key)) return kPlan;
    if (routine.state > snapshot::RoutineState::kQuarantined) return kVerdict;
    if (!is_zero(routine.reserved)) return kReserved;
    const uint64_t needed = routine.required_features;
    if ((needed & ~features) != 0 || (needed & ~header_.required_features) != 0) return kFeatures;
    const bool has_code = routine.state == snapshot::RoutineState::kInstalled;
    if (has_code != (routine.code_bytes != 0) || routine.code_bytes > snapshot::kMaxRoutineBytes ||
        !fits(routine.code_offset, routine.code_bytes, code_.size()))
        return kCodeLength;
    return crc32c(code(routine)) == routine.code_crc32c ? kNone : kCodeCrc;
}

SnapshotRefusal SnapshotView::check(const snapshot::StoredPlan& plan, const RoutineKey& sound) const {
    using enum SnapshotRefusal;
    const bool known = sound.operation != Operation{} && plan.key == sound;
    if (!known && !is_sound(plan.key)) return kKey;
    if (!is_sound(plan.plan, plan.key)) return kPlan;
    if (plan.verdict == 0 || plan.verdict > snapshot::kMaxVerdict) return kVerdict;
    return is_zero(plan.reserved) ? kNone : kReserved;
}

SnapshotRefusal SnapshotView::check(const snapshot::StoredProfile& profile) const {
    using enum SnapshotRefusal;
    const bool known = profile.operation >= Operation::kProject &&
                       profile.operation <= Operation::kQuantiseWords &&
                       is_one_of(profile.type, kElementTypes) && profile.phase <= Phase::kGeneration;
    if (!known) return kKey;
    return profile.reserved == 0 && profile.reserved1 == 0 ? kNone : kReserved;
}

}  // namespace bareflow
