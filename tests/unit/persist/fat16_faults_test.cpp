// What becomes of a volume when its disk fails in the middle of a change, or the power does. Each change is tried with a
// fault at each of its requests, and with only the first n of its writes done, for all n. Afterwards the files that it
// had nothing to do with are as they were, its own are as before or as wanted, and fsck.fat finds nothing worse than
// what is listed here.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <set>

#include "tests/unit/persist/fat_support.h"
#include "tests/unit/persist/faulty_disk.h"

namespace bareflow {
namespace {

constexpr uint64_t kDiskBytes = 4152 * kSectorBytes;  // clusters of one sector: everything takes many
const std::string kGone = "<gone>", kDirectory = "<directory>";

/// What stands at a path.
std::string state_of(Fat16& volume, const std::string& path) {
    auto info = volume.info(path);
    if (!info.ok()) return info.error().code() == ErrorCode::kNotFound ? kGone : message_of(info);
    return info.value().directory ? kDirectory : text_of(volume, path);
}

using States = std::map<std::string, std::string>;

struct Change {
    const char* name;
    std::function<Result<void>(Fat16&)> act;
    States before, after;
    /// What else there may be between two writes.
    std::vector<States> between = {};
};

void PrintTo(const Change& change, std::ostream* out) { *out << change.name; }

std::string repeated(char c, size_t count) { return std::string(count, c); }

std::vector<Change> all_changes() {
    const std::string v = repeated('v', 3000), w = repeated('w', 1300);
    const std::string long_name = "DEEP/a victim whose name takes four entries.txt";
    std::vector<Change> changes;
    changes.push_back(
        {"create", [](Fat16& fat) { return fat.create("NEW"); }, {{"NEW", kGone}}, {{"NEW", ""}}});
    changes.push_back({"create in a full directory",
                       [](Fat16& fat) { return fat.create("FULL/NEW"); },
                       {{"FULL/NEW", kGone}},
                       {{"FULL/NEW", ""}}});
    changes.push_back({"first append",
                       [=](Fat16& fat) { return fat.append("EMPTY", bytes_of(w)); },
                       {{"EMPTY", ""}},
                       {{"EMPTY", w}}});
    changes.push_back(
        {"append", [=](Fat16& fat) { return fat.append("V", bytes_of(w)); }, {{"V", v}}, {{"V", v + w}}});
    changes.push_back({"append over several sectors of the table",
                       [](Fat16& fat) { return fat.append("V", bytes_of(repeated('x', 200'000))); },
                       {{"V", v}},
                       {{"V", v + repeated('x', 200'000)}}});
    changes.push_back({"truncate",
                       [](Fat16& fat) { return fat.truncate("V", 1000); },
                       {{"V", v}},
                       {{"V", v.substr(0, 1000)}}});
    changes.push_back(
        {"truncate to nothing", [](Fat16& fat) { return fat.truncate("V", 0); }, {{"V", v}}, {{"V", ""}}});
    changes.push_back({"remove", [](Fat16& fat) { return fat.remove("V"); }, {{"V", v}}, {{"V", kGone}}});
    changes.push_back({"remove with a long name",
                       [=](Fat16& fat) { return fat.remove(long_name); },
                       {{"DEEP/AVICTI~1.TXT", w}},
                       {{"DEEP/AVICTI~1.TXT", kGone}}});
    changes.push_back({"rename",
                       [](Fat16& fat) { return fat.rename("V", "V9"); },
                       {{"V", v}, {"V9", kGone}},
                       {{"V", kGone}, {"V9", v}}});
    changes.push_back({"rename with a long name",
                       [=](Fat16& fat) { return fat.rename(long_name, "DEEP/SHORT"); },
                       {{"DEEP/AVICTI~1.TXT", w}, {"DEEP/SHORT", kGone}},
                       {{"DEEP/AVICTI~1.TXT", kGone}, {"DEEP/SHORT", w}}});
    changes.push_back({"move",
                       [](Fat16& fat) { return fat.rename("V", "DEEP/V9"); },
                       {{"V", v}, {"DEEP/V9", kGone}},
                       {{"V", kGone}, {"DEEP/V9", v}},
                       {{{"V", v}, {"DEEP/V9", v}}}});
    changes.push_back({"move a directory",
                       [](Fat16& fat) { return fat.rename("BARE", "DEEP/BARE"); },
                       {{"BARE", kDirectory}, {"DEEP/BARE", kGone}},
                       {{"BARE", kGone}, {"DEEP/BARE", kDirectory}},
                       {{{"BARE", kDirectory}, {"DEEP/BARE", kDirectory}}}});
    changes.push_back({"make a directory",
                       [](Fat16& fat) { return fat.make_directory("DEEP/D"); },
                       {{"DEEP/D", kGone}},
                       {{"DEEP/D", kDirectory}}});
    changes.push_back({"remove a directory",
                       [](Fat16& fat) { return fat.remove_directory("BARE"); },
                       {{"BARE", kDirectory}},
                       {{"BARE", kGone}}});
    changes.push_back({"preallocate",
                       [](Fat16& fat) { return fat.preallocate("P", 300'000); },
                       {{"P", kGone}},
                       {{"P", std::string(300'000, '\0')}}});
    return changes;
}

struct Faults : testing::TestWithParam<Change> {
    static inline std::unique_ptr<MemoryDisk> base;
    static inline States witnesses;

    static void SetUpTestSuite() {
        base = std::make_unique<MemoryDisk>(kDiskBytes);
        ASSERT_EQ(make_fat(*base, "-F 16 -s 1 -r 512 -R 1 -f 2 -a").status, 0);
        {
            Mounted fat(*base);
            for (const char* directory : {"DEEP", "FULL", "BARE"}) ASSERT_OK(fat->make_directory(directory));
            for (const char* file : {"W1", "W2", "V", "EMPTY", "DEEP/W3", "FULL/W4"})
                ASSERT_OK(fat->create(file));
            for (int i = 0; i < 6; ++i) {  // in each other's gaps
                for (const char* file : {"W1", "W2", "DEEP/W3", "FULL/W4"}) {
                    ASSERT_OK(fat->append(file, bytes_of(repeated(static_cast<char>('a' + i), 500))));
                }
                ASSERT_OK(fat->append("V", bytes_of(repeated('v', 500))));
            }
            for (int i = 0; i < 13; ++i)
                ASSERT_OK(fat->create("FULL/F" + std::to_string(i)));  // 16 with dots and W4
            for (int i = 0; i < 9; ++i) ASSERT_OK(fat->create("DEEP/F" + std::to_string(i)));
            ASSERT_OK(fat->unmount());
        }
        // Slots 12 to 16 of DEEP: the name's pieces and the entry stand in two sectors.
        const std::string command =
            "yes w | tr -d '\\n' | head -c 1300 | mcopy -i " + base->path() + " - '::/DEEP/";
        ASSERT_EQ(run_command(command + "a victim whose name takes four entries.txt'").status, 0);
        Mounted fat(*base);
        for (const char* path : {"W1", "W2", "DEEP/W3", "FULL/W4", "FULL/F12", "DEEP/F8"}) {
            witnesses[path] = state_of(*fat, path);
            ASSERT_NE(witnesses[path].substr(0, 1), "<");
        }
        ASSERT_EQ(fsck_fat(*base), "");
    }
    static void TearDownTestSuite() { base.reset(); }

    MemoryDisk disk{kDiskBytes};

    static bool is(Fat16& volume, const States& states) {
        for (const auto& [path, state] : states) {
            if (state_of(volume, path) != state) return false;
        }
        return true;
    }
    /// Mounted anew: others untouched, its own before, after or, where `in_between` says so, in between.
    void check_files(bool in_between) {
        const Change& change = GetParam();
        Mounted fat(disk);
        for (const auto& [path, state] : witnesses) ASSERT_TRUE(state_of(*fat, path) == state) << path;
        if (is(*fat, change.before) || is(*fat, change.after)) return;
        for (const States& states : change.between) {
            if (!in_between || !is(*fat, states)) continue;
            EXPECT_FAILS(fat->writable(), kUnsupported, "both begin in cluster");
            return;
        }
        for (const auto& [path, state] : change.before)
            ADD_FAILURE() << path << ": " << state_of(*fat, path).substr(0, 200);
    }
    /// What fsck.fat says, without what a cut may leave: the mark of a volume in use, lost clusters, copies of the FAT
    /// that differ, clusters behind a file's end, pieces of a long name whose file is gone or renamed; and for what was
    /// being moved, both names.
    std::string fsck_beyond_losses() {
        const std::string output = fsck_fat(disk);
        std::string rest;
        for (size_t at = 0, end; at < output.size(); at = end + 1) {
            end = std::min(output.find('\n', at), output.size());
            const std::string line = output.substr(at, end - at);
            bool known = line.empty() || line.starts_with("/proc/") || line.starts_with("fsck.fat ");
            for (const char* words :
                 {"Leaving filesystem unchanged", "Dirty bit is set", "removing dirty bit", "Reclaimed",
                  "FATs differ but appear to be intact", "Using first FAT", "chain length is >",
                  "Orphaned long file name part", "Auto-deleting", "Wrong checksum for long file name",
                  "Not auto-correcting", "may have changed without updating the long name"}) {
                known = known || line.find(words) != std::string::npos;
            }
            // Which file, and what would be done about it: part of a finding above.
            for (const auto* states : {&GetParam().before, &GetParam().after}) {
                for (const auto& [path, state] : *states)
                    known = known || line == "/" + path || line == "/" + path + "  and";
            }
            known = known || line.starts_with("  Truncating file to");
            for (const char* words : {"share clusters", "Truncating second to", ", cluster chain length is ",
                                      "Invalid '..' entry"}) {
                known = known || (!GetParam().between.empty() && line.find(words) != std::string::npos);
            }
            if (!known) rest += line + "\n";
        }
        return rest;
    }
};

TEST_P(Faults, AtAnyRequestHarmNoOtherFile) {
    for (const FaultyDisk::Fault fault : {FaultyDisk::Fault::kError, FaultyDisk::Fault::kShort,
                                          FaultyDisk::Fault::kTimeOut, FaultyDisk::Fault::kTimeLate}) {
        for (const size_t times : {size_t{1}, SIZE_MAX}) {
            unsigned fsck_every = fault == FaultyDisk::Fault::kError ? 1 : 7;
            bool came_to_be = true;
            for (size_t nth = 0; came_to_be; ++nth) {
                SCOPED_TRACE("fault " + std::to_string(static_cast<int>(fault)) + " at request " +
                             std::to_string(nth) + (times == 1 ? "" : " and on"));
                disk.copy_from(*base);
                bool done = false, clean = false, flush_failed = false;
                {
                    FaultyDisk faulty(disk);
                    Mounted fat(faulty);
                    faulty.fail(nth, fault, times);
                    faulty.recording = true;
                    done = GetParam().act(*fat).ok();
                    came_to_be = faulty.failed() > 0;
                    faulty.heal();
                    clean = fat->unmount().ok();
                    flush_failed = !clean;
                    if (done) {
                        ASSERT_TRUE(is(*fat, GetParam().after));
                    }
                    if (done && times > 1) {
                        ASSERT_FALSE(came_to_be);
                    }
                }
                check_files(times > 1 || flush_failed);
                if (HasFailure()) return;
                if (nth % fsck_every != 0) continue;
                // Unmounted, the volume is as well as if nothing had been.
                if (clean) {
                    ASSERT_EQ(fsck_fat(disk), "");
                }
                if (flush_failed) {
                    ASSERT_EQ(fsck_beyond_losses(), "");
                }
            }
        }
    }
}

TEST_P(Faults, OfThePowerAfterAnyWriteHarmNoOtherFile) {
    std::vector<FaultyDisk::Record> records;
    disk.copy_from(*base);
    {
        FaultyDisk faulty(disk);
        Mounted fat(faulty);
        faulty.recording = true;
        ASSERT_OK(GetParam().act(*fat));
        // The power may fail between any two sectors of what the others hang on: table and directories.
        for (FaultyDisk::Record& record : faulty.records) {
            const bool split = !record.flush && record.sector < fat->layout().data_start;
            const size_t piece = split ? kSectorBytes : record.bytes.size();
            if (record.flush) records.push_back({true, 0, {}});
            for (size_t at = 0; at < record.bytes.size(); at += piece) {
                const auto from = record.bytes.begin() + static_cast<ptrdiff_t>(at);
                records.push_back(
                    {false, record.sector + at / kSectorBytes, {from, from + static_cast<ptrdiff_t>(piece)}});
            }
        }
    }
    std::mt19937 random(5);
    for (size_t cut = 0; cut <= records.size(); ++cut) {
        // In order; and with some of the writes since the last flush left out, as a disk with a cache may do.
        for (const bool in_order : {true, false, false}) {
            size_t flushed = 0;
            for (size_t i = 0; i < cut; ++i) {
                if (records[i].flush) flushed = i;
            }
            disk.copy_from(*base);
            for (size_t i = 0; i < cut; ++i) {
                if (records[i].flush || (!in_order && i > flushed && random() % 2 == 0)) continue;
                disk.set_bytes(records[i].sector * kSectorBytes, records[i].bytes);
            }
            SCOPED_TRACE("after write " + std::to_string(cut) + " of " + std::to_string(records.size()));
            check_files(true);
            ASSERT_EQ(fsck_beyond_losses(), "");
            if (HasFailure()) return;
        }
    }
    ASSERT_TRUE(records.back().flush) << "what a call did is on the medium when it returns";
}

INSTANTIATE_TEST_SUITE_P(Changes, Faults, testing::ValuesIn(all_changes()), [](const auto& change) {
    std::string name = change.param.name;
    std::replace(name.begin(), name.end(), ' ', '_');
    return name;
});

// What other files hang on is tried twice, so that one fault of a disk does not end all writing.
TEST(Retries, CarryAChangeOverOneFault) {
    MemoryDisk disk(kDiskBytes);
    ASSERT_EQ(make_fat(disk, "-F 16 -s 1 -r 512 -R 1 -f 2 -a").status, 0);
    FaultyDisk faulty(disk);
    faulty.flushes = false;
    for (const bool reads : {false, true}) {
        faulty.reads = reads;
        faulty.writes = !reads;
        for (size_t nth = 0; nth < 2; ++nth) {
            Mounted fat(faulty);
            faulty.fail(reads ? 0 : nth);
            const size_t before = faulty.failed();
            EXPECT_OK(fat->create("F" + std::to_string(nth) + (reads ? "R" : "W")));
            EXPECT_EQ(faulty.failed(), before + 1);
            EXPECT_OK(fat->unmount());
        }
    }
    EXPECT_EQ(fsck_fat(disk), "");
}

// ---------------------------------------------------------------- files rewritten in place
struct FixedFiles : testing::Test {
    MemoryDisk disk{kDiskBytes};
    void SetUp() override {
        ASSERT_EQ(make_fat(disk, "-F 16 -s 1 -r 512 -R 1 -f 2 -a").status, 0);
        Mounted fat(disk);
        ASSERT_OK(fat->create("WITNESS"));
        ASSERT_OK(fat->append("WITNESS", bytes_of(repeated('w', 5000))));
        ASSERT_OK(fat->preallocate("SNAPA.BIN", 40 * kSectorBytes));
        ASSERT_OK(fat->preallocate("SNAPB.BIN", 40 * kSectorBytes));
        ASSERT_OK(fat->unmount());
    }
};

TEST_F(FixedFiles, AreRewrittenWithoutTouchingAnythingElse) {
    const auto before = disk.bytes(0, kDiskBytes);
    FaultyDisk recorder(disk);
    Mounted fat(recorder);
    FatFixedFile file = fat->open_fixed("snapa.bin").take();
    recorder.recording = true;
    EXPECT_EQ(file.size(), 40 * kSectorBytes);
    const std::vector<uint8_t> text(20 * kSectorBytes, 'A');
    ASSERT_OK(file.write(10 * kSectorBytes, text));
    ASSERT_OK(file.flush());
    ASSERT_OK(file.write(0, ByteSpan(text).first(kSectorBytes)));
    ASSERT_OK(file.flush());
    std::vector<uint8_t> read(20 * kSectorBytes);
    ASSERT_OK(file.read(10 * kSectorBytes, read));
    EXPECT_EQ(read, text);

    // Each prefix of the writes, and each sector of them.
    const SectorRange range = file.sectors();
    EXPECT_EQ(range, fat->contiguous_sectors("SNAPA.BIN").take());
    size_t flushes = 0;
    auto image = before;
    for (const FaultyDisk::Record& record : recorder.records) {
        flushes += record.flush;
        if (record.flush) continue;
        ASSERT_GE(record.sector, range.first);
        for (size_t at = 0; at < record.bytes.size(); at += kSectorBytes) {
            std::memcpy(&image[record.sector * kSectorBytes + at], &record.bytes[at], kSectorBytes);
            ASSERT_LT(record.sector + at / kSectorBytes, range.first + range.count);
            disk.set_bytes(0, image);
            ASSERT_EQ(fsck_fat(disk), "");
            Mounted again(disk);
            ASSERT_EQ(text_of(*again, "WITNESS"), repeated('w', 5000));
            ASSERT_EQ(text_of(*again, "SNAPB.BIN"), std::string(40 * kSectorBytes, '\0'));
            ASSERT_FALSE(again->was_dirty());
        }
    }
    EXPECT_EQ(flushes, 2u);
}

TEST_F(FixedFiles, RefuseWhatIsNoneOrNotInThem) {
    Mounted fat(disk);
    FatFixedFile file = fat->open_fixed("SNAPA.BIN").take();
    std::vector<uint8_t> bytes(41 * kSectorBytes);
    EXPECT_FAILS(file.write(0, bytes), kOutOfRange, "fixed file");
    EXPECT_FAILS(file.write(40 * kSectorBytes, ByteSpan(bytes).first(512)), kOutOfRange, "fixed file");
    EXPECT_FAILS(file.write(1, ByteSpan(bytes).first(512)), kOutOfRange, "whole sectors");
    EXPECT_FAILS(file.write(0, ByteSpan(bytes).first(100)), kOutOfRange, "whole sectors");
    EXPECT_FAILS(file.read(UINT64_MAX - 511, std::span(bytes).first(512)), kOutOfRange, "fixed file");
    EXPECT_FAILS(fat->open_fixed("WITNESS"), kInvalid, "no whole sectors");
    EXPECT_FAILS(fat->open_fixed("NONE"), kNotFound, "NONE");
    EXPECT_FAILS(fat->open_fixed("/"), kInvalid, "directory");
    ASSERT_OK(fat->create("E"));
    EXPECT_FAILS(fat->open_fixed("E"), kInvalid, "empty");
    // Two files that grow in turns have no piece of more than a cluster.
    ASSERT_OK(fat->create("F"));
    for (int i = 0; i < 2; ++i) {
        ASSERT_OK(fat->append("E", ByteSpan(bytes).first(512)));
        ASSERT_OK(fat->append("F", ByteSpan(bytes).first(512)));
    }
    EXPECT_FAILS(fat->open_fixed("E"), kInvalid, "several pieces");
    EXPECT_FAILS(fat->contiguous_sectors("F"), kInvalid, "several pieces");
    EXPECT_FAILS(fat->preallocate("F", 1024), kInvalid, "not in one piece");
    ASSERT_OK(fat->preallocate("SNAPA.BIN", 40 * kSectorBytes));
    EXPECT_FAILS(fat->preallocate("SNAPA.BIN", 41 * kSectorBytes), kInvalid, "there already");
    disk.read_only = true;
    EXPECT_FAILS(file.write(0, ByteSpan(bytes).first(512)), kUnsupported, "read-only");
}

TEST_F(FixedFiles, SayWhatTheDiskSays) {
    FaultyDisk faulty(disk);
    Mounted fat(faulty);
    FatFixedFile file = fat->open_fixed("SNAPA.BIN").take();
    std::vector<uint8_t> bytes(512);
    faulty.fail(0);
    EXPECT_FAILS(file.write(0, bytes), kDevice, "error");
    EXPECT_OK(file.write(0, bytes));
    faulty.fail(0, FaultyDisk::Fault::kTimeOut);
    EXPECT_FAILS(file.flush(), kDevice, "time-out");
    EXPECT_OK(file.flush());
    faulty.fail(0, FaultyDisk::Fault::kShort);
    EXPECT_FAILS(file.read(0, bytes), kDevice, "short");
}

}  // namespace
}  // namespace bareflow
