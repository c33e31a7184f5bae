#include "persist/partitions.h"

#include <gtest/gtest.h>

#include <random>

#include "persist/gpt.h"
#include "tests/unit/persist/fat_support.h"
#include "tests/unit/persist/faulty_disk.h"

namespace bareflow {
namespace {

constexpr uint64_t kSectors = 65'536;
constexpr uint64_t kVolumeSectors = 20'000;

struct Disk : testing::Test {
    MemoryDisk disk{kSectors * kSectorBytes};

    /// A FAT16 of kVolumeSectors at `sector`.
    void put_volume(uint64_t sector) {
        MemoryDisk volume(kVolumeSectors * kSectorBytes);
        ASSERT_EQ(make_fat(volume, "-F 16 -s 2").status, 0);
        disk.set_bytes(sector * kSectorBytes, volume.bytes(0, kVolumeSectors * kSectorBytes));
    }
    /// An entry of the table in `sector`.
    void put_entry(uint64_t sector, unsigned slot, uint8_t type, uint32_t first, uint32_t count) {
        const uint64_t at = sector * kSectorBytes + 446 + slot * 16;
        disk.set<uint8_t>(at + 4, type);
        disk.set<uint32_t>(at + 8, first);
        disk.set<uint32_t>(at + 12, count);
        disk.set<uint16_t>(sector * kSectorBytes + 510, 0xAA55);
    }
    void expect_found(PartitionKind kind, uint32_t number, uint64_t first, uint64_t count = kVolumeSectors) {
        auto found = find_fat16(disk);
        ASSERT_OK(found);
        EXPECT_EQ(found.value().kind, kind);
        EXPECT_EQ(found.value().number, number);
        EXPECT_EQ(found.value().range, (SectorRange{first, count}));
        TestAllocator allocator;
        EXPECT_OK(Fat16::mount(disk, found.value().range, allocator));
    }

    // ---- GPT
    static constexpr uint64_t kPrimary = 1, kBackup = kSectors - 1;
    std::vector<uint8_t> entries = std::vector<uint8_t>(128 * 128);
    void put_gpt_entry(unsigned slot, uint64_t first, uint64_t last) {
        entries[slot * 128] = 0xA2;  // any type but none
        std::memcpy(&entries[slot * 128 + 32], &first, 8);
        std::memcpy(&entries[slot * 128 + 40], &last, 8);
    }
    void put_header(uint64_t sector, uint64_t entries_sector, uint32_t count = 128, uint32_t size = 128) {
        std::vector<uint8_t> header(kSectorBytes);
        const auto put = [&](size_t at, auto value) { std::memcpy(&header[at], &value, sizeof(value)); };
        std::memcpy(header.data(), "EFI PART", 8);
        put(8, uint32_t{0x00010000});
        put(12, uint32_t{92});
        put(24, sector);
        put(32, kPrimary + kBackup - sector);
        put(72, entries_sector);
        put(80, count);
        put(84, size);
        put(88, crc32(ByteSpan(entries).first(std::min<size_t>(size_t{count} * 128, entries.size()))));
        put(16, crc32(ByteSpan(header).first(92)));
        disk.set_bytes(sector * kSectorBytes, header);
        disk.set_bytes(entries_sector * kSectorBytes, entries);
    }
    void put_gpt() {
        put_entry(0, 0, 0xEE, 1, kSectors - 1);
        put_header(kPrimary, 2);
        put_header(kBackup, kBackup - 32);
    }
};

TEST_F(Disk, WithoutATableIsTheVolumeItself) {
    ASSERT_EQ(make_fat(disk, "-F 16 -s 2").status, 0);
    expect_found(PartitionKind::kWholeDisk, 0, 0, kSectors);
}

TEST_F(Disk, WithPrimaryPartitionsGivesTheFirstWithFat16) {
    put_volume(40'000);
    put_entry(0, 0, 0x83, 2048, 10'000);
    put_entry(0, 2, 0x0C, 40'000, kVolumeSectors);
    expect_found(PartitionKind::kPrimary, 3, 40'000);
    const PartitionList list = read_partitions(disk).take();
    EXPECT_EQ(list.items().size(), 2u);
    put_volume(2048);
    put_entry(0, 0, 0x83, 2048, kVolumeSectors);
    expect_found(PartitionKind::kPrimary, 1, 2048);
}

TEST_F(Disk, WithLogicalPartitionsFollowsTheirChain) {
    put_entry(0, 1, 0x05, 10'000, 50'000);
    put_entry(10'000, 0, 0x83, 63, 100);
    put_entry(10'000, 1, 0x05, 1'000, 40'000);
    put_entry(11'000, 0, 0x83, 10, 20);
    put_entry(11'000, 1, 0x05, 1'500, 40'000);
    put_entry(11'500, 0, 0x06, 1'500, kVolumeSectors);
    put_volume(13'000);
    expect_found(PartitionKind::kLogical, 7, 13'000);
    // A record that leads back to the first one: the chain goes on for a bounded time.
    put_entry(11'000, 0, 0x83, 2'000, kVolumeSectors + 50'000);  // out of the disk
    put_entry(11'000, 1, 0x05, 1'000, 40'000);
    const PartitionList list = read_partitions(disk).take();
    EXPECT_EQ(list.items().size(), 1u);
    put_entry(11'000, 1, 0x05, 0, 40'000);
    EXPECT_EQ(read_partitions(disk).take().items().size(), 1u);
    put_entry(10'000, 0, 0x83, UINT32_MAX, UINT32_MAX);
    EXPECT_EQ(read_partitions(disk).take().items().size(), 0u);
}

TEST_F(Disk, WithAGptReadsItsEntriesAndNotTheProtectiveOne) {
    put_volume(30'000);
    put_gpt_entry(0, 2048, 4095);
    put_gpt_entry(5, 30'000, 30'000 + kVolumeSectors - 1);
    put_gpt_entry(6, 5000, 4999);
    put_gpt_entry(7, 5000, kSectors);
    put_gpt_entry(8, 5000, UINT64_MAX);
    put_gpt_entry(9, 0, UINT64_MAX);
    put_gpt();
    expect_found(PartitionKind::kGpt, 6, 30'000);
    EXPECT_EQ(read_partitions(disk).take().items().size(), 2u);
}

TEST_F(Disk, WithADamagedGptFallsBackOnTheOtherHeader) {
    put_volume(30'000);
    put_gpt_entry(5, 30'000, 30'000 + kVolumeSectors - 1);
    for (const uint64_t at :
         {512, 520, 524, 528, 536, 584, 592, 596, 600, 1024, 1024 + 5 * 128 + 33, 1024 + 127 * 128}) {
        put_gpt();
        disk.set<uint8_t>(at, static_cast<uint8_t>(disk.bytes(at, 1)[0] + 1));
        SCOPED_TRACE(at);
        expect_found(PartitionKind::kGpt, 6, 30'000);
        disk.set<uint8_t>(kBackup * kSectorBytes + 17, 0xEE);
        EXPECT_FAILS(read_partitions(disk), kInvalid, "GPT");
        EXPECT_FAILS(find_fat16(disk), kNotFound, "memory");
    }
}

TEST_F(Disk, WithAGptOfBoundlessNumbersIsRefused) {
    put_entry(0, 0, 0xEE, 1, kSectors - 1);
    put_header(kPrimary, 2, 1025);
    EXPECT_FAILS(read_partitions(disk), kUnsupported, "1025 entries");
    put_header(kPrimary, 2, UINT32_MAX);
    EXPECT_FAILS(read_partitions(disk), kUnsupported, "4294967295");
    put_header(kPrimary, 2, 128, 64);
    EXPECT_FAILS(read_partitions(disk), kUnsupported, "64 bytes");
    put_header(kPrimary, 2, 0);
    EXPECT_EQ(read_partitions(disk).take().items().size(), 0u);
}

TEST_F(Disk, WithNothingSaysSo) {
    EXPECT_FAILS(find_fat16(disk), kNotFound, "no FAT16 and no partitions");
    put_entry(0, 0, 0x06, 2048, 1000);
    EXPECT_FAILS(find_fat16(disk), kNotFound, "none of its 1 partitions");
    MemoryDisk empty(0);
    EXPECT_FAILS(find_fat16(empty), kNotFound, "empty");
    MemoryDisk tiny(kSectorBytes);
    tiny.set<uint16_t>(510, 0xAA55);
    tiny.set<uint8_t>(450, 0xEE);
    EXPECT_FALSE(find_fat16(tiny).ok());
}

TEST_F(Disk, WithFat32SaysThat) {
    MemoryDisk volume(70'000 * kSectorBytes);
    ASSERT_EQ(make_fat(volume, "-F 32 -s 1").status, 0);
    EXPECT_FAILS(find_fat16(volume), kNotFound, "FAT32");
}

TEST_F(Disk, ThatFailsSaysThatAndNotThatNothingIsThere) {
    put_volume(40'000);
    put_entry(0, 0, 0x06, 40'000, kVolumeSectors);
    FaultyDisk faulty(disk);
    for (size_t nth = 0; nth < 3; ++nth) {
        faulty.fail(nth);
        EXPECT_FAILS(find_fat16(faulty), kDevice, "error");
    }
}

TEST_F(Disk, OfAnyTableIsReadInBoundedTimeAndWithinItself) {
    std::mt19937 random(11);
    put_gpt_entry(0, 2048, 4095);
    for (int i = 0; i < 3000; ++i) {
        for (int entry = 0; entry < 4; ++entry) {
            const uint8_t types[] = {0x05, 0x0F, 0x06, 0x83, 0xEE};
            const uint32_t first = random() % 70'000, count = random() % 70'000;
            put_entry(random() % 3 == 0 ? 0 : random() % 64, static_cast<unsigned>(entry),
                      types[random() % (i % 2 ? 4 : 5)], random() % 3 == 0 ? random() % 64 : first, count);
        }
        auto list = read_partitions(disk);
        if (!list.ok()) continue;
        for (const Partition& partition : list.value().items()) {
            ASSERT_TRUE(fits(partition.range.first, partition.range.count, kSectors));
            ASSERT_GT(partition.range.count, 0u);
        }
    }
}

TEST(Crc32, GivesThePublishedCheckValue) {
    EXPECT_EQ(crc32(bytes_of("123456789")), 0xCBF43926u);
    EXPECT_EQ(crc32(bytes_of("6789"), crc32(bytes_of("12345"))), 0xCBF43926u);
    EXPECT_EQ(crc32({}), 0u);
}

}  // namespace
}  // namespace bareflow
