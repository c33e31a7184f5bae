// Boots of the default model one after another, with a disk in memory between them: what the second one finds, and what it
// does where it finds something wrong.
#include "arch/snapshot_keeper.h"

#include <gmock/gmock.h>

#include <random>

#include "arch/base/crc32c.h"
#include "arch/boot_main.h"
#include "emitter/routine_emitter.h"
#include "persist/snapshot_writer.h"
#include "tests/unit/arch/test_platform.h"
#include "tests/unit/persist/memory_file.h"

namespace bareflow {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Contains;
using testing::DiskRecord;
using ::testing::HasSubstr;
using testing::MemoryFile;
using ::testing::Not;
using ::testing::StartsWith;

constexpr size_t kSlotBytes = 512 * 1024;

/// What stays when the machine is switched off.
struct TestDisk {
    DiskRecord record;
    MemoryFile slots[2] = {{record, kSlotBytes}, {record, kSlotBytes}};
    bool present = true;
};

/// Time goes on by a tenth of a millisecond whenever somebody looks: the same boot takes the same time.
struct SteppingClock final : Clock {
    uint64_t now_ns() override { return now += 100'000; }
    uint64_t now = 0;
};

struct SnapshotPlatform final : testing::TestPlatform {
    explicit SnapshotPlatform(TestDisk& the_disk) : disk(the_disk) {
        features = cpu_detect_features(HostCpuid());
        fake_terminal.person = false;
        for (size_t i = 0; i < sizeof build; ++i) build[i] = static_cast<uint8_t>(i);
    }
    Clock& clock() override { return *used_clock; }
    FixedFile* snapshot_slot(unsigned index) override { return disk.present ? &disk.slots[index] : nullptr; }
    ByteSpan build_id() const override { return build; }
    uint64_t unix_seconds() override { return 1'700'000'000; }

    TestDisk& disk;
    HostClock host_clock;
    SteppingClock stepping_clock;
    Clock* used_clock = &fake_clock;
    uint8_t build[20];
};

/// One boot.
struct Boot {
    explicit Boot(TestDisk& disk) : platform(disk) {
        options.sampling.temperature = 0;
        options.threads = 1;
        options.max_tokens = 3;
        options.set("prompt", "Tom and Lily").take();
    }
    /// Runs it; the story.
    std::string run() {
        Result<void> done = boot_main(platform, options, {&image, 1});
        EXPECT_TRUE(done.ok()) << done.error().message();
        EXPECT_EQ(platform.fake_allocator.live, 0u);
        return platform.fake_terminal.output;
    }
    std::string last(const char* event) const { return platform.lines.last(event); }
    const std::vector<std::string>& lines() const { return platform.lines.lines; }

    SnapshotPlatform platform;
    Options options;
    ModelImage image = testing::default_image();
};

uint64_t number_in(const std::string& line, const std::string& field) {
    const size_t at = line.find(" " + field + "=");
    EXPECT_NE(at, std::string::npos) << field << " in " << line;
    return at == std::string::npos ? 0 : std::stoull(line.substr(at + field.size() + 2));
}

/// A disk on which one boot ended well, and its story.
struct OneBoot {
    OneBoot() : story(Boot(disk).run()) {}
    TestDisk disk;
    std::string story;
};

snapshot::Header& header_of(MemoryFile& slot) {
    return *reinterpret_cast<snapshot::Header*>(slot.bytes.data());
}
/// Makes all CRCs right again after a change.
void reseal(MemoryFile& slot) {
    snapshot::Header& header = header_of(slot);
    header.payload_crc32c = crc32c({slot.bytes.data() + snapshot::kPayloadOffset, header.payload_bytes});
    seal(header);
}
/// The entry in the slot, to be changed.
snapshot::StoredRoutine& routine_of(MemoryFile& slot, uint32_t index) {
    const snapshot::Header& header = header_of(slot);
    const uint64_t at = snapshot::kPayloadOffset +
                        snapshot::payload_size(header.boot_records, header.plans, header.profiles, index, 0);
    return *reinterpret_cast<snapshot::StoredRoutine*>(slot.bytes.data() + at);
}

TEST(SnapshotKeeper, TheSecondBootCompilesNothingAndWritesTheSame) {
    TestDisk disk;
    Boot first(disk);
    const std::string story = first.run();
    EXPECT_THAT(first.last("snapshot"), HasSubstr("start=cold reason=empty"));
    EXPECT_THAT(first.last("boot"), HasSubstr("boot boot=1 restored=0 compiled="));
    EXPECT_THAT(first.last("boot"), HasSubstr(" refused=0 "));
    const uint64_t compiled = number_in(first.last("boot"), "compiled");
    EXPECT_GE(compiled, 5u);
    EXPECT_THAT(first.last("snapshot_saved"), HasSubstr("slot=a generation=1"));

    for (uint32_t i = 2; i < 5; ++i) {
        Boot next(disk);
        EXPECT_EQ(next.run(), story);
        EXPECT_THAT(next.last("snapshot"), HasSubstr("start=warm"));
        EXPECT_EQ(number_in(next.last("boot"), "boot"), i);
        EXPECT_EQ(number_in(next.last("boot"), "restored"), compiled);
        EXPECT_EQ(number_in(next.last("boot"), "compiled"), 0u);
        EXPECT_EQ(number_in(next.last("boot"), "refused"), 0u);
        EXPECT_THAT(next.lines(), Not(Contains(StartsWith("snapshot_refused"))));
        EXPECT_THAT(next.last("routines"), HasSubstr("compiled=0 restored=" + std::to_string(compiled)));
    }
}

TEST(SnapshotKeeper, WithoutADiskEverythingIsAsItWas) {
    TestDisk disk;
    disk.present = false;
    Boot boot(disk);
    EXPECT_EQ(boot.run(), OneBoot().story);
    EXPECT_EQ(boot.last("snapshot") + boot.last("boot") + boot.last("snapshot_saved"), "");
}

TEST(SnapshotKeeper, AnotherModelBuildOrCpuIsAColdStartWithItsReason) {
    OneBoot was;
    const auto check = [&](std::string_view reason, auto change) {
        TestDisk disk;
        for (int i = 0; i < 2; ++i) disk.slots[i].bytes = was.disk.slots[i].bytes;
        Boot cold_disk(disk);
        disk.present = false;
        change(cold_disk);
        const std::string wanted = cold_disk.run();
        disk.present = true;
        Boot boot(disk);
        change(boot);
        EXPECT_EQ(boot.run(), wanted) << reason;
        EXPECT_THAT(boot.lines(), Contains(HasSubstr("snapshot_refused reason=" + std::string(reason))));
        EXPECT_THAT(boot.last("snapshot"), HasSubstr("start=cold reason=" + std::string(reason)));
        EXPECT_EQ(number_in(boot.last("boot"), "restored"), 0u) << reason;
        EXPECT_EQ(number_in(boot.last("boot"), "boot"), 1u) << reason;
        // What was refused is still there, beside what this boot has saved.
        Boot back(disk);
        EXPECT_EQ(back.run(), was.story);
        EXPECT_EQ(number_in(back.last("boot"), "compiled"), 0u) << reason;
    };
    check("build", [](Boot& boot) { boot.platform.build[3] ^= 1; });
    if (Boot(was.disk).platform.features.fma)
        check("numerics", [](Boot& boot) { boot.options.numerics = NumericsChoice::kMulAdd; });
    check("features", [](Boot& boot) {
        boot.platform.features = {};
        boot.platform.features.sse2 = boot.platform.features.ssse3 = true;
    });
    // The same model with another context length: each of its bytes counts.
    const ByteSpan model = testing::default_model();
    static std::vector<uint8_t> storage(model.size() + 64);
    uint8_t* const copy = storage.data() + (64 - reinterpret_cast<uintptr_t>(storage.data()) % 64) % 64;
    std::memcpy(copy, model.data(), model.size());
    auto& header = *reinterpret_cast<wllm::WeightHeader*>(copy);
    --header.context_length;
    header.header_crc32c = crc32c({copy, offsetof(wllm::WeightHeader, header_crc32c)});
    check("model", [&](Boot& boot) { boot.image.image = {copy, model.size()}; });
}

TEST(SnapshotKeeper, ARoutineThatTheEmitterMakesDifferentlyIsCompiledInstead) {
    OneBoot was;
    MemoryFile& slot = was.disk.slots[0];
    snapshot::Header& header = header_of(slot);
    const uint64_t code = snapshot::kPayloadOffset + header.payload_bytes - header.code_bytes;
    snapshot::StoredRoutine& routine = routine_of(slot, 1);
    ASSERT_EQ(routine.state, snapshot::RoutineState::kInstalled);
    const std::string name(name_of(routine.key).view());
    slot.bytes[code + routine.code_offset] = 0xCC;  // what would stop the process if it ran
    routine.code_crc32c = crc32c({slot.bytes.data() + code + routine.code_offset, routine.code_bytes});
    reseal(slot);
    Boot boot(was.disk);
    EXPECT_EQ(boot.run(), was.story);
    EXPECT_THAT(boot.lines(), Contains("snapshot_refused reason=code_differs what=" + name + "\n"));
    EXPECT_EQ(number_in(boot.last("boot"), "compiled"), 1u);
    EXPECT_EQ(number_in(boot.last("boot"), "refused"), 1u);
}

TEST(SnapshotKeeper, AnEntryThatDoesNotFitIsRefusedAloneWithItsReason) {
    const struct {
        std::string_view reason;
        std::function<void(snapshot::StoredRoutine&)> damage;
        uint64_t compiled;
    } cases[] = {
        {"key", [](auto& r) { r.key.isa = Isa{77}; }, 1},
        {"key", [](auto& r) { r.key.operation = Operation{0}; }, 1},
        {"shape",
         [](auto& r) { r.key = parse_key("softmax_40000_muladd_sse2").take(), r.plan.vector_bytes = 16; }, 1},
        {"plan", [](auto& r) { r.plan.panels = 200; }, 1},
        {"plan", [](auto& r) { r.plan.vector_bytes = 0; }, 1},
        {"verdict", [](auto& r) { r.state = snapshot::RoutineState{9}; }, 1},
        {"code_length", [](auto& r) { r.code_bytes += 1 << 20; }, 1},
        {"code_crc", [](auto& r) { r.code_crc32c ^= 1; }, 1},
        {"features", [](auto& r) { r.required_features = uint64_t{1} << 63; }, 1},
    };
    for (const auto& c : cases) {
        OneBoot was;
        MemoryFile& slot = was.disk.slots[0];
        c.damage(routine_of(slot, 1));
        reseal(slot);
        Boot boot(was.disk);
        EXPECT_EQ(boot.run(), was.story) << c.reason;
        EXPECT_THAT(boot.last("snapshot_refused"), HasSubstr("reason=" + std::string(c.reason)))
            << &c - cases;
        EXPECT_EQ(number_in(boot.last("boot"), "compiled"), c.compiled) << c.reason;
        EXPECT_EQ(number_in(boot.last("boot"), "refused"), 1u) << c.reason;
    }
}

TEST(SnapshotKeeper, WhatWasSlowerOrInQuarantineStaysSoWithoutBeingMadeAgain) {
    OneBoot was;
    MemoryFile& slot = was.disk.slots[0];
    const uint32_t all = header_of(slot).routines;
    for (const uint32_t i : {1u, 2u}) {
        snapshot::StoredRoutine& routine = routine_of(slot, i);
        routine.state = i == 1 ? snapshot::RoutineState::kSlower : snapshot::RoutineState::kQuarantined;
        routine.code_bytes = routine.code_offset = routine.code_crc32c = 0;
    }
    reseal(slot);
    for (int i = 0; i < 2; ++i) {  // and it is kept
        Boot boot(was.disk);
        EXPECT_EQ(boot.run(), was.story) << "by the reference";
        EXPECT_EQ(number_in(boot.last("boot"), "compiled"), 0u);
        EXPECT_EQ(number_in(boot.last("boot"), "restored"), all - 2);
        EXPECT_EQ(number_in(boot.last("boot"), "refused"), 0u);
    }
}

/// A boot that stops when it has just begun.
void crash(TestDisk& disk) {
    SnapshotPlatform platform(disk);
    Options options;
    options.threads = 1;
    RoutineEngine engine;
    Session session(platform.allocator(), platform.log(), platform.clock(), 0);
    session.open(testing::default_image(), *engine.start(platform, options).value(), 0).take();
    SnapshotKeeper(platform, engine, session).restore();
}

TEST(SnapshotKeeper, AfterThreeCrashesItStartsColdAndLearnsAnew) {
    OneBoot was;
    crash(was.disk);
    crash(was.disk);
    Boot warm(was.disk);
    EXPECT_EQ(warm.run(), was.story);
    EXPECT_THAT(warm.last("snapshot"), HasSubstr("start=warm"));
    EXPECT_THAT(warm.last("boot"), HasSubstr(" boot=4 "));
    for (int i = 0; i < 3; ++i) crash(was.disk);
    Boot cold(was.disk);
    EXPECT_EQ(cold.run(), was.story);
    EXPECT_THAT(cold.last("snapshot"), HasSubstr("start=cold reason=unclean"));
    EXPECT_GT(number_in(cold.last("boot"), "compiled"), 0u);
    Boot again(was.disk);
    EXPECT_EQ(again.run(), was.story);
    EXPECT_THAT(again.last("boot"), AllOf(HasSubstr(" boot=2 "), HasSubstr(" compiled=0 ")));
}

TEST(SnapshotKeeper, ARunThatCannotDoWhatWasAskedIsNoCrash) {
    OneBoot was;
    const std::string endless(5000, 'x');
    for (int i = 0; i < 5; ++i) {
        Boot boot(was.disk);
        boot.options.set("prompt", endless).take();
        EXPECT_FALSE(boot_main(boot.platform, boot.options, {&boot.image, 1}).ok());
        EXPECT_THAT(boot.last("snapshot"), HasSubstr("start=warm"));
        EXPECT_EQ(boot.last("snapshot_saved"), "");
    }
    Boot boot(was.disk);
    EXPECT_EQ(boot.run(), was.story);
    EXPECT_THAT(boot.last("snapshot"), HasSubstr("start=warm"));
}

TEST(SnapshotKeeper, OnlyWhatIsWrongStaysInQuarantineOverBoots) {
    TestDisk disk;
    SnapshotPlatform machine(disk);
    Options options;
    options.threads = 1;
    RoutineEngine engine;
    Session session(machine.allocator(), machine.log(), machine.clock(), 0);
    session.open(testing::default_image(), *engine.start(machine, options).value(), 0).take();
    SnapshotKeeper keeper(machine, engine, session);
    keeper.restore();
    machine.fake_allocator.fail_after = machine.fake_allocator.made + 3;
    engine.prepare(session);  // most probes find no memory
    machine.fake_allocator.fail_after = SIZE_MAX;
    keeper.finish(true);
    const RoutineCache::Counts& counts = engine.cache()->counts();
    EXPECT_GT(counts.rejected, 0u);
    const snapshot::Header& header = header_of(disk.slots[0]);
    EXPECT_EQ(header.routines, counts.compiled);
    for (uint32_t i = 0; i < header.routines; ++i)
        EXPECT_NE(routine_of(disk.slots[0], i).state, snapshot::RoutineState::kQuarantined);
}

/// The default model in Q8_0.
ByteSpan quantised_model() {
    static const MappedFile file = [] {
        const Descriptor memory(memfd_create("test-model", MFD_CLOEXEC));
        ImportRequest request;
        request.model = "model/bareflow-stories.bin";
        request.types.all = ElementType::kQ8_0;
        import_model(request, memory.get()).take();
        return MappedFile::map(memory.get(), "test-model").take();
    }();
    return file.bytes();
}

TEST(SnapshotKeeper, WhichProductsOfBytesAreQuickerIsFoundOutOnce) {
    if (!__builtin_cpu_supports("avx2")) GTEST_SKIP() << "no AVX2 on this machine";
    TestDisk disk;
    const auto boot_quantised = [&](Boot& boot) {
        CpuFeatures& cpu = boot.platform.features;
        cpu.avx512f = cpu.avx_vnni = false;
        boot.image.image = quantised_model();
        return boot.run();
    };
    Boot first(disk);
    const std::string story = boot_quantised(first);
    EXPECT_THAT(first.lines(), Contains(StartsWith("byte_products")));
    Boot second(disk);
    EXPECT_EQ(boot_quantised(second), story);
    EXPECT_THAT(second.lines(), Not(Contains(StartsWith("byte_products"))));
    EXPECT_EQ(number_in(second.last("boot"), "compiled"), 0u);
    // An emulator's boot would have found words quicker; then words it is, though this machine would not have chosen them.
    MemoryFile& slot = disk.slots[1];
    ASSERT_EQ(header_of(slot).quantised_isa, Isa::kAvx2);
    header_of(slot).quantised_isa = Isa::kAvx2Words;
    reseal(slot);
    Boot third(disk);
    EXPECT_EQ(boot_quantised(third), story);
    EXPECT_GT(number_in(third.last("boot"), "compiled"), 0u);
    Boot fourth(disk);
    EXPECT_EQ(boot_quantised(fourth), story);
    EXPECT_EQ(number_in(fourth.last("boot"), "compiled"), 0u);
    EXPECT_THAT(fourth.lines(), Not(Contains(StartsWith("byte_products"))));
    EXPECT_EQ(header_of(disk.slots[1]).quantised_isa, Isa::kAvx2Words);
}

TEST(SnapshotKeeper, TheSearchGoesOnWhereItWasAndEnds) {
    TestDisk disk;
    uint64_t left = UINT64_MAX, tried = 0, before = UINT64_MAX;
    int boots = 0;
    std::string story;
    for (; left != 0; ++boots) {
        ASSERT_LT(boots, 500);
        Boot boot(disk);
        boot.platform.used_clock = &boot.platform.host_clock;
        boot.options.set("tune-ms", "10").take();
        const std::string now = boot.run();
        EXPECT_TRUE(story.empty() || now == story);
        story = now;
        left = number_in(boot.last("boot"), "plans_left");
        tried += number_in(boot.last("boot"), "plans_tried");
        if (before != UINT64_MAX) {
            // A baseline leaves the list without being a trial, and a busy machine may leave no time for any.
            EXPECT_LE(left + number_in(boot.last("boot"), "plans_tried"), before) << "none comes back";
        }
        before = left;
    }
    EXPECT_GE(tried, 20u);
    EXPECT_GE(boots, 2);
    Boot last(disk);
    EXPECT_EQ(last.run(), story);
    EXPECT_THAT(last.last("boot"),
                AllOf(HasSubstr("plans_tried=0 explored=100% plans_left=0"), HasSubstr("compiled=0")));
}

// Figures for persist/README.md, in the test's record.
TEST(SnapshotKeeper, RestoresMoreQuicklyThanItCompiles) {
    for (const bool quantised : {true, false}) {
        TestDisk disk;
        std::string figures[3];
        for (std::string& figure : figures) {
            Boot boot(disk);
            boot.platform.used_clock = &boot.platform.host_clock;
            boot.options.max_tokens = 50;
            boot.options.set("tune-ms", "20000").take();
            if (quantised) boot.image.image = quantised_model();
            boot.run();
            figure = boot.last("snapshot") + boot.last("prepared") + boot.last("snapshot_saved");
        }
        RecordProperty(quantised ? "q8_0_cold" : "f32_cold", figures[0]);
        RecordProperty(quantised ? "q8_0_warm" : "f32_warm", figures[2]);
        EXPECT_THAT(figures[2], HasSubstr("prepared routines=0 "));
    }
}

TEST(SnapshotKeeper, ConvergesAndKeepsItsHistory) {
    TestDisk disk;
    std::string record;
    for (int i = 0; i < 70; ++i) {
        Boot boot(disk);
        boot.options.max_tokens = 1;
        boot.options.tune = TuneChoice::kOff;
        boot.run();
        record = boot.last("boot");
        if (i == 4) {
            EXPECT_THAT(record, HasSubstr("next_stage=full"));
        }
        if (i == 5) {
            EXPECT_THAT(record, HasSubstr("next_stage=small")) << "five boots compiled nothing";
        }
    }
    EXPECT_THAT(record, HasSubstr("boot=70 "));
    EXPECT_THAT(record, HasSubstr("converged=false")) << "there are plans that nobody tried";
    const snapshot::Header& header = header_of(disk.slots[1]);
    EXPECT_EQ(header.boot_records, snapshot::kMaxBoots);
    EXPECT_EQ(header.boot_count, 70u);
    EXPECT_EQ(header.timestamp, 1'700'000'000u);
}

TEST(SnapshotKeeper, AMachineThatIsAlwaysTheSameConverges) {
    TestDisk disk;
    uint64_t last_new = 0;
    for (uint64_t i = 1; i < 60; ++i) {
        Boot boot(disk);
        boot.platform.used_clock = &boot.platform.stepping_clock;
        boot.options.set("tune-ms", "400").take();
        boot.run();
        const std::string record = boot.last("boot");
        if (number_in(record, "compiled") + number_in(record, "plans_tried") != 0) last_new = i;
        const bool converged = record.find("converged=true") != std::string::npos;
        ASSERT_EQ(converged, i >= last_new + 20) << record;
        if (!converged) continue;
        EXPECT_EQ(number_in(record, "plans_left"), 0u);
        EXPECT_GE(last_new, 3u) << "it took some boots";
        EXPECT_THAT(record, HasSubstr("stage=full next_stage=small"));
        return;
    }
    FAIL() << "not by boot 60";
}

TEST(SnapshotKeeper, ProfilesAddUpOverBoots) {
    OneBoot was;
    const auto calls = [](MemoryFile& slot) {
        const snapshot::Header& header = header_of(slot);
        const uint64_t at =
            snapshot::kPayloadOffset + snapshot::payload_size(header.boot_records, header.plans, 0, 0, 0);
        uint64_t sum = 0;
        for (uint32_t i = 0; i < header.profiles; ++i) {
            snapshot::StoredProfile profile;
            std::memcpy(&profile, slot.bytes.data() + at + i * sizeof profile, sizeof profile);
            sum += profile.call_count;
        }
        return sum;
    };
    const uint64_t first = calls(was.disk.slots[0]);
    EXPECT_GT(first, 100u);
    Boot(was.disk).run();
    EXPECT_EQ(calls(was.disk.slots[1]), 2 * first);
    EXPECT_EQ(header_of(was.disk.slots[1]).profiles, header_of(was.disk.slots[0]).profiles);
}

TEST(SnapshotKeeper, AnyByteOfTheDiskMayBeWrongAndThereIsAnAnswer) {
    OneBoot was;
    const std::vector<uint8_t> good = was.disk.slots[0].bytes;
    const uint64_t end = snapshot::kPayloadOffset + header_of(was.disk.slots[0]).payload_bytes;
    std::mt19937 random(1);
    for (int i = 0; i < 60; ++i) {
        std::vector<uint8_t>& bytes = was.disk.slots[0].bytes;
        bytes = good;
        was.disk.slots[1].bytes.assign(kSlotBytes, 0);
        const size_t at =
            i < 20 ? random() % 120 : snapshot::kPayloadOffset + random() % (end - snapshot::kPayloadOffset);
        bytes[at] ^= static_cast<uint8_t>(1u << random() % 8);
        if (i % 2 == 1) {  // somebody hostile makes the CRCs right again, where sizes allow
            snapshot::Header& header = header_of(was.disk.slots[0]);
            header.payload_bytes =
                std::min<uint64_t>(header.payload_bytes, kSlotBytes - snapshot::kPayloadOffset);
            reseal(was.disk.slots[0]);
        }
        Boot boot(was.disk);
        boot.options.max_tokens = 1;
        boot.run();
        EXPECT_NE(boot.last("boot"), "") << at;
    }
}

TEST(SnapshotKeeper, ADiskThatFailsIsALogRecordAndTheModelAnswers) {
    OneBoot was;
    const std::vector<uint8_t> good = was.disk.slots[0].bytes;
    bool went_well = false;
    for (int at = 0; !went_well; ++at) {
        ASSERT_LT(at, 60);
        was.disk.slots[0].bytes = good;
        was.disk.slots[1].bytes.assign(kSlotBytes, 0);
        was.disk.record = {};
        was.disk.record.fails_at = at;
        was.disk.record.stays_dead = true;  // yanked
        Boot boot(was.disk);
        EXPECT_EQ(boot.run(), was.story) << at;
        went_well = was.disk.record.operations <= at;
        if (!went_well) {
            EXPECT_THAT(boot.last("snapshot_not_saved"),
                        AnyOf(HasSubstr("planted"), HasSubstr("neither slot could be read")))
                << at;
        }
    }
    was.disk.record = {};
    for (MemoryFile& slot : was.disk.slots) slot.read_only = true;
    Boot read_only(was.disk);
    EXPECT_EQ(read_only.run(), was.story);
    EXPECT_THAT(read_only.last("snapshot_not_saved"), HasSubstr("reason=read-only"));
    for (MemoryFile& slot : was.disk.slots) {
        slot.read_only = false;
        slot.bytes.resize(16 * 1024);
    }
    Boot full(was.disk);
    EXPECT_EQ(full.run(), was.story);
    EXPECT_THAT(full.last("snapshot_not_saved"), HasSubstr("does not fit"));
}

TEST(SnapshotKeeper, WithoutMemoryForItThereIsAnAnswerToo) {
    OneBoot was;
    Boot counting(was.disk);
    counting.run();
    const size_t all = counting.platform.fake_allocator.made;
    int answered = 0;
    for (size_t fail_after = all - 30; fail_after < all; ++fail_after) {
        Boot boot(was.disk);
        boot.platform.fake_allocator.fail_after = fail_after;
        if (boot_main(boot.platform, boot.options, {&boot.image, 1}).ok()) {
            EXPECT_EQ(boot.platform.fake_terminal.output, was.story) << fail_after;
            ++answered;
        }
    }
    EXPECT_GE(answered, 5);
}

}  // namespace
}  // namespace bareflow
