#include "persist/partitions.h"

#include <cstddef>

#include "persist/fat16_layout.h"
#include "persist/gpt.h"

namespace bareflow {
namespace {

// The classic table at offset 446 of sector 0 (UEFI 2.10, tables 5.3 and 5.4), and of each extended boot record.
struct MbrEntry {
    uint8_t status;
    uint8_t first_chs[3];
    uint8_t type;
    uint8_t last_chs[3];
    uint32_t first_sector;
    uint32_t sectors;
};
static_assert(sizeof(MbrEntry) == 16 && offsetof(MbrEntry, first_sector) == 8);

constexpr size_t kPrimaryEntries = 4;
constexpr size_t kTableOffset = 446;
constexpr size_t kSignatureOffset = 510;
constexpr uint8_t kActive = 0x80;
constexpr uint8_t kTypeEmpty = 0x00, kTypeProtective = 0xEE;
constexpr uint32_t kFirstLogical = 5;
constexpr uint32_t kMostLogical =
    60;  // and no chain of records that leads back into itself goes on for longer

struct Mbr {
    MbrEntry entries[kPrimaryEntries];
};

bool is_extended(uint8_t type) { return type == 0x05 || type == 0x0F || type == 0x85; }

Result<Mbr> read_mbr(BlockDevice& disk, uint64_t sector) {
    alignas(16) uint8_t bytes[kSectorBytes];
    TRY(disk.read(sector, bytes));
    Mbr mbr;
    __builtin_memcpy(&mbr, bytes + kTableOffset, sizeof(mbr));
    bool table = bytes[kSignatureOffset] == 0x55 && bytes[kSignatureOffset + 1] == 0xAA;
    for (const MbrEntry& entry : mbr.entries) table = table && (entry.status & ~kActive) == 0;
    if (!table) return invalid("{}: sector {} holds no partition table", disk.name(), sector);
    return mbr;
}

void add(PartitionList& list, PartitionKind kind, uint32_t number, uint64_t base, const MbrEntry& entry,
         uint64_t limit) {
    if (entry.type == kTypeEmpty || entry.first_sector == 0 || entry.sectors == 0) return;
    const uint64_t first = base + entry.first_sector;
    if (!fits(first, entry.sectors, limit)) return;
    list.add({kind, number, {first, entry.sectors}});
}

/// Each record in the extended partition names one logical partition, by its distance from the record, and the next
/// record, by its distance from the extended partition's start.
Result<void> read_logical(BlockDevice& disk, const MbrEntry& extended, PartitionList& list) {
    const uint64_t start = extended.first_sector;
    const uint64_t sectors = disk.limits().sectors;
    uint64_t record = start;
    for (uint32_t i = 0; i < kMostLogical && record < sectors; ++i) {
        auto mbr = read_mbr(disk, record);
        // A chain that breaks off has still named the partitions before.
        if (!mbr.ok())
            return mbr.error().code() == ErrorCode::kDevice ? Result<void>(mbr.error()) : Result<void>();
        const MbrEntry& logical = mbr.value().entries[0];
        const MbrEntry& next = mbr.value().entries[1];
        if (!is_extended(logical.type)) {
            add(list, PartitionKind::kLogical, kFirstLogical + i, record, logical, sectors);
        }
        if (!is_extended(next.type) || next.first_sector == 0 || next.first_sector >= extended.sectors) break;
        record = start + next.first_sector;
    }
    return {};
}

}  // namespace

Result<PartitionList> read_partitions(BlockDevice& disk) {
    const Mbr mbr = TRY(read_mbr(disk, 0));
    PartitionList list;
    for (const MbrEntry& entry : mbr.entries) {
        if (entry.type != kTypeProtective) continue;
        TRY(read_gpt(disk, list));
        return list;
    }
    for (uint32_t i = 0; i < kPrimaryEntries; ++i) {
        const MbrEntry& entry = mbr.entries[i];
        if (!is_extended(entry.type)) {
            add(list, PartitionKind::kPrimary, i + 1, 0, entry, disk.limits().sectors);
        }
    }
    for (const MbrEntry& entry : mbr.entries) {
        if (is_extended(entry.type)) TRY(read_logical(disk, entry, list));
    }
    return list;
}

Result<Partition> find_fat16(BlockDevice& disk) {
    alignas(16) uint8_t boot[kSectorBytes];
    const uint64_t sectors = disk.limits().sectors;
    if (sectors == 0) return Error::make(ErrorCode::kNotFound, "{} is empty", disk.name());
    TRY(disk.read(0, boot));
    auto whole = read_layout(boot, sectors);
    if (whole.ok()) return Partition{PartitionKind::kWholeDisk, 0, {0, sectors}};

    auto list = read_partitions(disk);
    if (!list.ok() && list.error().code() == ErrorCode::kDevice) return list.error();
    if (!list.ok() || list.value().items().empty()) {
        return Error::make(ErrorCode::kNotFound, "{}: no FAT16 and no partitions. As a file system: {}",
                           disk.name(), whole.error().message());
    }
    FixedString<100> last;
    for (const Partition& partition : list.value().items()) {
        TRY(disk.read(partition.range.first, boot));
        auto layout = read_layout(boot, partition.range.count);
        if (layout.ok()) return partition;
        last = FixedString<100>::formatted("partition {}: {}", partition.number, layout.error().message());
    }
    return Error::make(ErrorCode::kNotFound,
                       "{}: none of its {} partitions is FAT16; make one with mkfs.fat -F 16. {}",
                       disk.name(), list.value().items().size(), last.view());
}

}  // namespace bareflow
