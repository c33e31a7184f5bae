// What a user does with files, against mkfs.fat, fsck.fat and mtools.
#include "persist/fat16.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>

#include "tests/unit/persist/fat_support.h"
#include "tests/unit/persist/faulty_disk.h"

namespace bareflow {
namespace {

struct Volume : testing::Test {
    MemoryDisk disk{16 * kMiB};
    std::unique_ptr<Mounted> fat;

    void SetUp() override {
        ASSERT_EQ(make_fat(disk, "-F 16 -s 4 -n TESTVOL").status, 0);
        mount();
    }
    void mount() { fat = std::make_unique<Mounted>(disk); }
    void unmount_and_check() {
        EXPECT_OK((*fat)->unmount());
        fat.reset();
        EXPECT_EQ(fsck_fat(disk), "");
    }
    Fat16& volume() { return **fat; }
    std::string mtools(const std::string& command) {
        const CommandOutcome outcome = run_command(command);
        EXPECT_EQ(outcome.status, 0) << command << "\n" << outcome.output;
        return outcome.output;
    }
    std::string image() const { return " -i " + disk.path() + " "; }
};

std::string pattern(size_t size, unsigned seed) {
    std::string text(size, '\0');
    std::mt19937 random(seed);
    for (char& c : text) c = static_cast<char>(random());
    return text;
}

TEST_F(Volume, TellsWhatItIs) {
    EXPECT_EQ(volume().cluster_bytes(), 2048u);
    EXPECT_EQ(volume().layout().label.view(), "TESTVOL");
    EXPECT_EQ(volume().free_bytes(), volume().total_bytes());
    EXPECT_FALSE(volume().was_dirty());
    EXPECT_FALSE(volume().had_hard_error());
    EXPECT_OK(volume().writable());
    EXPECT_TRUE(names_in(volume(), "/").empty());
}

TEST_F(Volume, ReadsWhatMtoolsWrote) {
    const std::string text = pattern(100'000, 1);
    const std::string host = testing::TempDir() + "fat16_host." + std::to_string(getpid());
    std::ofstream(host, std::ios::binary) << text;
    mtools("mmd" + image() + "::/Models ::/Models/Deep");
    mtools("mcopy" + image() + host + " '::/Models/A name longer than eight.letters'");
    mtools("mcopy" + image() + host + " ::/Models/Deep/SHORT.BIN");
    std::filesystem::remove(host);
    mtools("mattrib" + image() + "+r +h +s ::/Models/Deep/SHORT.BIN");
    mount();
    EXPECT_EQ(names_in(volume(), "models"),
              (std::vector<std::string>{"Deep", "A name longer than eight.letters"}));
    EXPECT_EQ(text_of(volume(), "/models/a NAME longer than EIGHT.letters"), text);
    EXPECT_EQ(text_of(volume(), "MODELS/ANAMEL~1.LET"), text);
    EXPECT_EQ(text_of(volume(), "//models//deep/short.bin"), text);
    const FileInfo info = volume().info("models/deep/short.bin").take();
    EXPECT_TRUE(info.read_only && info.hidden && info.system && info.archive && !info.directory);
    EXPECT_EQ(info.short_name.view(), "SHORT.BIN");
    EXPECT_EQ(info.size, text.size());
    EXPECT_FAILS(volume().remove("models/deep/short.bin"), kUnsupported, "read-only");
    EXPECT_FAILS(volume().append("models/deep/short.bin", bytes_of("x")), kUnsupported, "read-only");
    EXPECT_FAILS(volume().truncate("models/deep/short.bin", 0), kUnsupported, "read-only");
}

TEST_F(Volume, ReadsAnyPartIntoAnyAddress) {
    const std::string text = pattern(20'000, 2);
    ASSERT_OK(volume().create("F"));
    ASSERT_OK(volume().append("F", bytes_of(text)));
    std::vector<uint8_t> out(text.size() + 2);
    for (const size_t offset : {0, 1, 511, 512, 513, 2047, 2048, 4096, 10'000}) {
        for (const size_t size : {0, 1, 2, 511, 512, 513, 1024, 2048, 5'000, 10'000}) {
            for (const size_t skew : {0, 1}) {
                std::fill(out.begin(), out.end(), 0xEE);
                ASSERT_OK(volume().read("F", offset, {out.data() + skew, size}));
                EXPECT_EQ(std::string(out.begin() + skew, out.begin() + static_cast<ptrdiff_t>(skew + size)),
                          text.substr(offset, size));
                EXPECT_EQ(out[skew + size], 0xEE);
            }
        }
    }
    EXPECT_FAILS(volume().read("F", 20'000, {out.data(), 1}), kOutOfRange, "20000");
    EXPECT_FAILS(volume().read("F", UINT64_MAX, {out.data(), 2}), kOutOfRange, "F");
    EXPECT_OK(volume().read("F", 20'000, {out.data(), 0}));
}

TEST_F(Volume, WritesWhatMtoolsReads) {
    const std::string text = pattern(70'001, 3);
    volume().set_time({2024, 2, 29, 13, 37, 58});
    ASSERT_OK(volume().make_directory("dir"));
    ASSERT_OK(volume().create("dir/file.bin"));
    // In steps that end within sectors, at their ends and at clusters' ends, from odd addresses too.
    for (size_t at = 0, step = 1; at < text.size(); step = step * 3 % 5000 + 1) {
        const size_t size = std::min(step, text.size() - at);
        ASSERT_OK(volume().append("dir/file.bin", bytes_of(std::string_view(text).substr(at, size))));
        at += size;
    }
    EXPECT_EQ(text_of(volume(), "dir/file.bin"), text);
    unmount_and_check();
    EXPECT_TRUE(mtools_read(disk, "/DIR/FILE.BIN") == text);
    const std::string listing = mtools("mdir" + image() + "::/DIR");
    EXPECT_NE(listing.find("FILE     BIN     70001 2024-02-29  13:37"), std::string::npos) << listing;
    EXPECT_EQ(mtools("mattrib" + image() + "::/DIR/FILE.BIN").substr(0, 6), "  A   ");
}

TEST_F(Volume, TakesAFileThroughItsLife) {
    ASSERT_OK(volume().create("A.TXT"));
    EXPECT_FAILS(volume().create("a.txt"), kInvalid, "there already");
    ASSERT_OK(volume().append("a.txt", bytes_of(std::string(5000, 'a'))));
    ASSERT_OK(volume().truncate("A.TXT", 2049));
    EXPECT_EQ(volume().free_bytes(), volume().total_bytes() - 2 * 2048);
    ASSERT_OK(volume().truncate("A.TXT", 2048));
    EXPECT_EQ(volume().free_bytes(), volume().total_bytes() - 2048);
    EXPECT_FAILS(volume().truncate("A.TXT", 2050), kOutOfRange, "2048");
    ASSERT_OK(volume().append("a.txt", bytes_of("end")));
    EXPECT_EQ(text_of(volume(), "A.TXT"), std::string(2048, 'a') + "end");
    ASSERT_OK(volume().rename("A.TXT", "B.TXT"));
    EXPECT_FAILS(volume().info("A.TXT"), kNotFound, "A.TXT");
    ASSERT_OK(volume().make_directory("D"));
    ASSERT_OK(volume().rename("B.TXT", "D/C.TXT"));
    EXPECT_EQ(names_in(volume(), ""), (std::vector<std::string>{"D"}));
    EXPECT_EQ(text_of(volume(), "D/C.TXT"), std::string(2048, 'a') + "end");
    EXPECT_FAILS(volume().remove_directory("D"), kInvalid, "not empty");
    ASSERT_OK(volume().truncate("D/C.TXT", 0));
    EXPECT_EQ(volume().free_bytes(), volume().total_bytes() - 2048);
    ASSERT_OK(volume().remove("D/C.TXT"));
    ASSERT_OK(volume().remove_directory("D"));
    EXPECT_EQ(volume().free_bytes(), volume().total_bytes());
    unmount_and_check();
}

TEST_F(Volume, MovesDirectoriesButNotIntoThemselves) {
    ASSERT_OK(volume().make_directory("A"));
    ASSERT_OK(volume().make_directory("A/B"));
    ASSERT_OK(volume().make_directory("C"));
    ASSERT_OK(volume().create("A/B/F"));
    ASSERT_OK(volume().append("A/B/F", bytes_of("deep")));
    EXPECT_FAILS(volume().rename("A", "A/B/X"), kInvalid, "inside");
    EXPECT_FAILS(volume().rename("A", "A/X"), kInvalid, "inside");
    EXPECT_FAILS(volume().rename("A", "C"), kInvalid, "there already");
    EXPECT_FAILS(volume().rename("/", "X"), kInvalid, "root");
    EXPECT_FAILS(volume().rename("A", "/"), kInvalid, "there already");
    EXPECT_FAILS(volume().rename("NO", "X"), kNotFound, "NO");
    ASSERT_OK(volume().rename("A", "C/A2"));
    EXPECT_EQ(text_of(volume(), "c/a2/b/f"), "deep");
    ASSERT_OK(volume().rename("C/A2/B", "B"));
    EXPECT_EQ(text_of(volume(), "b/f"), "deep");
    unmount_and_check();  // looks at each ".."
    EXPECT_EQ(mtools_read(disk, "/B/F"), "deep");
    EXPECT_EQ(mtools_read(disk, "/B/../B/F"), "deep");
}

TEST_F(Volume, LeavesNoLongNameBehind) {
    mtools("printf hello | mcopy" + image() +
           "- '::/A long name over several entries of thirteen letters each.text'");
    mtools("printf other | mcopy" + image() + "- '::/Grüße, Κόσμε и Мир €.txt'");
    mtools("printf third | mcopy" + image() + "- '::/lower.txt'");
    mount();
    EXPECT_EQ(text_of(volume(), "GRÜßE, ΚόΣΜΕ И МИР €.TXT"), "other");
    EXPECT_EQ(names_in(volume(), "")[1], "Grüße, Κόσμε и Мир €.txt");
    EXPECT_EQ(names_in(volume(), "")[2], "lower.txt");
    // Onto its own short name, then into a directory; the other is deleted.
    ASSERT_OK(
        volume().rename("a long name over several entries of thirteen letters each.text", "ALONGN~1.TEX"));
    EXPECT_EQ(names_in(volume(), "")[0], "ALONGN~1.TEX");
    ASSERT_OK(volume().make_directory("d"));
    ASSERT_OK(volume().rename("lower.txt", "d/UPPER.TXT"));
    ASSERT_OK(volume().remove("Grüße, Κόσμε и Мир €.txt"));
    EXPECT_EQ(names_in(volume(), ""), (std::vector<std::string>{"D", "ALONGN~1.TEX"}));
    unmount_and_check();
    EXPECT_EQ(mtools_read(disk, "/ALONGN~1.TEX"), "hello");
    EXPECT_EQ(mtools_read(disk, "/D/UPPER.TXT"), "third");
}

TEST_F(Volume, RefusesNamesThatAreNone) {
    for (const char* name : {"", "/", ".", "..", "A/..", "TOOLONGNAME", "A.LONG", "A.B.C", ".HID", "A.",
                             "A B", "A+B", "Ä", "A*", "A\\B", "A:B", "A\"", "\x01", "\xE5"}) {
        EXPECT_FALSE(volume().create(name).ok()) << name;
        EXPECT_FALSE(volume().make_directory(name).ok()) << name;
    }
    EXPECT_FAILS(volume().create("X/Y"), kNotFound, "X/Y");
    ASSERT_OK(volume().create("$%'-_@~`.!()"));
    ASSERT_OK(volume().create("{}^#&/"));
    EXPECT_FAILS(volume().create("{}^#&/X"), kInvalid, "not a directory");
    EXPECT_FAILS(volume().list("{}^#&"), kInvalid, "not a directory");
    EXPECT_FAILS(volume().remove_directory("{}^#&"), kInvalid, "not a directory");
    EXPECT_FAILS(volume().remove("/"), kInvalid, "directory");
    EXPECT_FAILS(volume().remove_directory("/"), kInvalid, "root");
    EXPECT_FAILS(volume().append("/", bytes_of("x")), kInvalid, "directory");
    unmount_and_check();
}

TEST_F(Volume, IsDirtyFromTheFirstChangeToUnmount) {
    const auto entry1 = [&] { return disk.bytes(volume().layout().table_start * kSectorBytes, 4)[3]; };
    const uint32_t second = volume().layout().table_start + volume().layout().table_sectors;
    EXPECT_EQ(text_of(volume(), "NO").front(), '<');
    EXPECT_EQ(entry1(), 0xFF);
    ASSERT_OK(volume().create("A"));
    EXPECT_EQ(entry1(), 0x7F);
    EXPECT_EQ(disk.bytes(second * kSectorBytes, 4)[3], 0x7F);
    ASSERT_OK(volume().unmount());
    EXPECT_EQ(entry1(), 0xFF);
    EXPECT_EQ(disk.bytes(second * kSectorBytes, 4)[3], 0xFF);
    ASSERT_OK(volume().create("B"));  // goes on after unmounting
    EXPECT_EQ(entry1(), 0x7F);
    mount();
    EXPECT_TRUE(volume().was_dirty());
    ASSERT_OK(volume().create("C"));
    ASSERT_OK(volume().unmount());
    EXPECT_EQ(entry1(), 0x7F) << "only fsck.fat may clear what a crash left";
}

TEST_F(Volume, KeepsTheHardErrorBit) {
    disk.set<uint8_t>(volume().layout().table_start * kSectorBytes + 3, 0xBF);
    disk.set<uint8_t>((volume().layout().table_start + volume().layout().table_sectors) * kSectorBytes + 3,
                      0xBF);
    mount();
    EXPECT_TRUE(volume().had_hard_error());
    ASSERT_OK(volume().create("A"));
    ASSERT_OK(volume().unmount());
    mount();
    EXPECT_TRUE(volume().had_hard_error());
    EXPECT_FALSE(volume().was_dirty());
}

TEST_F(Volume, ReadsLargeFilesInLargePiecesAndTellsHowFarItIs) {
    struct Progress final : ReadProgress {
        std::vector<uint64_t> steps;
        void advanced(uint64_t done, uint64_t total) override {
            EXPECT_EQ(total, 12 * kMiB);
            steps.push_back(done);
        }
    } progress;
    ASSERT_OK(volume().preallocate("MODEL.BIN", 12 * kMiB));
    std::vector<uint8_t> out(12 * kMiB, 1);
    FaultyDisk counted(disk);
    Mounted through(counted);
    const FileInfo file = through->info("model.bin").take();
    const size_t before = counted.seen();
    ASSERT_OK(through->read(file, 0, out, &progress));
    EXPECT_EQ(counted.seen() - before, 12 * kMiB / disk.request_bytes)
        << "requests as large as the disk takes";
    EXPECT_EQ(progress.steps, (std::vector<uint64_t>{8 * kMiB, 12 * kMiB}));
    EXPECT_EQ(std::count(out.begin(), out.end(), 0), static_cast<ptrdiff_t>(out.size()));
}

TEST_F(Volume, GrowsDirectoriesAndFillsTheRoot) {
    ASSERT_OK(volume().make_directory("D"));
    std::vector<std::string> names;
    for (int i = 0; i < 300; ++i) {
        names.push_back("F" + std::to_string(i));
        ASSERT_OK(volume().create("D/" + names.back()));
    }
    EXPECT_EQ(names_in(volume(), "D"), names);
    for (int i = 0; i < 300; i += 2) ASSERT_OK(volume().remove("D/F" + std::to_string(i)));
    EXPECT_EQ(names_in(volume(), "D").size(), 150u);
    ASSERT_OK(volume().create("D/AGAIN"));
    EXPECT_EQ(names_in(volume(), "D")[0], "AGAIN") << "erased slots are used again";
    Result<void> filled;
    int made = 0;
    for (; (filled = volume().create("R" + std::to_string(made))).ok(); ++made) {
    }
    EXPECT_FAILS(filled, kOutOfRange, "root directory is full");
    EXPECT_EQ(made, 512 - 2);  // the label, D
    // A directory or a preallocated file that finds no slot gives its clusters back.
    const uint64_t free = volume().free_bytes();
    EXPECT_FAILS(volume().make_directory("X"), kOutOfRange, "full");
    EXPECT_FAILS(volume().preallocate("X", 5000), kOutOfRange, "full");
    EXPECT_EQ(volume().free_bytes(), free);
    unmount_and_check();
}

TEST_F(Volume, IsFullWhenItIsFull) {
    const std::string chunk(kMiB, 'x');
    ASSERT_OK(volume().create("BIG"));
    ASSERT_OK(volume().create("KEEP"));
    ASSERT_OK(volume().append("KEEP", bytes_of("kept")));
    while (volume().free_bytes() >= kMiB) ASSERT_OK(volume().append("BIG", bytes_of(chunk)));
    const uint64_t free = volume().free_bytes();
    const uint32_t size = volume().info("BIG").take().size;
    EXPECT_FAILS(volume().append("BIG", bytes_of(chunk)), kOutOfRange, "disk is full");
    EXPECT_EQ(volume().free_bytes(), free);
    EXPECT_EQ(volume().info("BIG").take().size, size);
    EXPECT_FAILS(volume().preallocate("P", kMiB), kOutOfRange, "one piece");
    ASSERT_OK(volume().append("BIG", bytes_of(chunk).first(free)));
    EXPECT_EQ(volume().free_bytes(), 0u);
    EXPECT_FAILS(volume().make_directory("D"), kOutOfRange, "disk is full");
    ASSERT_OK(volume().create("EMPTY"));
    EXPECT_FAILS(volume().append("EMPTY", bytes_of("x")), kOutOfRange, "disk is full");
    EXPECT_EQ(text_of(volume(), "KEEP"), "kept");
    unmount_and_check();
}

TEST_F(Volume, DoesNotWriteToAReadOnlyDisk) {
    ASSERT_OK(volume().create("A"));
    ASSERT_OK(volume().append("A", bytes_of("text")));
    ASSERT_OK(volume().unmount());
    disk.read_only = true;
    mount();
    EXPECT_EQ(text_of(volume(), "A"), "text");
    EXPECT_FAILS(volume().writable(), kUnsupported, "read-only");
    EXPECT_FAILS(volume().create("B"), kUnsupported, "read-only");
    EXPECT_FAILS(volume().append("A", bytes_of("x")), kUnsupported, "read-only");
    EXPECT_FAILS(volume().truncate("A", 0), kUnsupported, "read-only");
    EXPECT_FAILS(volume().remove("A"), kUnsupported, "read-only");
    EXPECT_FAILS(volume().rename("A", "B"), kUnsupported, "read-only");
    EXPECT_FAILS(volume().make_directory("D"), kUnsupported, "read-only");
    EXPECT_FAILS(volume().preallocate("P", 1), kUnsupported, "read-only");
    auto fixed = volume().contiguous_sectors("A");
    EXPECT_OK(fixed);
    unmount_and_check();
}

/// All of a file through a FatReader, in reads of `size` bytes, several under way.
std::string read_ahead(BlockDevice& disk, Fat16& volume, std::string_view path, size_t size) {
    TestAllocator allocator;
    const FileInfo info = volume.info(path).take();
    FatReader reader(disk, volume.runs_of(info, allocator).take(), info.size);
    std::vector<uint8_t> text(info.size + size + AsyncFile::kUnit, 0xEE);
    AsyncFile::Read reads[3];
    uint64_t offset = 0;
    while (offset < info.size) {
        size_t started = 0;
        for (AsyncFile::Read& read : reads) {
            if (offset >= info.size) break;
            read = {offset, {text.data() + offset, size}, false, {}};
            if (!reader.start(read)) break;
            offset += read.out.size();
            ++started;
        }
        EXPECT_GT(started, 0u);
        for (size_t i = 0; i < started; ++i) {
            while (!reads[i].done) reader.poll();
            EXPECT_OK(reads[i].outcome);
        }
    }
    return {reinterpret_cast<const char*>(text.data()), info.size};
}

TEST_F(Volume, ReadsAheadFilesInOneAndInManyPieces) {
    const std::string text = pattern(300'001, 5);
    ASSERT_OK(volume().create("WHOLE"));
    ASSERT_OK(volume().append("WHOLE", bytes_of(text)));
    ASSERT_OK(volume().create("PIECES"));
    ASSERT_OK(volume().create("OTHER"));
    for (size_t at = 0; at < text.size(); at += 7000) {
        ASSERT_OK(volume().append("PIECES", bytes_of(text.substr(at, 7000))));
        ASSERT_OK(volume().append("OTHER", bytes_of("something between")));
        ASSERT_OK(volume().append("OTHER", bytes_of(pattern(2048, 1))));
    }
    TestAllocator allocator;
    EXPECT_EQ(volume().runs_of(volume().info("WHOLE").take(), allocator).value().size(), 1u);
    EXPECT_GT(volume().runs_of(volume().info("PIECES").take(), allocator).value().size(), 20u);
    for (const char* name : {"WHOLE", "PIECES"}) {
        for (size_t size : {512, 4096, 12'288, 1 << 20})
            EXPECT_EQ(read_ahead(disk, volume(), name, size), text) << name << size;
    }
    EXPECT_FAILS(volume().runs_of(volume().info("/").take(), allocator), kInvalid, "no file");
    ASSERT_OK(volume().create("EMPTY"));
    EXPECT_FAILS(volume().runs_of(volume().info("EMPTY").take(), allocator), kInvalid, "no file");
}

/// Takes no more requests than it says, and ends them one at a time.
class NarrowDisk final : public BlockDevice {
 public:
    NarrowDisk(BlockDevice& disk, unsigned most) : disk_(disk), most_(most) {}
    std::string_view name() const override { return "narrow"; }
    Limits limits() const override {
        Limits limits = disk_.limits();
        limits.in_flight = most_;
        limits.request_bytes = 3 * kSectorBytes;
        return limits;
    }
    void start(BlockRequest& request) override {
        waiting_.push_back(&request);
        EXPECT_LE(waiting_.size(), most_);
    }
    void poll() override {
        if (waiting_.empty()) return;
        disk_.start(*waiting_.back());
        waiting_.pop_back();
    }

 private:
    BlockDevice& disk_;
    unsigned most_;
    std::vector<BlockRequest*> waiting_;
};

TEST_F(Volume, ReadsAheadBesideOtherWorkWithinTheDisksQueue) {
    const std::string text = pattern(40'000, 5);
    ASSERT_OK(volume().create("FILE"));
    ASSERT_OK(volume().append("FILE", bytes_of(text)));
    TestAllocator allocator;
    const FileInfo info = volume().info("FILE").take();
    for (unsigned most : {2u, 3u, 5u, 16u, 40u}) {
        NarrowDisk narrow(disk, most);
        FatReader reader(narrow, volume().runs_of(info, allocator).take(), info.size);
        constexpr size_t kSize = 3 * kSectorBytes;
        std::vector<uint8_t> room(64 * kSize), other(100 * kSectorBytes);
        std::vector<AsyncFile::Read> reads(64);
        size_t started = 0;
        for (; started < reads.size(); ++started) {
            reads[started] = {started * kSectorBytes, {room.data() + started * kSize, kSize}, false, {}};
            if (!reader.start(reads[started])) break;
        }
        EXPECT_GE(started, 1u);
        EXPECT_OK(narrow.read(0, other));  // somebody else, while those are under way
        EXPECT_OK(narrow.flush());
        for (size_t i = 0; i < started; ++i) {
            while (!reads[i].done) reader.poll();
            const auto* got = reinterpret_cast<const char*>(reads[i].out.data());
            EXPECT_EQ(std::string(got, reads[i].out.size()),
                      text.substr(i * kSectorBytes, reads[i].out.size()));
        }
    }
}

TEST_F(Volume, SaysWhichReadAheadFailed) {
    ASSERT_OK(volume().create("FILE"));
    ASSERT_OK(volume().append("FILE", bytes_of(pattern(50'000, 5))));
    TestAllocator allocator;
    const FileInfo info = volume().info("FILE").take();
    FaultyDisk faulty(disk);
    FatReader reader(faulty, volume().runs_of(info, allocator).take(), info.size);
    faulty.fail(0, FaultyDisk::Fault::kError);
    alignas(64) uint8_t room[4096];
    AsyncFile::Read read{0, room, false, {}};
    ASSERT_TRUE(reader.start(read));
    while (!read.done) reader.poll();
    EXPECT_FAILS(read.outcome, kDevice, "sector");
}

TEST_F(Volume, GivesAllItsMemoryBack) {
    EXPECT_LE((*fat).allocator.live, 3u);
    TestAllocator& allocator = fat->allocator;
    fat->volume.reset();
    EXPECT_EQ(allocator.live, 0u);
    for (size_t most = 0; most < 5; ++most) {
        TestAllocator small;
        small.fail_after = most;
        EXPECT_FAILS(Fat16::mount(disk, {0, disk.limits().sectors}, small), kOutOfMemory, "bytes");
        EXPECT_EQ(small.live, 0u);
    }
}

TEST_F(Volume, MakesCopiesOfTheTableEqualAgain) {
    const uint64_t second = (volume().layout().table_start + volume().layout().table_sectors) * kSectorBytes;
    disk.set<uint16_t>(second + 1000, 0x1234);
    mount();
    EXPECT_EQ(volume().differing_table_sectors(), 1u);
    EXPECT_NE(fsck_fat(disk), "");
    ASSERT_OK(volume().create("A"));
    unmount_and_check();
}

}  // namespace
}  // namespace bareflow
