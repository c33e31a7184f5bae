// libFuzzer, target 4: the snapshot reader. The input says what is changed in a slot that is in order, and which CRCs are made
// right again afterwards, so that what lies behind them is reached. Then the slot is read as a boot does, down to the emitter.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "arch/base/crc32c.h"
#include "emitter/routine_emitter.h"
#include "emitter/routine_maker.h"
#include "persist/snapshot_store.h"
#include "persist/snapshot_writer.h"
#include "tests/unit/persist/memory_file.h"
#include "tests/unit/persist/sample_snapshot.h"

namespace {

using namespace bareflow;
using namespace bareflow::snapshot;

unsigned long long runs = 0, loaded = 0, entries = 0, sound = 0, emitted = 0;

void report() {
    std::fprintf(stderr,
                 "fuzz_snapshot: %llu slots, %llu loaded; %llu entries, %llu accepted, %llu emitted\n", runs,
                 loaded, entries, sound, emitted);
}
[[noreturn]] void wrong(const char* what) {
    std::fprintf(stderr, "%s\n", what);
    std::abort();
}

/// A slot with a routine of each operation.
const std::vector<uint8_t>& good_slot() {
    static const std::vector<uint8_t> slot = [] {
        testing::SampleSnapshot sample;
        std::vector<std::vector<uint8_t>> codes;
        for (const OperationNaming& naming : operation_namings()) {
            const RoutineKey key = parse_key(naming.example).take();
            std::vector<uint8_t> code(kMaxRoutineBytes);
            const Plan plan = default_plan(key);
            code.resize(tiny_maker().make(key, plan, code).take());
            codes.push_back(std::move(code));
            StoredRoutine routine;
            routine.key = key;
            routine.plan = plan;
            routine.required_features = 3;
            sample.routines.push_back(routine);
        }
        for (const auto& code : codes) sample.codes.push_back(code);
        const Buffer<uint8_t> payload = sample.write();
        sample.header.generation = 9;
        seal(sample.header);
        std::vector<uint8_t> bytes(kPayloadOffset + payload.size() + 4096);
        std::memcpy(bytes.data(), &sample.header, sizeof sample.header);
        std::memcpy(bytes.data() + kPayloadOffset, payload.data(), payload.size());
        return bytes;
    }();
    return slot;
}

class Input {
 public:
    Input(const uint8_t* data, size_t size) : reader_({data, size}) {}
    bool more() const { return reader_.left() != 0; }
    template <typename T>
    T next() {
        T value{};
        const ByteSpan bytes = reader_.take(std::min<uint64_t>(sizeof value, reader_.left()));
        std::memcpy(&value, bytes.data(), bytes.size());
        return value;
    }

 private:
    ByteReader reader_;
};

/// Changes 1, 2, 4 or 8 bytes at places of the header, the mark, and the payload without most of its code.
void change(std::vector<uint8_t>& slot, Input& input) {
    constexpr size_t kSmallEnd = 4096;  // of the payload
    while (input.more()) {
        const auto where = input.next<uint16_t>();
        const auto kind = input.next<uint8_t>();
        const size_t width = size_t{1} << (kind & 3);
        const size_t base = (kind & 0xC) == 0 ? 0 : (kind & 0xC) == 4 ? kMarkOffset : kPayloadOffset;
        const size_t span = base == kPayloadOffset ? kSmallEnd : kSectorBytes;
        const size_t at = base + where % (span - 8);
        const auto value = input.next<uint64_t>();
        if (at + width <= slot.size()) std::memcpy(slot.data() + at, &value, width);
    }
}

enum : uint8_t { kFixLength = 1, kFixCodes = 2, kFixPayload = 4, kFixHeader = 8, kFixMark = 16 };

void fix(std::vector<uint8_t>& slot, uint8_t what) {
    Header header;
    std::memcpy(&header, slot.data(), sizeof header);
    const uint64_t room = slot.size() - kPayloadOffset;
    if ((what & kFixLength) != 0) {
        const uint64_t arrays =
            payload_size(header.boot_records, header.plans, header.profiles, header.routines, 0);
        if (arrays <= room) {
            header.code_bytes = static_cast<uint32_t>(std::min<uint64_t>(header.code_bytes, room - arrays));
            header.payload_bytes = arrays + header.code_bytes;
        }
    }
    const uint64_t payload = std::min(header.payload_bytes, room);
    uint8_t* const bytes = slot.data() + kPayloadOffset;
    const uint64_t end = payload_size(header.boot_records, header.plans, header.profiles, header.routines, 0);
    for (uint32_t i = 0; (what & kFixCodes) != 0 && end <= payload && i < header.routines; ++i) {
        uint8_t* const at = bytes + end - (header.routines - i) * sizeof(StoredRoutine);
        StoredRoutine routine;
        std::memcpy(&routine, at, sizeof routine);
        if (!fits(routine.code_offset, routine.code_bytes, payload - end)) continue;
        routine.code_crc32c = crc32c({bytes + end + routine.code_offset, routine.code_bytes});
        std::memcpy(at, &routine, sizeof routine);
    }
    if ((what & kFixPayload) != 0) header.payload_crc32c = crc32c({bytes, payload});
    if ((what & kFixHeader) != 0) seal(header);
    std::memcpy(slot.data(), &header, sizeof header);
    if ((what & kFixMark) == 0) return;
    BootMark mark;
    std::memcpy(&mark, slot.data() + kMarkOffset, sizeof mark);
    mark.magic = kMarkMagic;
    mark.generation = header.generation;
    mark.header_crc32c = header.header_crc32c;
    seal(mark);
    std::memcpy(slot.data() + kMarkOffset, &mark, sizeof mark);
}

/// What a boot does with an entry that was accepted.
void use(const RoutineKey& key, const Plan& plan) {
    ++sound;
    if (name_of(key).empty() || !can_emit(key) || !(complete_plan(key, plan) == plan)) return;
    static std::vector<uint8_t> room(kMaxRoutineBytes);
    const Result<size_t> size = tiny_maker().make(key, plan, room);
    if (size.ok() && size.value() > room.size()) wrong("emitted beyond its room");
    ++emitted;
}

void use(const SnapshotView& view) {
    uint64_t sum = view.totals().boots;
    for (uint32_t i = 0; i < view.boots(); ++i) sum += view.boot(i).boot;
    for (uint32_t i = 0; i < view.profiles(); ++i) sum += static_cast<uint64_t>(view.check(view.profile(i)));
    for (uint32_t i = 0; i < view.plans(); ++i) {
        ++entries;
        const StoredPlan plan = view.plan(i);
        if (view.check(plan) == SnapshotRefusal::kNone) use(plan.key, plan.plan);
    }
    for (uint32_t i = 0; i < view.routines(); ++i) {
        ++entries;
        const StoredRoutine routine = view.routine(i);
        if (view.check(routine, 0b1111) != SnapshotRefusal::kNone) continue;
        for (const uint8_t byte : view.code(routine)) sum += byte;
        use(routine.key, routine.plan);
    }
    asm volatile("" : : "r"(sum));  // all of it was read
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const int registered = std::atexit(report);
    (void)registered;
    ++runs;
    Input input(data, size);
    const auto fixes = input.next<uint8_t>();
    std::vector<uint8_t> slot = good_slot();
    change(slot, input);
    fix(slot, fixes);

    testing::DiskRecord disk;
    testing::MemoryFile a(disk, 0), b(disk, good_slot().size());
    a.bytes = std::move(slot);
    testing::Lines log;
    StdAllocator allocator;
    const SnapshotIdentity identity = testing::sample_identity();
    SnapshotStore store(&a, &b, log, allocator);
    if (const SnapshotView* view = store.load(identity); view != nullptr) {
        ++loaded;
        use(*view);
    }
    // Whatever was there, this boot can leave something that the next one finds; but beside a generation that is the last.
    if (!store.mark_started().ok()) wrong("the mark could not be written");
    testing::SampleSnapshot sample(77);
    const Buffer<uint8_t> payload = sample.write();
    store.release();
    if (!store.save(sample.header, payload.span()).ok()) wrong("nothing could be saved");
    if (sample.header.generation > kMaxGeneration) return 0;
    SnapshotStore next(&a, &b, log, allocator);
    const SnapshotView* view = next.load(identity);
    if (view == nullptr || view->code(view->routine(0))[0] != 77) wrong("what was saved is not found");
    return 0;
}
