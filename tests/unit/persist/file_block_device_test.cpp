#include "arch/host/file_block_device.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/unit/persist/fat_support.h"
#include "tests/unit/persist/faulty_disk.h"

namespace bareflow {
namespace {

using Access = FileBlockDevice::Access;

struct FileDisk : testing::Test {
    const std::string path = testing::TempDir() + "file_disk." + std::to_string(getpid());
    void SetUp() override {
        std::ofstream(path, std::ios::binary) << std::string(10 * kSectorBytes + 100, 'a');
    }
    void TearDown() override { std::filesystem::remove(path); }
};

TEST_F(FileDisk, ReadsAndWritesWholeSectors) {
    FileBlockDevice disk = FileBlockDevice::open(path, Access::kReadWrite).take();
    EXPECT_EQ(disk.limits().sectors, 10u);
    std::vector<uint8_t> bytes(2 * kSectorBytes, 'b');
    ASSERT_OK(disk.write(3, bytes));
    ASSERT_OK(disk.flush());
    std::vector<uint8_t> all(10 * kSectorBytes);
    ASSERT_OK(disk.read(0, all));
    EXPECT_EQ(std::string(all.begin(), all.end()),
              std::string(1536, 'a') + std::string(1024, 'b') + std::string(2560, 'a'));
    EXPECT_FAILS(disk.read(9, bytes), kOutOfRange, "10 sectors");
    EXPECT_EQ(std::filesystem::file_size(path), 10 * kSectorBytes + 100);
}

TEST_F(FileDisk, IsReadOnlyWhereAskedFor) {
    FileBlockDevice disk = FileBlockDevice::open(path, Access::kReadOnly).take();
    std::vector<uint8_t> bytes(kSectorBytes);
    EXPECT_OK(disk.read(0, bytes));
    EXPECT_FAILS(disk.write(0, bytes), kUnsupported, "read-only");
    EXPECT_OK(disk.flush());
}

TEST_F(FileDisk, ThatIsNotThereOrBecameShorterIsTold) {
    EXPECT_FAILS(FileBlockDevice::open(path + ".no", Access::kReadWrite), kNotFound, "No such file");
    FileBlockDevice disk = FileBlockDevice::open(path, Access::kReadWrite).take();
    std::filesystem::resize_file(path, 5 * kSectorBytes);
    std::vector<uint8_t> bytes(2 * kSectorBytes);
    EXPECT_FAILS(disk.read(4, bytes), kDevice, "sector 5: the file has become shorter");
}

TEST_F(FileDisk, CarriesAVolume) {
    std::filesystem::resize_file(path, 0);
    std::filesystem::resize_file(path, 16 * kMiB);
    ASSERT_EQ(run_command("mkfs.fat -F 16 " + path).status, 0);
    {
        FileBlockDevice disk = FileBlockDevice::open(path, Access::kReadWrite).take();
        Mounted fat(disk);
        ASSERT_OK(fat->create("A.TXT"));
        ASSERT_OK(fat->append("A.TXT", bytes_of("on a file")));
        ASSERT_OK(fat->unmount());
    }
    EXPECT_EQ(run_command("fsck.fat -n " + path).status, 0);
    EXPECT_EQ(run_command("mtype -i " + path + " ::A.TXT").output, "on a file");
}

// The interface's own loop, by a disk that ends requests late, in another order, or not at all.
TEST(BlockDevices, SplitRequestsAndWaitForAllOfThem) {
    MemoryDisk memory(kMiB);
    memory.request_bytes = 2 * kSectorBytes;
    FaultyDisk disk(memory);
    std::vector<uint8_t> text(31 * kSectorBytes), out(text.size());
    for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<uint8_t>(i * 7 + i / 512);
    ASSERT_OK(disk.write(5, text));
    EXPECT_EQ(disk.writes_seen, 16u);
    ASSERT_OK(disk.read(5, out));
    EXPECT_EQ(out, text);
    for (size_t nth = 0; nth < 16; ++nth) {
        disk.fail(nth, FaultyDisk::Fault::kShort);
        EXPECT_FAILS(disk.read(5, out), kDevice, "short");
    }
    disk.heal();
    EXPECT_OK(disk.read(5, out));
}

}  // namespace
}  // namespace bareflow
