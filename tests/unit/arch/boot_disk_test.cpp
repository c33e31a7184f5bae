// What a machine's disk does for the chat: files that are there whole, whatever fails.
#include "arch/boot_disk.h"

#include <gmock/gmock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>

#include "arch/host/folder_files.h"
#include "tests/unit/model/test_models.h"
#include "tests/unit/persist/fat_support.h"
#include "tests/unit/persist/faulty_disk.h"

namespace bareflow {
namespace {

using ::testing::HasSubstr;

/// What fsync() was asked to make durable.
std::vector<std::string> synced;

struct SilentLog final : LogSink {
    void write_line(std::string_view) override {}
};

/// What a conversation of `size` bytes is to a store: its kind, and more of several parts.
struct Content {
    explicit Content(size_t size, char fill) : first("BFCHAT\r\n"), second(size - 8, fill) {}
    std::vector<ByteSpan> parts() const { return {bytes_of(first), {}, bytes_of(second)}; }
    std::string whole() const { return first + second; }
    std::string first, second;
};

struct DiskDesk {
    explicit DiskDesk(uint64_t mib = 8) : disk(mib << 20), faulty(disk) {
        EXPECT_EQ(make_fat(disk, "-F 16 -s 2 -n BAREFLOW").status, 0);
    }
    /// As a machine finds it at its start.
    BootDisk& boot() {
        volume.emplace(allocator, log);
        BlockDevice* const disks[] = {&faulty};
        volume->find(disks, 0);
        EXPECT_TRUE(volume->found());
        return *volume;
    }
    static std::string read(FileStore& files, std::string_view name) {
        const Result<uint64_t> size = files.file_size(name);
        if (!size.ok()) return "<" + std::string(size.error().message()) + ">";
        std::string text(size.value(), '\0');
        const Result<void> done =
            files.read_file(name, 0, {reinterpret_cast<uint8_t*>(text.data()), text.size()});
        return done.ok() ? text : "<" + std::string(done.error().message()) + ">";
    }
    TestAllocator allocator;
    SilentLog log;
    MemoryDisk disk;
    FaultyDisk faulty;
    std::optional<BootDisk> volume;
};

TEST(BootDisk, KeepsAFileAndReplacesIt) {
    DiskDesk desk;
    BootDisk& disk = desk.boot();
    const Content first(100'000, 'a'), second(30'000, 'b');
    EXPECT_THAT(DiskDesk::read(disk, "TALK.CHT"), HasSubstr("TALK.CHT"));
    ASSERT_OK(disk.replace_file("TALK.CHT", first.parts()));
    EXPECT_EQ(DiskDesk::read(disk, "TALK.CHT"), first.whole());
    ASSERT_OK(disk.replace_file("TALK.CHT", second.parts()));
    EXPECT_EQ(mtools_read(desk.disk, "TALK.CHT"), second.whole());
    EXPECT_EQ(fsck_fat(desk.disk), "") << "and the volume is as one that was unmounted";
    EXPECT_EQ(DiskDesk::read(desk.boot(), "TALK.CHT"), second.whole()) << "in the next boot, too";
}

TEST(BootDisk, WhatIsNoConversationIsNotTouched) {
    DiskDesk desk;
    run_command("printf 'my own words' | mcopy -i " + desk.disk.path() + " - ::TALK.CHT");
    run_command("printf 'short' | mcopy -i " + desk.disk.path() + " - ::WALK.NEW");
    run_command("mmd -i " + desk.disk.path() + " ::FOLDER.CHT");
    BootDisk& disk = desk.boot();
    const Content content(1000, 'a');
    EXPECT_FAILS(disk.replace_file("TALK.CHT", content.parts()), kInvalid,
                 "TALK.CHT on the disk is something else");
    EXPECT_FAILS(disk.replace_file("WALK.CHT", content.parts()), kInvalid,
                 "WALK.NEW on the disk is something else");
    EXPECT_FAILS(disk.replace_file("FOLDER.CHT", content.parts()), kInvalid, "something else");
    EXPECT_EQ(mtools_read(desk.disk, "TALK.CHT"), "my own words");
    EXPECT_EQ(mtools_read(desk.disk, "WALK.NEW"), "short");
}

TEST(BootDisk, WithoutRoomForBothTheOldOneStays) {
    DiskDesk desk;
    BootDisk& disk = desk.boot();
    const Content old(5'000'000, 'a'), too_large(4'000'000, 'b'), fits(2'000'000, 'c');
    ASSERT_OK(disk.replace_file("TALK.CHT", old.parts()));
    EXPECT_FAILS(disk.replace_file("TALK.CHT", too_large.parts()), kOutOfRange,
                 "it takes 4000000 bytes, and the disk has");
    EXPECT_EQ(DiskDesk::read(disk, "TALK.CHT"), old.whole());
    ASSERT_OK(disk.replace_file("TALK.CHT", fits.parts()));
    EXPECT_EQ(DiskDesk::read(disk, "TALK.CHT"), fits.whole());
    EXPECT_EQ(fsck_fat(desk.disk), "");
}

// The power fails after each write in turn: the old file or the new one is there, the next save works, and nothing is lost
// that was not being written.
TEST(BootDisk, WhereverThePowerFailsOneOfTheTwoIsThere) {
    const Content other(5000, 'o'), old(20'000, 'a'), fresh(9'000, 'b'), later(3'000, 'c');
    for (bool has_old : {true, false}) {
        DiskDesk desk;
        {
            BootDisk& disk = desk.boot();
            ASSERT_OK(disk.replace_file("OTHER.CHT", other.parts()));
            if (has_old) {
                ASSERT_OK(disk.replace_file("TALK.CHT", old.parts()));
            }
        }
        MemoryDisk before(8 << 20);
        before.copy_from(desk.disk);
        desk.faulty.recording = true;
        ASSERT_OK(desk.boot().replace_file("TALK.CHT", fresh.parts()));
        const std::vector<FaultyDisk::Record> records = desk.faulty.records;
        desk.faulty.recording = false;
        ASSERT_GT(records.size(), 10u);
        size_t news = 0;
        for (size_t cut = 0; cut <= records.size(); ++cut) {
            desk.disk.copy_from(before);
            for (size_t i = 0; i < cut; ++i) {
                if (!records[i].flush)
                    desk.disk.set_bytes(records[i].sector * kSectorBytes, records[i].bytes);
            }
            BootDisk& disk = desk.boot();
            const std::string found = DiskDesk::read(disk, "TALK.CHT");
            const bool is_new = found == fresh.whole(), is_old = has_old && found == old.whole();
            // A first one that is half written is told from a whole one by its checksums.
            ASSERT_TRUE(is_new || is_old || !has_old) << "cut after write " << cut;
            news += is_new;
            ASSERT_OK(disk.replace_file("TALK.CHT", later.parts()));
            ASSERT_EQ(DiskDesk::read(disk, "TALK.CHT"), later.whole());
            ASSERT_EQ(DiskDesk::read(disk, "OTHER.CHT"), other.whole());
            ASSERT_FALSE(disk.file("TALK.NEW").has_value());
        }
        EXPECT_GT(news, 1u);
    }
}

TEST(BootDisk, ADiskThatFailsLeavesTheOldFile) {
    const Content old(20'000, 'a'), fresh(9'000, 'b');
    DiskDesk desk;
    ASSERT_OK(desk.boot().replace_file("TALK.CHT", old.parts()));
    MemoryDisk before(8 << 20);
    before.copy_from(desk.disk);
    for (size_t nth = 0;; ++nth) {
        desk.disk.copy_from(before);
        desk.faulty.heal();
        BootDisk& disk = desk.boot();
        const size_t failed = desk.faulty.failed();
        desk.faulty.reads = false;
        desk.faulty.fail(nth, FaultyDisk::Fault::kError, SIZE_MAX);
        const bool done = disk.replace_file("TALK.CHT", fresh.parts()).ok();
        desk.faulty.heal();
        const std::string found = DiskDesk::read(desk.boot(), "TALK.CHT");
        ASSERT_TRUE(found == old.whole() || found == fresh.whole()) << nth;
        if (desk.faulty.failed() == failed) {
            EXPECT_TRUE(done);
            break;
        }
        ASSERT_FALSE(done) << nth;
    }
}

TEST(FolderFiles, KeepsAFileAndReplacesItWholeAndNothingElse) {
    TemporaryFolder folder;
    FolderFiles files(folder / "");
    const Content first(100'000, 'a'), second(30'000, 'b');
    EXPECT_FAILS(files.file_size("TALK.CHT"), kNotFound, "No such file");
    ASSERT_OK(files.replace_file("TALK.CHT", first.parts()));
    EXPECT_EQ(DiskDesk::read(files, "TALK.CHT"), first.whole());
    ASSERT_OK(files.replace_file("TALK.CHT", second.parts()));
    EXPECT_EQ(DiskDesk::read(files, "TALK.CHT"), second.whole());
    EXPECT_EQ(folder.names(), std::vector<std::string>{"TALK.CHT"});
    folder.write("MINE.CHT", bytes_of("my own words"));
    EXPECT_FAILS(files.replace_file("MINE.CHT", first.parts()), kInvalid, "something else");
    EXPECT_EQ(DiskDesk::read(files, "MINE.CHT"), "my own words");
    uint8_t bytes[20];
    EXPECT_FAILS(files.read_file("MINE.CHT", 4, bytes), kInvalid, "ends at byte 12");
    EXPECT_FAILS(FolderFiles("/no/such/folder").replace_file("A.CHT", first.parts()), kNotFound,
                 "/no/such/folder/A.CHT.new");
}

TEST(FolderFiles, MakesAFilesNewNameDurableToo) {
    TemporaryFolder folder;
    FolderFiles files(folder / "");
    synced.clear();
    ASSERT_OK(files.replace_file("TALK.CHT", Content(1000, 'a').parts()));
    const std::string before = folder / "TALK.CHT.new", after = std::filesystem::path(before).parent_path();
    EXPECT_EQ(synced, (std::vector<std::string>{before, after}));
}

}  // namespace
}  // namespace bareflow

// In the C library's place.
extern "C" int fsync(int fd) {
    bareflow::synced.push_back(std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd)));
    return static_cast<int>(syscall(SYS_fsync, fd));
}
