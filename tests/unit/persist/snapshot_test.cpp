// Reading snapshots: what was written comes back, and each way in which it can be wrong has its own reason.
#include "persist/snapshot.h"

#include <gmock/gmock.h>

#include <functional>
#include <random>
#include <set>

#include "tests/unit/persist/sample_snapshot.h"

namespace bareflow {
namespace {

using namespace snapshot;
using enum SnapshotRefusal;
using testing::SampleSnapshot;
constexpr uint64_t kSlot = 64 * 1024;

ByteSpan bytes_of(const Header& header) { return {reinterpret_cast<const uint8_t*>(&header), sizeof header}; }
Header sealed_header() {
    SampleSnapshot sample;
    sample.write();
    sample.header.generation = 5;
    seal(sample.header);
    return sample.header;
}

TEST(Snapshot, ComesBackAsItWasWritten) {
    SampleSnapshot sample;
    SnapshotView view;
    Buffer<uint8_t> payload;
    ASSERT_EQ(sample.open(view, payload), kNone);
    EXPECT_EQ(payload.size() % kSectorBytes, 0u);
    EXPECT_EQ(view.totals().boots, 7u);
    ASSERT_EQ(view.boots(), 3u);
    EXPECT_EQ(view.boot(1).restored, 7u);
    ASSERT_EQ(view.plans(), 2u);
    EXPECT_EQ(view.plan(1).median_ns, 130u);
    EXPECT_TRUE(view.plan(0).key == sample.plans[0].key);
    ASSERT_EQ(view.profiles(), 1u);
    EXPECT_EQ(view.profile(0).call_count, 9u);
    ASSERT_EQ(view.routines(), 2u);
    EXPECT_TRUE(view.routine(0).plan == sample.routines[0].plan);
    const ByteSpan code = view.code(view.routine(0));
    EXPECT_EQ(std::vector<uint8_t>(code.begin(), code.end()), sample.code);
    EXPECT_EQ(view.header().required_features, 3u) << "of all routines";
    for (uint32_t i = 0; i < 2; ++i) {
        EXPECT_EQ(view.check(view.routine(i), 0b1111), kNone) << i;
        EXPECT_EQ(view.check(view.plan(i)), kNone) << i;
    }
    EXPECT_EQ(view.check(view.profile(0)), kNone);
}

TEST(Snapshot, EachWrongFieldOfAHeaderHasItsReason) {
    const Header good = sealed_header();
    ASSERT_EQ(check_header(bytes_of(good), kSlot), kNone);
    ASSERT_EQ(check_header(bytes_of(good), kPayloadOffset + good.payload_bytes), kNone);
    EXPECT_EQ(check_header(bytes_of(good), kPayloadOffset + good.payload_bytes - 1), kLength);
    EXPECT_EQ(check_header(bytes_of(Header{}), kSlot), kEmpty);
    EXPECT_EQ(check_header(bytes_of(good).first(511), kSlot), kLength);
    const struct {
        SnapshotRefusal reason;
        std::function<void(Header&)> damage;
    } cases[] = {
        {kMagic, [](Header& h) { ++h.magic; }},
        {kFormatVersion, [](Header& h) { ++h.version; }},
        {kReserved, [](Header& h) { h.generation = 0; }},
        {kReserved, [](Header& h) { h.generation = UINT64_MAX; }},
        {kReserved, [](Header& h) { h.reserved0 = 1; }},
        {kReserved, [](Header& h) { h.reserved1 = 1; }},
        {kReserved, [](Header& h) { h.reserved[391] = 1; }},
        {kReserved, [](Header& h) { h.numerics = NumericClass{2}; }},
        {kReserved, [](Header& h) { h.stage = Stage{3}; }},
        {kReserved, [](Header& h) { h.quantised_isa = Isa{8}; }},
        {kLength, [](Header& h) { ++h.payload_bytes; }},
        {kLength, [](Header& h) { h.payload_bytes = UINT64_MAX; }},
        {kLength, [](Header& h) { ++h.routines; }},
        {kLength, [](Header& h) { h.routines = UINT32_MAX; }},
        {kLength, [](Header& h) { h.code_bytes = UINT32_MAX; }},
        {kLength,
         [](Header& h) { h.plans = kMaxPlans + 1, h.payload_bytes += (kMaxPlans - 1) * sizeof(StoredPlan); }},
    };
    for (const auto& c : cases) {
        Header header = good;
        c.damage(header);
        seal(header);
        EXPECT_EQ(check_header(bytes_of(header), kSlot), c.reason) << &c - cases;
    }
    Header unsealed = good;
    ++unsealed.timestamp;
    EXPECT_EQ(check_header(bytes_of(unsealed), kSlot), kHeaderCrc);
    for (size_t byte = 0; byte < sizeof good; ++byte) {
        Header header = good;
        reinterpret_cast<uint8_t*>(&header)[byte] ^= 0x10;
        EXPECT_NE(check_header(bytes_of(header), kSlot), kNone) << byte;
    }
}

TEST(Snapshot, IsForOneBuildCpuAndModel) {
    Header header = sealed_header();
    const SnapshotIdentity good = testing::sample_identity();
    EXPECT_EQ(check_identity(header, good), kNone);
    const struct {
        SnapshotRefusal reason;
        std::function<void(SnapshotIdentity&)> change;
    } cases[] = {
        {kBuild, [](SnapshotIdentity& i) { i.build[19] ^= 1; }},
        {kEmitter, [](SnapshotIdentity& i) { ++i.emitter_version; }},
        {kAbi, [](SnapshotIdentity& i) { ++i.abi_version; }},
        {kFeatures, [](SnapshotIdentity& i) { i.features = 0b1101; }},
        {kModel, [](SnapshotIdentity& i) { ++i.model_bytes; }},
        {kModel, [](SnapshotIdentity& i) { ++i.model_crc32c; }},
        {kNumerics, [](SnapshotIdentity& i) { i.numerics = NumericClass::kMulAdd; }},
        {kNone,
         [](SnapshotIdentity& i) { i.features = ~uint64_t{0}; }},  // a CPU with more is no other machine
    };
    for (const auto& c : cases) {
        SnapshotIdentity identity = good;
        c.change(identity);
        EXPECT_EQ(check_identity(header, identity), c.reason) << &c - cases;
    }
}

TEST(Snapshot, EachWrongEntryHasItsReason) {
    const struct {
        SnapshotRefusal reason;
        std::function<void(StoredRoutine&)> damage;
    } cases[] = {
        {kKey, [](StoredRoutine& r) { r.key.operation = Operation{0}; }},
        {kKey, [](StoredRoutine& r) { r.key.operation = Operation{200}; }},
        {kKey, [](StoredRoutine& r) { r.key.isa = Isa{8}; }},
        {kKey, [](StoredRoutine& r) { r.key.type = ElementType{4}; }},
        {kKey, [](StoredRoutine& r) { r.key.layout = Layout{0xFFFFFFFF}; }},
        {kKey, [](StoredRoutine& r) { r.key.epilogue = Epilogue{3}; }},
        {kKey, [](StoredRoutine& r) { r.key.numerics = NumericClass{9}; }},
        {kKey, [](StoredRoutine& r) { r.key.kv_n = 1; }},  // a projection has none
        {kKey, [](StoredRoutine& r) { r.key.eps = 1; }},
        {kPlan, [](StoredRoutine& r) { r.plan.vector_bytes = 24; }},
        {kPlan, [](StoredRoutine& r) { r.plan.vector_bytes = 32; }},  // SSE2
        {kPlan, [](StoredRoutine& r) { r.plan.reserved = 1; }},
        {kVerdict, [](StoredRoutine& r) { r.state = RoutineState{3}; }},
        {kReserved, [](StoredRoutine& r) { r.reserved[6] = 1; }},
        {kFeatures, [](StoredRoutine& r) { r.required_features = 1 << 4; }},  // not this CPU's
        {kFeatures, [](StoredRoutine& r) { r.required_features = 1 << 3; }},  // not in the header
        {kCodeLength, [](StoredRoutine& r) { r.code_bytes = 101; }},
        {kCodeLength, [](StoredRoutine& r) { r.code_offset = 1; }},
        {kCodeLength, [](StoredRoutine& r) { r.code_offset = 0xFFFFFFFF; }},
        {kCodeLength, [](StoredRoutine& r) { r.code_bytes = 0xFFFFFFFF; }},
        {kCodeLength, [](StoredRoutine& r) { r.code_bytes = 0; }},
        {kCodeLength, [](StoredRoutine& r) { r.state = RoutineState::kSlower; }},
        {kCodeCrc, [](StoredRoutine& r) { ++r.code_crc32c; }},
        {kCodeCrc, [](StoredRoutine& r) { r.code_bytes = 99; }},
    };
    SampleSnapshot sample;
    SnapshotView view;
    Buffer<uint8_t> payload;
    ASSERT_EQ(sample.open(view, payload), kNone);
    for (const auto& c : cases) {
        StoredRoutine routine = view.routine(0);
        c.damage(routine);
        EXPECT_EQ(view.check(routine, 0b1111), c.reason) << &c - cases;
    }
    StoredPlan plan = view.plan(0);
    for (const uint8_t verdict : {0, 6, 255}) {
        plan.verdict = verdict;
        EXPECT_EQ(view.check(plan), kVerdict);
    }
    StoredProfile profile = view.profile(0);
    profile.phase = Phase{2};
    EXPECT_EQ(view.check(profile), kKey);
}

TEST(Snapshot, APayloadWithOneByteChangedIsRefused) {
    SampleSnapshot sample;
    const Buffer<uint8_t> payload = sample.write();
    const ByteSpan bytes(payload.data(), sample.header.payload_bytes);
    SnapshotView view;
    for (size_t i = 0; i < bytes.size(); ++i) {
        payload[i] ^= 0x40;
        EXPECT_EQ(view.open(sample.header, bytes), kPayloadCrc) << i;
        payload[i] ^= 0x40;
    }
    EXPECT_EQ(view.open(sample.header, bytes.first(bytes.size() - 1)), kLength);
    EXPECT_EQ(view.open(sample.header, bytes), kNone);
}

TEST(Snapshot, MoreThanTheFormatHoldsIsNotWritten) {
    SampleSnapshot sample;
    sample.boots.resize(kMaxBoots + 1);
    Result<Buffer<uint8_t>> written = write_payload(
        sample.header,
        {sample.totals, sample.boots, sample.plans, sample.profiles, sample.routines, sample.codes},
        sample.allocator);
    ASSERT_FALSE(written.ok());
    EXPECT_EQ(written.error().code(), ErrorCode::kOutOfRange);
    EXPECT_THAT(std::string(written.error().message()), ::testing::HasSubstr("65 boots"));
}

TEST(Snapshot, EveryReasonHasANameOfItsOwn) {
    std::set<std::string_view> names;
    for (size_t i = 0; i < kSnapshotRefusals; ++i) names.insert(name_of(static_cast<SnapshotRefusal>(i)));
    EXPECT_EQ(names.size(), kSnapshotRefusals);
}

}  // namespace
}  // namespace bareflow
