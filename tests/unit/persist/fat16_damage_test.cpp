// Volumes that somebody broke, or made to break us: each is refused with a message, or read as far as it goes. Nothing
// hangs, and nothing reaches outside the volume.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "persist/fat16_name.h"
#include "tests/unit/persist/fat_support.h"

namespace bareflow {
namespace {

struct Damage : testing::Test {
    static constexpr uint32_t kCluster = 2048;
    MemoryDisk disk{16 * kMiB};
    FatLayout layout;

    void SetUp() override {
        ASSERT_EQ(make_fat(disk, "-F 16 -s 4").status, 0);
        Mounted fat(disk);
        layout = fat->layout();
        ASSERT_OK(fat->make_directory("D"));             // cluster 2
        ASSERT_OK(fat->preallocate("F", 5 * kCluster));  // 3 to 7
        ASSERT_OK(fat->preallocate("G", 2 * kCluster));  // 8, 9
        ASSERT_OK(fat->create("D/H"));
        ASSERT_OK(fat->unmount());
    }
    void set_table(uint32_t cluster, uint16_t value) {
        for (uint32_t copy = 0; copy < 2; ++copy) {
            disk.set<uint16_t>(
                (layout.table_start + copy * layout.table_sectors) * kSectorBytes + cluster * 2, value);
        }
    }
    /// The byte `at` of the root's entry `index`.
    uint64_t root_entry(unsigned index, unsigned at) const {
        return layout.root_start * kSectorBytes + index * 32 + at;
    }
    /// Every call on files that cannot be what they say: none may work, none may change the disk beyond the dirty mark.
    void expect_damaged(const char* path, const char* words) {
        SCOPED_TRACE(words);
        Mounted fat(disk);
        std::vector<uint8_t> out(5 * kCluster);
        EXPECT_FAILS(fat->read(path, 0, out), kInvalid, words);
        EXPECT_FALSE(fat->append(path, out).ok());
        EXPECT_FALSE(fat->truncate(path, 1).ok());
        EXPECT_FALSE(fat->remove(path).ok());
        EXPECT_FALSE(fat->open_fixed(path).ok());
        EXPECT_FALSE(fat->contiguous_sectors(path).ok());
    }
};

TEST_F(Damage, OfChainsIsTold) {
    const auto broken = [&](uint32_t cluster, uint16_t value, const char* words) {
        set_table(cluster, value);
        expect_damaged("F", words);
        set_table(cluster, static_cast<uint16_t>(cluster == 7 ? 0xFFFF : cluster + 1));
    };
    broken(5, 0, "free");
    broken(5, 1, "outside the volume");
    broken(5, 0xFFF7, "bad");
    broken(5, 0xFFF6, "outside the volume");
    broken(5, static_cast<uint16_t>(layout.end_cluster()), "outside the volume");
    broken(5, 0xFFFF, "3 clusters");
    broken(5, 5, "loop");
    broken(7, 3, "loop");
    broken(7, 4, "loop");
    Mounted fat(disk);
    EXPECT_OK(fat->remove("F"));
}

TEST_F(Damage, OfStartsIsTold) {
    for (const uint16_t start : {0, 1, 0xFFF7, 0xFFFF}) {
        disk.set<uint16_t>(root_entry(1, 26), start);
        expect_damaged("F", "cluster");
    }
    disk.set<uint16_t>(root_entry(1, 26), static_cast<uint16_t>(layout.end_cluster()));
    expect_damaged("F", "outside the volume");
    disk.set<uint16_t>(root_entry(1, 26), 100);
    expect_damaged("F", "free");
}

TEST_F(Damage, OfSizesIsTold) {
    disk.set<uint32_t>(root_entry(1, 28), 5 * kCluster + 1);
    expect_damaged("F", "5 clusters");
    disk.set<uint32_t>(root_entry(1, 28), UINT32_MAX);
    expect_damaged("F", "4294967295");
}

TEST_F(Damage, ByFewerBytesThanClustersIsNone) {
    disk.set<uint32_t>(root_entry(1, 28), kCluster + 10);
    Mounted fat(disk);
    ASSERT_OK(fat->append("F", bytes_of(std::string(3 * kCluster, 'x'))));
    EXPECT_EQ(text_of(*fat, "F").substr(kCluster + 10), std::string(3 * kCluster, 'x'));
    ASSERT_OK(fat->unmount());
    EXPECT_EQ(fsck_fat(disk), "");
}

TEST_F(Damage, ByJoinedChainsMakesTheVolumeReadOnly) {
    set_table(9, 4);  // G goes on in F
    Mounted fat(disk);
    EXPECT_FAILS(fat->writable(), kUnsupported, "join at cluster 4");
    EXPECT_FAILS(fat->create("X"), kUnsupported, "fsck.fat");
    EXPECT_EQ(text_of(*fat, "F"), std::string(5 * kCluster, '\0'));
    set_table(9, 3);  // the same with F's start, which only F's entry tells
    Mounted again(disk);
    EXPECT_FAILS(again->remove("F"), kInvalid, "also the rest of another's chain");
    EXPECT_FAILS(again->truncate("F", 0), kInvalid, "also the rest of another's chain");
    set_table(9, 2);  // and with a directory's
    Mounted once_more(disk);
    ASSERT_OK(once_more->remove("D/H"));
    EXPECT_FAILS(once_more->remove_directory("D"), kInvalid, "also the rest of another's chain");
}

TEST_F(Damage, ByHalfAChainOfNobodyIsWalkedAround) {
    // As a power cut leaves it that lost one sector of the table: 200 leads to 201, which is free.
    set_table(200, 201);
    Mounted fat(disk);
    const uint64_t free = fat->free_bytes();
    ASSERT_OK(fat->preallocate("NEW", 195 * kCluster));
    EXPECT_OK(fat->open_fixed("NEW"));
    std::vector<uint8_t> bytes(300 * kCluster);
    ASSERT_OK(fat->create("GROWS"));
    EXPECT_OK(fat->append("GROWS", bytes));
    EXPECT_OK(fat->read("GROWS", 0, bytes));
    EXPECT_EQ(fat->free_bytes(), free - 495 * kCluster);
    EXPECT_OK(fat->remove("GROWS"));
    EXPECT_OK(fat->remove("NEW"));
    EXPECT_EQ(fat->free_bytes(), free);
    EXPECT_EQ(free, (layout.clusters - 10) * uint64_t{kCluster}) << "8 of D, F and G, the half chain's two";
}

TEST_F(Damage, ByTwoEntriesOfOneFileIsFoundAfterACrash) {
    disk.set<uint16_t>(root_entry(2, 26), 3);
    EXPECT_OK(Mounted(disk)->writable());
    set_table(1, 0x7FFF);
    EXPECT_FAILS(Mounted(disk)->writable(), kUnsupported, "both begin in cluster 3");
    set_table(1, 0xFFFF);
    disk.set<uint8_t>(37, 1);  // Linux's mark
    EXPECT_FAILS(Mounted(disk)->writable(), kUnsupported, "both begin in cluster 3");
}

TEST_F(Damage, OfDirectoriesIsTold) {
    const auto broken = [&](const char* words) {
        SCOPED_TRACE(words);
        Mounted fat(disk);
        const auto names = names_in(*fat, "D");
        ASSERT_EQ(names.size(), 1u);
        EXPECT_NE(names[0].find(words), std::string::npos) << names[0];
        EXPECT_FALSE(fat->create("D/X").ok());
        EXPECT_FALSE(fat->info("D/X").ok());
        EXPECT_FALSE(fat->remove_directory("D").ok());
        EXPECT_FALSE(fat->make_directory("D/X").ok());
        EXPECT_FALSE(fat->rename("F", "D/X").ok());
        EXPECT_FALSE(fat->rename("D", "E/X").ok());
    };
    // Full of erased entries, so that nobody stops before the chain's end.
    for (unsigned i = 0; i < kCluster / 32; ++i) {
        disk.set<uint8_t>(layout.sector_of(2) * kSectorBytes + i * 32, 0xE5);
    }
    set_table(2, 2);
    broken("more than 65536 entries");
    set_table(2, 0);
    broken("free");
    set_table(2, 0xFFF7);
    broken("bad");
    set_table(2, 0xFFFF);
    for (const uint32_t start : {0U, 1U, 0xFFFFU, layout.end_cluster()}) {
        disk.set<uint16_t>(root_entry(0, 26), static_cast<uint16_t>(start));
        Mounted fat(disk);
        EXPECT_FALSE(fat->list("D").ok() && names_in(*fat, "D").front().front() != '<');
        EXPECT_FALSE(fat->create("D/X").ok());
        EXPECT_FALSE(fat->remove_directory("D").ok());
    }
}

TEST_F(Damage, OfParentsKeepsDirectoriesWhereTheyAre) {
    disk.set<uint8_t>(layout.sector_of(2) * kSectorBytes + 32, 'X');
    Mounted fat(disk);
    ASSERT_OK(fat->make_directory("E"));
    EXPECT_FAILS(fat->rename("D", "E/D"), kInvalid, "no \"..\"");
    EXPECT_OK(fat->info("D"));
    EXPECT_TRUE(names_in(*fat, "E").empty());
}

TEST_F(Damage, BehindTheEndOfADirectoryStaysHidden) {
    // The end is over-written by the next file; what stood behind it must not come to light.
    disk.set_bytes(root_entry(4, 0), bytes_of("GHOST   BIN \x20"));
    disk.set<uint16_t>(root_entry(4, 26), 3);
    Mounted fat(disk);
    EXPECT_EQ(names_in(*fat, "").size(), 3u);
    ASSERT_OK(fat->create("NEW"));
    EXPECT_EQ(names_in(*fat, ""), (std::vector<std::string>{"D", "F", "G", "NEW"}));
    ASSERT_OK(fat->unmount());
    EXPECT_EQ(fsck_fat(disk), "");
}

TEST_F(Damage, OfATableIsMetByItsCopy) {
    const uint64_t first = layout.table_start * kSectorBytes;
    disk.set<uint16_t>(first, 0);
    {
        Mounted fat(disk);
        EXPECT_EQ(text_of(*fat, "F"), std::string(5 * kCluster, '\0'));
        EXPECT_FAILS(fat->writable(), kUnsupported, "FAT 2");
    }
    disk.set<uint16_t>(first + layout.table_sectors * kSectorBytes, 0xFFF0);
    TestAllocator allocator;
    EXPECT_FAILS(Fat16::mount(disk, {0, disk.limits().sectors}, allocator), kInvalid, "begins with 0000");
}

TEST_F(Damage, OfAVolumeLargerThanItsPlaceIsToldAtOnce) {
    TestAllocator allocator;
    EXPECT_FAILS(Fat16::mount(disk, {0, 32'767}, allocator), kInvalid, "32767");
    EXPECT_FAILS(Fat16::mount(disk, {40'000, 100}, allocator), kOutOfRange, "memory");
    EXPECT_FAILS(Fat16::mount(disk, {UINT64_MAX, 2}, allocator), kOutOfRange, "memory");
}

TEST_F(Damage, OfLongNamesLeavesTheShortOnes) {
    struct Piece {
        uint8_t number;
        const char* text;
        int checksum;  ///< added to the right one
        uint8_t attributes = 0x0F;
    };
    const auto name_with = [&](const std::vector<Piece>& pieces) {
        disk.set_bytes(root_entry(3, 0), std::vector<uint8_t>(32 * 8));
        unsigned index = 3;
        uint8_t owner[11];
        EXPECT_OK(pack_short_name("SHORT.TXT", owner));
        for (const Piece& piece : pieces) {
            uint8_t bytes[32] = {piece.number, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, piece.attributes, 0};
            bytes[13] = static_cast<uint8_t>(short_name_checksum(owner) + piece.checksum);
            const unsigned places[] = {1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30};
            for (unsigned i = 0; i < 13 && piece.text[i] != '\0'; ++i)
                bytes[places[i]] = static_cast<uint8_t>(piece.text[i]);
            disk.set_bytes(root_entry(index++, 0), bytes);
        }
        disk.set_bytes(root_entry(index, 0), owner);
        disk.set<uint8_t>(root_entry(index, 11), 0x20);
        Mounted fat(disk);
        const auto names = names_in(*fat, "");
        EXPECT_OK(fat->info("short.txt"));
        return names.size() > 3 ? names[3] : "";
    };
    EXPECT_EQ(name_with({{0x41, "Good name", 0}}), "Good name");
    EXPECT_EQ(name_with({{0x42, " and longer", 0}, {0x01, "thirteen chrs", 0}}), "thirteen chrs and longer");
    EXPECT_EQ(name_with({{0x41, "Bad sum", 1}}), "SHORT.TXT");
    EXPECT_EQ(name_with({{0x42, "no first", 0}}), "SHORT.TXT");
    EXPECT_EQ(name_with({{0x01, "no last", 0}}), "SHORT.TXT");
    EXPECT_EQ(name_with({{0x43, "c", 0}, {0x01, "a", 0}}), "SHORT.TXT");
    EXPECT_EQ(name_with({{0x42, "b", 0}, {0x02, "a", 0}}), "SHORT.TXT");
    EXPECT_EQ(name_with({{0x42, "b", 0}, {0x01, "a", 1}}), "SHORT.TXT");
    EXPECT_EQ(name_with({{0x40, "zero", 0}}), "SHORT.TXT");
    EXPECT_EQ(name_with({{0x55, "21 pieces", 0}}), "SHORT.TXT");
    EXPECT_EQ(name_with({{0x7F, "63 pieces", 0}}), "SHORT.TXT");
    EXPECT_EQ(name_with({{0x41, "again", 0}, {0x41, "Right", 0}}), "Right");
}

TEST(ShortNames, ArePackedAndShown) {
    struct Case {
        const char* name;
        const char* packed;
    };
    for (const Case& c :
         {Case{"a.b", "A       B  "}, {"KERNEL.ELF", "KERNEL  ELF"}, {"12345678.123", "12345678123"}}) {
        DirectoryEntry entry = {};
        ASSERT_OK(pack_short_name(c.name, entry.name));
        EXPECT_EQ(std::string(entry.name, entry.name + 11), c.packed);
        EXPECT_TRUE(same_name(unpack_short_name(entry), c.name));
    }
    DirectoryEntry entry = {};
    std::memcpy(entry.name,
                "\x05"
                "BC\xFFXY  T\x01 ",
                11);
    EXPECT_EQ(unpack_short_name(entry).view(), "?BC?XY.T?");
    std::memcpy(entry.name, "README  TXT", 11);
    entry.case_bits = 0x18;
    EXPECT_EQ(unpack_short_name(entry).view(), "readme.txt");
    entry.case_bits = 0x10;
    EXPECT_EQ(unpack_short_name(entry).view(), "README.txt");
}

TEST(Names, AreTheSameInEitherCase) {
    EXPECT_TRUE(same_name("ÄÖÜ é Ωμέγα Ж ђ.x", "äöü É ωΜέΓΑ ж Ђ.X"));
    EXPECT_FALSE(same_name("a", "ab"));
    EXPECT_FALSE(same_name("÷", "×"));
    EXPECT_FALSE(same_name("[", "{"));
    EXPECT_FALSE(same_name("\xFF", "\xFE"));
    EXPECT_TRUE(same_name("\xFF", "\xFF"));
    EXPECT_TRUE(same_name("", ""));
}

TEST(LongNames, BeyondThe16BitsOfUcs2BecomeUtf8) {
    DirectoryEntry owner = {};
    ASSERT_OK(pack_short_name("X", owner.name));
    uint8_t piece[32] = {0x41, 0x3D, 0xD8, 0x00, 0xDE, 0x00,
                         0xDC, 'b',  0,    0x3D, 0xD8, 0x0F};  // pair, low, b, high
    piece[13] = short_name_checksum(owner.name);
    DirectoryEntry entry;
    std::memcpy(&entry, piece, sizeof(entry));
    LongName name;
    name.feed(entry);
    EXPECT_EQ(name.pieces_for(owner), 1u);
    FixedString<kLongNameBytes> text;
    name.text(text);
    EXPECT_EQ(text.view(), "😀\uFFFDb\uFFFD");
}

// Bytes anywhere in the boot sector, tables and directories.
TEST_F(Damage, AnywhereNeverHangsAndNeverReachesOut) {
    MemoryDisk work(16 * kMiB);
    std::mt19937 random(3);
    unsigned mounted = 0;
    for (int round = 0; round < 300; ++round) {
        work.set_bytes(0, disk.bytes(0, (layout.data_start + 256) * kSectorBytes));
        for (int i = 0; i < 30; ++i) {
            const uint64_t spot = random() % 3 == 0   ? layout.table_start * kSectorBytes + random() % 40
                                  : random() % 2 == 0 ? root_entry(0, random() % 256)
                                                      : layout.sector_of(2) * kSectorBytes + random() % 256;
            work.set<uint8_t>(spot, static_cast<uint8_t>(random() % 4 == 0 ? random() : random() % 12));
        }
        TestAllocator allocator;
        auto result = Fat16::mount(work, {0, work.limits().sectors}, allocator);
        if (!result.ok()) continue;
        ++mounted;
        Fat16 fat = result.take();
        for (const char* path : {"", "D", "D/D"}) {
            for (const std::string& name : names_in(fat, path)) {
                const std::string full = std::string(path) + "/" + name;
                const auto info = fat.info(full);  // of any size: read no more than a part
                const uint32_t size = info.ok() ? info.value().size : 0;
                std::vector<uint8_t> part(std::min<uint32_t>(size, 50'000));
                (void)fat.read(full, size - part.size(), part).ok();
                if (random() % 2 == 0) (void)fat.append(full, bytes_of("text")).ok();
                if (random() % 2 == 0) (void)fat.rename(full, "D/R" + std::to_string(random() % 9)).ok();
                if (random() % 4 == 0) (void)fat.truncate(full, 1).ok();
                if (random() % 4 == 0) (void)fat.remove(full).ok();
                if (random() % 4 == 0) (void)fat.remove_directory(full).ok();
            }
        }
        (void)fat.unmount().ok();
    }
    EXPECT_GT(mounted, 100u);
}

}  // namespace
}  // namespace bareflow
