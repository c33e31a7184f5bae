// Two slots on a disk that loses power at any sector, fails at any operation, or holds anything.
#include "persist/snapshot_store.h"

#include <gmock/gmock.h>

#include <random>

#include "tests/unit/persist/memory_file.h"
#include "tests/unit/persist/sample_snapshot.h"

namespace bareflow {
namespace {

using enum SnapshotRefusal;
using ::testing::Contains;
using testing::DiskRecord;
using ::testing::HasSubstr;
using testing::MemoryFile;
using testing::SampleSnapshot;

constexpr size_t kSlotBytes = 32 * 1024;

struct Disk {
    DiskRecord record;
    MemoryFile a{record, kSlotBytes}, b{record, kSlotBytes};
    testing::Lines log;
    StdAllocator allocator;

    SnapshotStore store() { return SnapshotStore(&a, &b, log, allocator); }
    /// Which sample the next boot finds: its seed; -1 for a cold start, -2 if it is not one that was ever saved.
    int loads(SnapshotRefusal* why = nullptr) {
        record.fails_at = -1;
        record.fails_every = 0;
        SnapshotStore fresh = store();
        const SnapshotView* view = fresh.load(testing::sample_identity());
        if (why != nullptr) *why = fresh.why();
        if (view == nullptr) return -1;
        if (view->routines() != 2 || view->check(view->routine(0), 0b1111) != kNone) return -2;
        return view->code(view->routine(0))[0];
    }
    /// A boot that ends by saving the sample of that seed.
    Result<void> boot_and_save(uint8_t seed) {
        SnapshotStore booted = store();
        booted.load(testing::sample_identity());
        Result<void> started = booted.mark_started();
        SampleSnapshot sample(seed);
        const Buffer<uint8_t> payload = sample.write();
        booted.release();
        Result<void> saved = booted.save(sample.header, payload.span());
        if (!saved.ok()) {
            Result<void> finished = booted.mark_finished();
            static_cast<void>(finished);
            return saved;
        }
        return started;
    }
    /// A boot that stops before its end.
    void crash() {
        SnapshotStore booted = store();
        booted.load(testing::sample_identity());
        booted.mark_started().take();
    }
};

TEST(SnapshotStore, TheNextBootFindsWhatTheLastOneSaved) {
    Disk disk;
    SnapshotRefusal why;
    EXPECT_EQ(disk.loads(&why), -1);
    EXPECT_EQ(why, kEmpty);
    for (uint8_t seed = 1; seed < 6; ++seed) {
        ASSERT_TRUE(disk.boot_and_save(seed).ok());
        EXPECT_EQ(disk.loads(), seed);
    }
}

TEST(SnapshotStore, WritesTheSlotThatItDidNotRead) {
    Disk disk;
    disk.boot_and_save(1).take();
    disk.boot_and_save(2).take();
    const std::vector<uint8_t> a = disk.a.bytes, b = disk.b.bytes;
    disk.boot_and_save(3).take();
    EXPECT_NE(disk.a.bytes, a);
    // The slot that was booted from has its mark changed, and nothing else.
    std::vector<uint8_t> now = disk.b.bytes;
    std::copy_n(b.begin() + snapshot::kMarkOffset, kSectorBytes, now.begin() + snapshot::kMarkOffset);
    EXPECT_EQ(now, b);
}

TEST(SnapshotStore, WhereOneSlotIsDamagedTheOtherIsTaken) {
    for (const bool header : {false, true}) {
        Disk disk;
        disk.boot_and_save(1).take();
        disk.boot_and_save(2).take();
        disk.b.bytes[header ? 20 : snapshot::kPayloadOffset + 100] ^= 1;
        EXPECT_EQ(disk.loads(), 1);
        EXPECT_THAT(disk.log.lines, Contains(HasSubstr(header ? "reason=header_crc" : "reason=payload_crc")));
        disk.boot_and_save(3).take();
        EXPECT_EQ(disk.loads(), 3);
        disk.a.bytes[0] ^= 1;
        EXPECT_EQ(disk.loads(), 3) << "written into the damaged one";
        disk.b.bytes[0] ^= 1;
        SnapshotRefusal why;
        EXPECT_EQ(disk.loads(&why), -1);
        EXPECT_EQ(why, kMagic);
        disk.boot_and_save(4).take();
        EXPECT_EQ(disk.loads(), 4);
    }
}

TEST(SnapshotStore, AnyByteOfBothSlotsChangedIsAnAnswerAllTheSame) {
    Disk disk;
    disk.boot_and_save(1).take();
    disk.boot_and_save(2).take();
    const size_t end = snapshot::kPayloadOffset + 1024;
    for (size_t i = 0; i < end; i += i < 512 || i >= snapshot::kPayloadOffset ? 1 : 97) {
        disk.a.bytes[i] ^= 0x55;
        disk.b.bytes[i] ^= 0x55;
        const int found = disk.loads();
        EXPECT_TRUE(found == -1 || found == 2) << i << ": " << found;
        disk.a.bytes[i] ^= 0x55;
        disk.b.bytes[i] ^= 0x55;
    }
}

TEST(SnapshotStore, AThirdBootInARowWithoutAnEndSetsItAside) {
    Disk disk;
    disk.boot_and_save(1).take();
    SnapshotRefusal why;
    for (uint32_t i = 0; i < SnapshotStore::kMostUnclean; ++i) {
        EXPECT_EQ(disk.loads(), 1) << i;
        disk.crash();
    }
    EXPECT_EQ(disk.loads(&why), -1);
    EXPECT_EQ(why, kUnclean);
    const std::vector<uint8_t> aside = disk.a.bytes;
    disk.crash();
    EXPECT_EQ(disk.loads(&why), -1) << "until a boot ends well";
    EXPECT_EQ(why, kUnclean);
    disk.boot_and_save(2).take();
    EXPECT_EQ(disk.loads(), 2);
    EXPECT_EQ(disk.a.bytes, aside) << "and nothing was done to it";
}

TEST(SnapshotStore, ABootThatEndsWellTakesTheCountBack) {
    Disk disk;
    disk.boot_and_save(1).take();
    for (int i = 0; i < 10; ++i) {
        disk.crash();
        disk.crash();
        SnapshotStore booted = disk.store();
        ASSERT_NE(booted.load(testing::sample_identity()), nullptr) << i;
        EXPECT_EQ(booted.boots(), 7u + 3 * static_cast<uint32_t>(i) + 2)
            << "boots that failed are counted too";
        booted.mark_started().take();
        booted.mark_finished().take();
    }
    disk.crash();
    disk.crash();
    disk.boot_and_save(2).take();
    disk.crash();
    disk.crash();
    EXPECT_EQ(disk.loads(), 2);
}

TEST(SnapshotStore, ADamagedMarkCountsNothing) {
    Disk disk;
    disk.boot_and_save(1).take();
    for (uint32_t i = 0; i < SnapshotStore::kMostUnclean; ++i) disk.crash();
    EXPECT_EQ(disk.loads(), -1);
    for (const size_t byte : {0, 4, 8, 16, 300, 508}) {
        disk.a.bytes[snapshot::kMarkOffset + byte] ^= 1;
        EXPECT_EQ(disk.loads(), 1) << byte;
        disk.a.bytes[snapshot::kMarkOffset + byte] ^= 1;
    }
}

TEST(SnapshotStore, AnotherMachinesSnapshotIsPassedOverForAnElderThatFits) {
    Disk disk;
    disk.boot_and_save(1).take();
    SnapshotIdentity other = testing::sample_identity();
    other.model_crc32c = 1;
    SnapshotStore booted = disk.store();
    EXPECT_EQ(booted.load(other), nullptr);
    EXPECT_EQ(booted.why(), kModel);
    EXPECT_EQ(booted.refusals().of(kModel), 1u);
    EXPECT_EQ(booted.boots(), 0u) << "a cold start counts from the beginning";
    SampleSnapshot sample(2);
    sample.header.model_crc32c = 1;
    const Buffer<uint8_t> payload = sample.write();
    booted.save(sample.header, payload.span()).take();
    EXPECT_EQ(disk.loads(), 1) << "the other model's went into the empty slot";
    SnapshotStore again = disk.store();
    EXPECT_NE(again.load(other), nullptr);
}

TEST(SnapshotStore, ATooSmallOrMissingSlotIsNeverAReasonToHarmTheOther) {
    Disk disk;
    disk.boot_and_save(1).take();
    const std::vector<uint8_t> before = disk.a.bytes;
    for (const size_t size : {size_t{0}, size_t{512}, size_t{8192}, snapshot::kPayloadOffset + 512}) {
        disk.b.bytes.assign(size, 0);
        EXPECT_EQ(disk.loads(), 1);
        Result<void> saved = disk.boot_and_save(2);
        ASSERT_FALSE(saved.ok());
        EXPECT_THAT(std::string(saved.error().message()), HasSubstr("does not fit in slot b"));
        EXPECT_EQ(disk.loads(), 1);
    }
    SnapshotStore one(&disk.a, nullptr, disk.log, disk.allocator);
    EXPECT_NE(one.load(testing::sample_identity()), nullptr);
    SampleSnapshot sample(3);
    const Buffer<uint8_t> payload = sample.write();
    EXPECT_FALSE(one.save(sample.header, payload.span()).ok());
    EXPECT_EQ(disk.loads(), 1);
}

TEST(SnapshotStore, WhatReadsBackDifferentlyIsNotMadeTheNewest) {
    Disk disk;
    disk.boot_and_save(1).take();
    disk.b.forgets = true;
    Result<void> saved = disk.boot_and_save(2);
    ASSERT_FALSE(saved.ok());
    EXPECT_THAT(std::string(saved.error().message()), HasSubstr("reads back differently"));
    EXPECT_EQ(disk.loads(), 1);
}

// ---- power cuts
/// Every state that the disk can be left in: all epochs before one are on it, and of that one any set of its sectors.
template <typename Body>
void for_each_power_cut(Disk& disk, const std::vector<uint8_t>& a, const std::vector<uint8_t>& b, Body body) {
    const auto epochs = disk.record.epochs;
    const auto apply = [](const DiskRecord::Write& write) {
        std::copy(write.bytes.begin(), write.bytes.end(),
                  write.file->bytes.begin() + static_cast<ptrdiff_t>(write.offset));
    };
    for (size_t cut = 0; cut < epochs.size(); ++cut) {
        ASSERT_LE(epochs[cut].size(), 12u) << "too many sets";
        for (uint32_t set = 0; set < 1u << epochs[cut].size(); ++set) {
            disk.a.bytes = a;
            disk.b.bytes = b;
            for (size_t epoch = 0; epoch < cut; ++epoch)
                for (const DiskRecord::Write& write : epochs[epoch]) apply(write);
            for (size_t i = 0; i < epochs[cut].size(); ++i)
                if ((set >> i & 1) != 0) apply(epochs[cut][i]);
            body(cut == epochs.size() - 1);
        }
    }
}

TEST(SnapshotStore, APowerCutLeavesTheOldSnapshotOrTheNew) {
    for (uint8_t saved_before = 0; saved_before <= 3; ++saved_before) {
        Disk disk;
        for (uint8_t seed = 1; seed <= saved_before; ++seed) disk.boot_and_save(seed).take();
        const std::vector<uint8_t> a = disk.a.bytes, b = disk.b.bytes;
        const int old_one = saved_before == 0 ? -1 : saved_before;
        disk.record.epochs = {{}};
        disk.boot_and_save(9).take();
        int olds = 0, news = 0, states = 0;
        for_each_power_cut(disk, a, b, [&](bool all_written) {
            const int found = disk.loads();
            ++states;
            olds += found == old_one;
            news += found == 9;
            EXPECT_TRUE(found == old_one || found == 9) << found;
            if (all_written) {
                EXPECT_EQ(found, 9);
            }
            if (!all_written || saved_before != 2) return;
            // And the boot after the power cut can save again.
            disk.boot_and_save(10).take();
            EXPECT_EQ(disk.loads(), 10);
        });
        EXPECT_EQ(olds + news, states);
        EXPECT_GT(olds, 2);
        EXPECT_GT(news, 0);
    }
}

TEST(SnapshotStore, APowerCutWhileAMarkIsRewrittenHarmsNothing) {
    Disk disk;
    disk.boot_and_save(1).take();
    disk.boot_and_save(2).take();
    const std::vector<uint8_t> a = disk.a.bytes, b = disk.b.bytes;
    disk.record.epochs = {{}};
    SnapshotStore booted = disk.store();
    booted.load(testing::sample_identity());
    booted.mark_started().take();
    booted.mark_finished().take();
    for_each_power_cut(disk, a, b, [&](bool) { EXPECT_EQ(disk.loads(), 2); });
    // A sector that is torn, on a disk that does that.
    for (size_t byte = 0; byte < kSectorBytes; byte += 7) {
        disk.b.bytes = b;
        for (size_t i = 0; i < byte; ++i) disk.b.bytes[snapshot::kMarkOffset + i] = 0xFF;
        EXPECT_EQ(disk.loads(), 2);
    }
}

// ---- a disk that fails
TEST(SnapshotStore, AnErrorAtAnyOperationLeavesTheOldSnapshotOrTheNew) {
    for (const bool stays_dead : {false, true}) {
        bool went_well = false;
        for (int at = 0; !went_well; ++at) {
            ASSERT_LT(at, 100);
            Disk disk;
            disk.boot_and_save(1).take();
            disk.boot_and_save(2).take();
            disk.record.operations = 0;
            disk.record.fails_at = at;
            disk.record.stays_dead = stays_dead;
            Result<void> saved = disk.boot_and_save(3);
            went_well = disk.record.operations <= at;
            const int found = disk.loads();
            EXPECT_TRUE(found == 1 || found == 2 || found == 3) << at << ": " << found;
            // 1: what was newer could not be read, and was given up for it.
            if (saved.ok()) {
                EXPECT_EQ(found, 3) << at;
            }
            EXPECT_TRUE(saved.ok() || !went_well);
            disk.boot_and_save(4).take();
            EXPECT_EQ(disk.loads(), 4) << "a disk that is well again";
        }
    }
}

TEST(SnapshotStore, AnErrorAtEveryNthOperationLeavesOneOfThoseThatWereSaved) {
    for (int every = 1; every < 20; ++every) {
        Disk disk;
        disk.boot_and_save(1).take();
        disk.boot_and_save(2).take();
        for (uint8_t seed = 3; seed < 30; ++seed) {
            disk.record.fails_every = every;
            Result<void> saved = disk.boot_and_save(seed);
            const int found = disk.loads();
            EXPECT_TRUE(found >= 1 && found <= seed) << every << ": " << found;
            EXPECT_TRUE(!saved.ok() || found == seed) << every;
        }
        disk.boot_and_save(99).take();
        EXPECT_EQ(disk.loads(), 99);
    }
}

}  // namespace
}  // namespace bareflow
