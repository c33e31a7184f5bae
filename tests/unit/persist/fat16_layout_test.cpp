// Boot sectors: where FAT16 begins and ends, and each field that can be wrong.
#include "persist/fat16_layout.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/unit/persist/fat_support.h"

namespace bareflow {
namespace {

constexpr uint64_t kSectors = 32'768;

struct BootSectors : testing::Test {
    MemoryDisk disk{kSectors * kSectorBytes};
    std::vector<uint8_t> boot;

    void SetUp() override {
        ASSERT_EQ(make_fat(disk, "-F 16 -s 4").status, 0);
        boot = disk.bytes(0, kSectorBytes);
    }
    template <typename T>
    void set(size_t offset, T value) {
        std::memcpy(boot.data() + offset, &value, sizeof(value));
    }
};

TEST_F(BootSectors, OfMkfsAreUnderstood) {
    const FatLayout layout = read_layout(boot, kSectors).take();
    EXPECT_EQ(layout.sectors, kSectors);
    EXPECT_EQ(layout.tables, 2u);
    EXPECT_EQ(layout.root_start, layout.table_start + 2 * layout.table_sectors);
    EXPECT_EQ(layout.root_sectors, 32u);
    EXPECT_EQ(layout.data_start, layout.root_start + 32);
    EXPECT_EQ(layout.clusters, (kSectors - layout.data_start) / 4);
    EXPECT_EQ(layout.media, 0xF8);
    EXPECT_EQ(layout.sector_of(2), layout.data_start);
    EXPECT_EQ(layout.sector_of(layout.end_cluster() - 1) + 4 <= kSectors, true);
    EXPECT_FALSE(layout.boot_dirty);
}

TEST_F(BootSectors, WithAnythingWrongAreRefusedForThatReason) {
    struct Case {
        const char* words;  ///< of the message
        ErrorCode code;
        size_t offset;
        size_t size;
        uint32_t value;
    };
    constexpr ErrorCode kBroken = ErrorCode::kInvalid, kOther = ErrorCode::kUnsupported;
    const Case cases[] = {
        {"55 AA", kBroken, 510, 1, 0},
        {"55 AA", kBroken, 511, 1, 0x55},
        {"jump", kBroken, 0, 1, 0},
        {"jump", kBroken, 2, 1, 0},
        {"exFAT", kOther, 3, 5, 0},
        {"NTFS", kOther, 3, 4, 0},
        {"0 bytes a sector", kBroken, 11, 2, 0},
        {"513 bytes a sector", kBroken, 11, 2, 513},
        {"256 bytes a sector", kBroken, 11, 2, 256},
        {"8192 bytes a sector", kBroken, 11, 2, 8192},
        {"sectors of 4096 bytes", kOther, 11, 2, 4096},
        {"0 sectors a cluster", kBroken, 13, 1, 0},
        {"3 sectors a cluster", kBroken, 13, 1, 3},
        {"255 sectors a cluster", kBroken, 13, 1, 255},
        {"no reserved sector", kBroken, 14, 2, 0},
        {"end at sector", kBroken, 14, 2, 0xFFFF},
        {"0 FATs", kBroken, 16, 1, 0},
        {"5 FATs", kBroken, 16, 1, 5},
        {"255 FATs", kBroken, 16, 1, 255},
        {"0 entries", kBroken, 17, 2, 0},
        {"511 root entries", kBroken, 17, 2, 511},
        {"two sizes", kBroken, 32, 4, 70'000},
        {"0 sectors", kBroken, 19, 2, 0},
        {"end at sector", kBroken, 19, 2, 40},
        {"FAT12", kOther, 19, 2, 1000},
        {"FAT12", kOther, 13, 1, 128},
        {"but its disk", kBroken, 19, 2, 32'769},
        {"00 is no media", kBroken, 21, 1, 0},
        {"f7 is no media", kBroken, 21, 1, 0xF7},
        {"FAT of 0 sectors", kBroken, 22, 2, 0},
        {"too small", kBroken, 22, 2, 31},
        {"end at sector", kBroken, 22, 2, 0xFFFF},
    };
    for (const Case& c : cases) {
        boot = disk.bytes(0, kSectorBytes);
        if (c.size == 5) {
            std::memcpy(boot.data() + c.offset, "EXFAT   ", 8);
        } else if (c.code == kOther && c.offset == 3) {
            std::memcpy(boot.data() + c.offset, "NTFS    ", 8);
        } else {
            std::memcpy(boot.data() + c.offset, &c.value, c.size);
        }
        auto layout = read_layout(boot, kSectors);
        ASSERT_FALSE(layout.ok()) << c.words;
        EXPECT_EQ(layout.error().code(), c.code) << c.words;
        EXPECT_NE(message_of(layout).find(c.words), std::string::npos)
            << c.words << ": " << message_of(layout);
    }
}

TEST_F(BootSectors, WithWhatDoesNotMatterAreAccepted) {
    for (const size_t offset :
         {24, 26, 28, 36, 39, 43, 54}) {  // track, heads, hidden, drive, serial, label, type
        boot = disk.bytes(0, kSectorBytes);
        set<uint16_t>(offset, 0xFFFF);
        EXPECT_OK(read_layout(boot, kSectors));
    }
    boot = disk.bytes(0, kSectorBytes);
    set<uint32_t>(32, kSectors);  // both sizes, and the same
    EXPECT_OK(read_layout(boot, kSectors));
    set<uint8_t>(0, 0xE9);
    set<uint8_t>(2, 0x12);
    EXPECT_OK(read_layout(boot, kSectors));
    set<uint8_t>(21, 0xF0);
    EXPECT_EQ(read_layout(boot, kSectors).take().media, 0xF0);
    set<uint8_t>(37, 1);
    EXPECT_TRUE(read_layout(boot, kSectors).take().boot_dirty);
}

TEST_F(BootSectors, OfAnyBytesNeverLeadOutsideTheVolume) {
    std::mt19937 random(7);
    unsigned accepted = 0;
    for (int i = 0; i < 200'000; ++i) {
        boot = disk.bytes(0, kSectorBytes);
        for (int change = 0; change < 3; ++change) boot[11 + random() % 26] = static_cast<uint8_t>(random());
        auto result = read_layout(boot, 1 << 24);
        if (!result.ok()) continue;
        ++accepted;
        const FatLayout layout = result.take();
        ASSERT_GE(layout.clusters, 4085u);
        ASSERT_LE(layout.clusters, 65524u);
        ASSERT_LE(layout.end_cluster() * 2, layout.table_sectors * kSectorBytes);
        ASSERT_LE(layout.sector_of(layout.end_cluster() - 1) + layout.sectors_per_cluster, layout.sectors);
        ASSERT_LE(layout.sectors, 1u << 24);
    }
    EXPECT_GT(accepted, 1000u);
}

struct Threshold {
    const char* what;
    const char* options;
    uint64_t sectors;
    uint32_t clusters;      ///< that mkfs.fat makes of it
    const char* judgement;  ///< a word of the refusal; "" if it is FAT16
};

// mkfs.fat 4.2 keeps a distance of its own from the lower end: 4087 clusters are its smallest FAT16.
TEST(FatThresholds, AreWhereTheSpecificationHasThem) {
    const Threshold cases[] = {
        {"the largest FAT12", "-F 12 -s 1 -r 512 -R 1 -f 2 -a", 1 + 24 + 32 + 4084, 4084, "FAT12"},
        {"the smallest FAT16 of mkfs.fat", "-F 16 -s 1 -r 512 -R 1 -f 2 -a", 4152, 4087, ""},
        {"the largest FAT16", "-F 16 -s 1 -r 512 -R 1 -f 2 -a", 66'069, 65'524, ""},
        {"the smallest FAT32 of mkfs.fat", "-F 32 -s 1 -R 32 -f 2 -a", 66'592, 65'536, "FAT32"},
    };
    for (const Threshold& c : cases) {
        SCOPED_TRACE(c.what);
        MemoryDisk disk(c.sectors * kSectorBytes);
        const CommandOutcome made = make_fat(disk, std::string(c.options) + " -v");
        ASSERT_EQ(made.status, 0) << made.output;
        if (*c.judgement == '\0') {
            EXPECT_NE(made.output.find("provides " + std::to_string(c.clusters) + " clusters"),
                      std::string::npos)
                << made.output;
        }
        auto layout = read_layout(disk.bytes(0, kSectorBytes), c.sectors);
        if (*c.judgement != '\0') {
            EXPECT_FAILS(layout, kUnsupported, c.judgement);
        } else {
            ASSERT_OK(layout);
            EXPECT_EQ(layout.value().clusters, c.clusters);
        }
    }
}

TEST(FatThresholds, AreExactToOneCluster) {
    struct Case {
        uint64_t made;  ///< sectors, by mkfs.fat
        int change;     ///< of the sectors in the boot sector
        uint32_t clusters;
        const char* judgement;
    };
    const Case cases[] = {
        {4152, -3, 4084, "FAT12"}, {4152, -2, 4085, ""},         {4152, -1, 4086, ""},
        {66'069, 0, 65'524, ""},   {66'069, 1, 65'525, "FAT32"}, {66'069, 2, 65'526, "FAT32"},
    };
    for (const Case& c : cases) {
        SCOPED_TRACE(c.clusters);
        MemoryDisk made(c.made * kSectorBytes), disk((c.made + 2) * kSectorBytes);
        ASSERT_EQ(make_fat(made, "-F 16 -s 1 -r 512 -R 1 -f 2 -a").status, 0);
        disk.set_bytes(0, made.bytes(0, c.made * kSectorBytes));
        const uint32_t sectors = static_cast<uint32_t>(static_cast<int64_t>(c.made) + c.change);
        disk.set<uint16_t>(19, static_cast<uint16_t>(sectors < 65'536 ? sectors : 0));
        disk.set<uint32_t>(32, sectors < 65'536 ? 0 : sectors);
        auto layout = read_layout(disk.bytes(0, kSectorBytes), c.made + 2);
        if (*c.judgement != '\0') {
            EXPECT_FAILS(layout, kUnsupported, std::string(c.judgement) + " (" + std::to_string(c.clusters));
            continue;
        }
        ASSERT_OK(layout);
        EXPECT_EQ(layout.value().clusters, c.clusters);
        // All of it can be used, down to the last cluster.
        Mounted fat(disk);
        ASSERT_OK(fat->preallocate("ALL", fat->free_bytes()));
        EXPECT_EQ(fat->free_bytes(), 0u);
        ASSERT_OK(fat->unmount());
        const CommandOutcome check = run_command("fsck.fat -nv " + disk.path());
        EXPECT_EQ(check.status, 0) << check.output;
        EXPECT_NE(check.output.find(std::to_string(c.clusters) + " data clusters"), std::string::npos)
            << check.output;
    }
}

TEST(FatSizes, GoUpToTheLargestVolumeAndFile) {
    // 65524 clusters of 64 KiB; the FAT, 32 root sectors and one reserved.
    constexpr uint64_t kLargest = uint64_t{65'524} * 128 + 2 * 256 + 32 + 128;
    MemoryDisk disk(kLargest * kSectorBytes);
    const CommandOutcome made = make_fat(disk, "-F 16 -s 128 -v");
    ASSERT_EQ(made.status, 0) << made.output;
    Mounted fat(disk);
    EXPECT_GE(fat->layout().clusters, 65'520u) << made.output;
    EXPECT_FAILS(fat->preallocate("F", Fat16::kMostFileBytes + 1), kOutOfRange, "4294967295");
    const uint64_t most = std::min<uint64_t>(fat->free_bytes(), Fat16::kMostFileBytes);
    ASSERT_OK(fat->preallocate("F", most - 700));
    ASSERT_OK(fat->append("F", bytes_of(std::string(700, 'e'))));
    EXPECT_EQ(fat->info("F").take().size, most);
    EXPECT_FAILS(fat->append("F", bytes_of(std::string(70'000, 'x'))), kOutOfRange, "full");
    std::vector<uint8_t> end(700);
    ASSERT_OK(fat->read("F", most - 700, end));
    EXPECT_EQ(std::string(end.begin(), end.end()), std::string(700, 'e'));
    EXPECT_OK(fat->contiguous_sectors("F"));
    ASSERT_OK(fat->unmount());
    EXPECT_EQ(fsck_fat(disk), "");
    ASSERT_OK(fat->truncate("F", 1));
    ASSERT_OK(fat->remove("F"));
    EXPECT_EQ(fat->free_bytes(), fat->total_bytes());
}

}  // namespace
}  // namespace bareflow
