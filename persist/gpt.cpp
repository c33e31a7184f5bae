#include "persist/gpt.h"

#include <cstddef>

namespace bareflow {
namespace {

// UEFI 2.10, table 5.5.
struct GptHeader {
    char signature[8];
    uint32_t revision;
    uint32_t header_bytes;
    uint32_t header_crc;
    uint32_t reserved;
    uint64_t own_sector;
    uint64_t other_sector;
    uint64_t first_usable;
    uint64_t last_usable;
    uint8_t disk_guid[16];
    uint64_t entries_sector;
    uint32_t entries;
    uint32_t entry_bytes;
    uint32_t entries_crc;
};
constexpr size_t kHeaderBytes = 92;  // on the disk, without what aligns the struct
static_assert(offsetof(GptHeader, entries_sector) == 72 &&
              offsetof(GptHeader, entries_crc) == kHeaderBytes - 4);

// UEFI 2.10, table 5.6; the type of an entry in use is not all zero.
struct GptEntry {
    uint64_t type[2];
    uint8_t guid[16];
    uint64_t first_sector;
    uint64_t last_sector;
    uint64_t attributes;
    uint16_t name[36];
};
static_assert(sizeof(GptEntry) == 128 && offsetof(GptEntry, first_sector) == 32);

constexpr uint32_t kRevision = 0x00010000;
constexpr uint32_t kMostEntries = 1024;  // the usual number is 128
constexpr uint64_t kPrimarySector = 1;

Result<GptHeader> read_header(BlockDevice& disk, uint64_t sector) {
    alignas(16) uint8_t bytes[kSectorBytes];
    TRY(disk.read(sector, bytes));
    GptHeader header;
    __builtin_memcpy(&header, bytes, kHeaderBytes);
    if (__builtin_memcmp(header.signature, "EFI PART", sizeof(header.signature)) != 0) {
        return invalid("{}: no GPT header in sector {}", disk.name(), sector);
    }
    if (header.revision != kRevision || header.header_bytes < kHeaderBytes ||
        header.header_bytes > kSectorBytes) {
        return invalid("{}: the GPT header in sector {} has revision {:x} and {} bytes", disk.name(), sector,
                       header.revision, header.header_bytes);
    }
    __builtin_memset(bytes + offsetof(GptHeader, header_crc), 0, sizeof(header.header_crc));
    if (crc32({bytes, header.header_bytes}) != header.header_crc || header.own_sector != sector) {
        return invalid("{}: the GPT header in sector {} is damaged (CRC or its own place)", disk.name(),
                       sector);
    }
    if (header.entry_bytes != sizeof(GptEntry) || header.entries > kMostEntries) {
        return Error::make(ErrorCode::kUnsupported,
                           "{}: the GPT has {} entries of {} bytes; at most {} of {} are read", disk.name(),
                           header.entries, header.entry_bytes, kMostEntries, sizeof(GptEntry));
    }
    return header;
}

/// Reads the array sector by sector; what it found counts only once the CRC over all of it is right.
Result<void> read_entries(BlockDevice& disk, const GptHeader& header, PartitionList& list) {
    constexpr uint32_t kInSector = kSectorBytes / sizeof(GptEntry);
    const uint64_t sectors = disk.limits().sectors;
    PartitionList found = list;
    uint32_t crc = 0;
    for (uint32_t number = 0; number < header.entries;) {
        alignas(16) uint8_t bytes[kSectorBytes];
        const uint64_t sector = number / kInSector;
        if (header.entries_sector > UINT64_MAX - sector)
            return invalid("{}: the GPT's entries overflow", disk.name());
        TRY(disk.read(header.entries_sector + sector, bytes));
        const uint32_t here = header.entries - number < kInSector ? header.entries - number : kInSector;
        crc = crc32({bytes, here * sizeof(GptEntry)}, crc);
        for (uint32_t i = 0; i < here; ++i, ++number) {
            GptEntry entry;
            __builtin_memcpy(&entry, bytes + i * sizeof(entry), sizeof(entry));
            if (entry.type[0] == 0 && entry.type[1] == 0) continue;
            if (entry.first_sector == 0 || entry.last_sector < entry.first_sector ||
                entry.last_sector >= sectors)
                continue;
            found.add({PartitionKind::kGpt,
                       number + 1,
                       {entry.first_sector, entry.last_sector - entry.first_sector + 1}});
        }
    }
    if (crc != header.entries_crc)
        return invalid("{}: the GPT's entries do not match their CRC", disk.name());
    list = found;
    return {};
}

Result<void> read_from(BlockDevice& disk, uint64_t sector, PartitionList& list) {
    const GptHeader header = TRY(read_header(disk, sector));
    return read_entries(disk, header, list);
}

}  // namespace

uint32_t crc32(ByteSpan bytes, uint32_t crc) {
    constexpr uint32_t kPolynomial = 0xEDB88320;
    crc = ~crc;
    for (const uint8_t byte : bytes) {
        crc ^= byte;
        for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (kPolynomial & -(crc & 1));
    }
    return ~crc;
}

Result<void> read_gpt(BlockDevice& disk, PartitionList& list) {
    auto primary = read_from(disk, kPrimarySector, list);
    if (primary.ok()) return {};
    const uint64_t sectors = disk.limits().sectors;
    if (sectors > 2 && read_from(disk, sectors - 1, list).ok()) return {};
    return primary;
}

}  // namespace bareflow
