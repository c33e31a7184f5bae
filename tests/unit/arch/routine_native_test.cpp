// A native boot: routines from a segment that an earlier boot's snapshot filled, and what happens where they cannot be used.
#include "arch/routine_native.h"

#include <gmock/gmock.h>
#include <sys/mman.h>

#include "arch/base/crc32c.h"
#include "arch/boot_main.h"
#include "persist/tools/snapshot_file.h"
#include "tests/unit/arch/test_platform.h"
#include "tests/unit/persist/memory_file.h"

namespace bareflow {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

constexpr size_t kSlotBytes = 512 * 1024;

/// A segment that can be run.
struct Executable {
    Executable()
        : bytes(static_cast<uint8_t*>(mmap(nullptr, kNativeCapacity, PROT_READ | PROT_WRITE | PROT_EXEC,
                                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)),
                kNativeCapacity) {
        const NativeHeader header{
            .magic = kNativeMagic, .version = kNativeVersion, .capacity = kNativeCapacity};
        std::memcpy(bytes.data(), &header, sizeof header);
    }
    Executable(const Executable&) = delete;
    ~Executable() { munmap(bytes.data(), bytes.size()); }
    NativeHeader& header() { return *reinterpret_cast<NativeHeader*>(bytes.data()); }
    void seal() { header().header_crc32c = crc32c({bytes.data(), offsetof(NativeHeader, header_crc32c)}); }
    std::span<uint8_t> bytes;
};

struct NativePlatform final : testing::TestPlatform {
    NativePlatform() { features = cpu_detect_features(HostCpuid()); }
    Cores start_cores(unsigned wanted) override {
        Workers& workers = threads.start(wanted);
        return {wanted, workers.count(), workers.count() > 1 ? &workers : nullptr};
    }
    FixedFile* snapshot_slot(unsigned index) override { return &slots[index]; }
    ByteSpan build_id() const override { return build; }
    ByteSpan native_segment() const override { return segment; }

    testing::DiskRecord record;
    testing::MemoryFile slots[2] = {{record, kSlotBytes}, {record, kSlotBytes}};
    Threads threads;
    uint8_t build[20] = {1, 2, 3};
    ByteSpan segment;
};

/// One boot of the default model.
struct NativeBoot {
    NativeBoot() {
        platform.fake_terminal.person = false;
        options.sampling.temperature = 0;
        options.threads = 1;
        options.max_tokens = 12;
        options.set("prompt", "Tom and Lily").take();
    }
    std::string run() {
        NativeService routines;
        Result<void> done = boot_with(routines, platform, options, {&image, 1});
        EXPECT_TRUE(done.ok()) << done.error().message();
        return platform.fake_terminal.output;
    }
    std::string last(const char* event) const { return platform.lines.last(event); }

    NativePlatform platform;
    Options options;
    ModelImage image = testing::default_image();
};

class NativeBootTest : public ::testing::Test {
 protected:
    NativeBootTest() {
        NativeBoot full;
        EXPECT_TRUE(boot_main(full.platform, full.options, {&full.image, 1}).ok());
        story_ = full.platform.fake_terminal.output;
        const testing::MemoryFile& slot = full.platform.slots[0];
        std::memcpy(&header_, slot.bytes.data(), sizeof header_);
        SnapshotView view;
        EXPECT_EQ(view.open(header_, {slot.bytes.data() + snapshot::kPayloadOffset, header_.payload_bytes}),
                  SnapshotRefusal::kNone);
        routines_ = fill_native_segment(segment_.bytes, view).take().routines;
    }
    /// A boot whose routines are refused still writes the story: the class is the same, and so is every bit.
    void expect_refused(NativeBoot& boot, const std::string& reason) {
        boot.platform.segment = segment_.bytes;
        EXPECT_EQ(boot.run(), story_) << reason;
        EXPECT_THAT(boot.last("native_refused"), HasSubstr("reason=" + reason));
        EXPECT_THAT(boot.last("routines"), HasSubstr("restored=0"));
        EXPECT_THAT(boot.platform.lines.lines, Not(Contains(StartsWith("native "))));
    }
    Executable segment_;
    snapshot::Header header_;
    std::string story_;
    uint32_t routines_ = 0;
};

TEST_F(NativeBootTest, WritesWhatTheFullBootWroteWithItsRoutines) {
    NativeBoot boot;
    boot.platform.segment = segment_.bytes;
    EXPECT_EQ(boot.run(), story_);
    EXPECT_GE(routines_, 5u);
    const std::string routines = std::to_string(routines_);
    EXPECT_THAT(boot.last("native"), HasSubstr("routines=" + routines));
    EXPECT_THAT(boot.last("native"), HasSubstr("cores=1 missing=0"));
    EXPECT_THAT(boot.last("routines"), HasSubstr("compiled=0 restored=" + routines));
    EXPECT_THAT(boot.platform.lines.lines, Not(Contains(StartsWith("native_refused"))));
    EXPECT_EQ(boot.platform.fake_allocator.live, 0u);
    EXPECT_EQ(boot.platform.directory, nullptr) << "of a table that is gone";
}

// A prompt's blocks have no routines here, since they never got hot: their rows go one by one.
TEST_F(NativeBootTest, AnswersShapesThatTheSnapshotDidNotMeet) {
    const std::string prompt =
        "Once upon a time there was a little girl who lived in a house near the forest with her mother and "
        "her father and a small brown dog that liked to run and jump and play all day";
    const auto lengthen = [&](NativeBoot& boot) { boot.options.set("prompt", prompt).take(); };
    NativeBoot full, native;
    lengthen(full);
    lengthen(native);
    ASSERT_TRUE(boot_main(full.platform, full.options, {&full.image, 1}).ok());
    native.platform.segment = segment_.bytes;
    EXPECT_EQ(native.run(), full.platform.fake_terminal.output);
}

TEST_F(NativeBootTest, MoreCoresThanTheRoutinesWereMadeForAreLeftOut) {
    NativeBoot boot;
    boot.options.threads = 3;
    boot.platform.segment = segment_.bytes;
    EXPECT_EQ(boot.run(), story_);
    EXPECT_THAT(boot.last("native"), HasSubstr("missing=0"));
}

TEST_F(NativeBootTest, WithoutRoutinesTheReferenceWritesTheSameAndTheLogSaysWhy) {
    NativeBoot features;
    features.platform.features.avx2 = features.platform.features.avx512f = false;
    features.platform.features.sse2 = false;
    expect_refused(features, "features");

    NativeBoot build;
    build.platform.build[19] = 9;
    expect_refused(build, "build");

    NativeBoot options;
    options.options.jit = false;
    expect_refused(options, "options");

    segment_.header().model_crc32c ^= 1;
    segment_.seal();
    NativeBoot model;
    expect_refused(model, "model");

    segment_.header().abi_version = 99;
    segment_.seal();
    NativeBoot abi;
    expect_refused(abi, "abi");

    segment_.bytes[segment_.header().bytes - 1] ^= 1;
    NativeBoot damaged;
    expect_refused(damaged, "payload_crc");

    clear_native_segment(segment_.bytes);
    NativeBoot empty;
    expect_refused(empty, "empty");
}

TEST_F(NativeBootTest, AnotherNumericClassThanTheRoutinesIsAnsweredByItsReference) {
    const bool fma = header_.numerics == NumericClass::kFma;
    NativeBoot full, native;
    for (NativeBoot* boot : {&full, &native})
        boot->options.numerics = fma ? NumericsChoice::kMulAdd : NumericsChoice::kFma;
    if (!fma) GTEST_SKIP() << "this CPU has no FMA";
    ASSERT_TRUE(boot_main(full.platform, full.options, {&full.image, 1}).ok());
    native.platform.segment = segment_.bytes;
    EXPECT_EQ(native.run(), full.platform.fake_terminal.output);
    EXPECT_THAT(native.last("native_refused"), HasSubstr("reason=numerics"));
}

TEST_F(NativeBootTest, FindsEachRoutineByItsKeyAndNamesItsAddresses) {
    NativeRoutines routines;
    ASSERT_EQ(routines.open(segment_.bytes), SnapshotRefusal::kNone);
    NativeSegment segment;
    ASSERT_EQ(segment.open(segment_.bytes), SnapshotRefusal::kNone);
    for (uint32_t i = 0; i < segment.count(); ++i) {
        const NativeEntry entry = segment.entry(i);
        const auto code = reinterpret_cast<uintptr_t>(segment.code(entry).data());
        EXPECT_EQ(reinterpret_cast<uintptr_t>(routines.find(entry.key)), code);
        FixedString<96> name;
        uint64_t offset = 0;
        ASSERT_TRUE(routines.find_code(code + 3, name, offset));
        EXPECT_EQ(std::string(name.view()), "native routine " + std::to_string(i));
        EXPECT_EQ(offset, 3u);
        RoutineKey other = entry.key;
        other.n += 7;
        EXPECT_EQ(routines.find(other), nullptr);
        EXPECT_EQ(routines.make_if_hot(other, nullptr).routine, nullptr);
    }
    FixedString<96> name;
    uint64_t offset = 0;
    EXPECT_FALSE(routines.find_code(reinterpret_cast<uintptr_t>(&segment), name, offset));
    routines.close();
    EXPECT_EQ(routines.find(segment.entry(0).key), nullptr);
}

}  // namespace
}  // namespace bareflow
