#include "persist/fat16_layout.h"

#include <bit>
#include <cstddef>

namespace bareflow {
namespace {

struct BootSector {
    uint8_t jump[3];
    char system[8];
    uint16_t sector_bytes;
    uint8_t sectors_per_cluster;
    uint16_t reserved_sectors;
    uint8_t tables;
    uint16_t root_entries;
    uint16_t sectors16;
    uint8_t media;
    uint16_t table_sectors;
    uint16_t sectors_per_track;
    uint16_t heads;
    uint32_t
        hidden_sectors;  // tools disagree about it: not looked at, and neither are track, heads and drive
    uint32_t sectors32;
    uint8_t drive;
    uint8_t state;
    uint8_t extended_signature;
    uint32_t serial;
    char label[11];
    char type[8];
} __attribute__((packed));
static_assert(sizeof(BootSector) == 62 && offsetof(BootSector, table_sectors) == 22 &&
              offsetof(BootSector, sectors32) == 32 && offsetof(BootSector, label) == 43);

constexpr size_t kSignatureOffset = 510;
constexpr uint8_t kExtendedSignature = 0x29;
constexpr uint8_t kStateDirty = 1;
constexpr uint32_t kMostTables = 4;
constexpr uint32_t kRootEntriesInSector = kSectorBytes / 32;
constexpr uint32_t kTableEntriesInSector = kSectorBytes / sizeof(uint16_t);

template <typename... Arguments>
Error unsupported(const char* pattern, const Arguments&... arguments) {
    return Error::make(ErrorCode::kUnsupported, pattern, arguments...);
}

bool is_system(const BootSector& boot, std::string_view name) {
    return std::string_view(boot.system, sizeof(boot.system)) == name;
}

bool is_jump(const uint8_t* jump) { return (jump[0] == 0xEB && jump[2] == 0x90) || jump[0] == 0xE9; }

/// What is there at all: a boot sector of some FAT, or another file system.
Result<void> check_kind(const BootSector& boot, ByteSpan bytes) {
    if (is_system(boot, "EXFAT   "))
        return unsupported("this is exFAT, not FAT16; format with mkfs.fat -F 16");
    if (is_system(boot, "NTFS    "))
        return unsupported("this is NTFS, not FAT16; format with mkfs.fat -F 16");
    if (bytes[kSignatureOffset] != 0x55 || bytes[kSignatureOffset + 1] != 0xAA) {
        return invalid("no FAT: the first sector does not end with 55 AA");
    }
    if (!is_jump(boot.jump)) return invalid("no FAT: the first sector does not begin with a jump");
    return {};
}

// Messages get values (+): a reference to a packed field would be misaligned.
Result<void> check_fields(const BootSector& boot) {
    if (!std::has_single_bit(boot.sector_bytes) || boot.sector_bytes < 512 || boot.sector_bytes > 4096) {
        return invalid("BPB: {} bytes a sector are not 512, 1024, 2048 or 4096", +boot.sector_bytes);
    }
    if (boot.sector_bytes != kSectorBytes) {
        return unsupported("BPB: sectors of {} bytes; format with mkfs.fat -S 512", +boot.sector_bytes);
    }
    if (!std::has_single_bit(boot.sectors_per_cluster)) {
        return invalid("BPB: {} sectors a cluster are no power of two", +boot.sectors_per_cluster);
    }
    if (boot.reserved_sectors == 0) return invalid("BPB: no reserved sector, where this one must be");
    if (boot.tables == 0 || boot.tables > kMostTables) {
        return invalid("BPB: {} FATs; there are 1 to {}, usually 2", +boot.tables, kMostTables);
    }
    if (boot.media != 0xF0 && boot.media < 0xF8) return invalid("BPB: {:02x} is no media byte", +boot.media);
    if (boot.table_sectors == 0 && boot.root_entries == 0) {
        return unsupported("this is FAT32, not FAT16 (no root entries); format with mkfs.fat -F 16");
    }
    if (boot.table_sectors == 0) return invalid("BPB: a FAT of 0 sectors");
    if (boot.root_entries == 0) return invalid("BPB: a root directory of 0 entries");
    if (boot.root_entries % kRootEntriesInSector != 0) {
        return invalid("BPB: {} root entries do not fill whole sectors", +boot.root_entries);
    }
    if (boot.sectors16 != 0 && boot.sectors32 != 0 && boot.sectors16 != boot.sectors32) {
        return invalid("BPB: two sizes, {} and {} sectors", +boot.sectors16, +boot.sectors32);
    }
    if (boot.sectors16 == 0 && boot.sectors32 == 0) return invalid("BPB: a volume of 0 sectors");
    return {};
}

FixedString<11> label_of(const BootSector& boot) {
    FixedString<11> label;
    if (boot.extended_signature != kExtendedSignature) return label;
    for (const char c : boot.label) label.append(std::string_view(c >= ' ' && c < 0x7F ? &c : "?", 1));
    while (!label.empty() && label.view().back() == ' ') label.truncate(label.size() - 1);
    return label;
}

}  // namespace

Result<FatLayout> read_layout(ByteSpan boot_sector, uint64_t available) {
    ASSERT(boot_sector.size() == kSectorBytes);
    BootSector boot;
    __builtin_memcpy(&boot, boot_sector.data(), sizeof(boot));
    TRY(check_kind(boot, boot_sector));
    TRY(check_fields(boot));

    // None of these sums overflows 32 bits: the largest is 65535 + 4 * 65535 + 4096.
    FatLayout layout;
    layout.sectors = boot.sectors16 != 0 ? boot.sectors16 : boot.sectors32;
    layout.sectors_per_cluster = boot.sectors_per_cluster;
    layout.table_start = boot.reserved_sectors;
    layout.table_sectors = boot.table_sectors;
    layout.tables = boot.tables;
    layout.root_start = layout.table_start + layout.tables * layout.table_sectors;
    layout.root_sectors = boot.root_entries / kRootEntriesInSector;
    layout.data_start = layout.root_start + layout.root_sectors;
    layout.media = boot.media;
    layout.boot_dirty = boot.extended_signature == kExtendedSignature && (boot.state & kStateDirty) != 0;
    layout.label = label_of(boot);

    if (layout.data_start >= layout.sectors) {
        return invalid("BPB: FATs and root directory end at sector {}, the volume at {}", layout.data_start,
                       layout.sectors);
    }
    layout.clusters = (layout.sectors - layout.data_start) / layout.sectors_per_cluster;
    if (layout.clusters < kLeastFat16Clusters) {
        return unsupported(
            "this is FAT12 ({} clusters), not FAT16, which has {} to {}; make it larger or its "
            "clusters smaller (mkfs.fat -s)",
            layout.clusters, kLeastFat16Clusters, kMostFat16Clusters);
    }
    if (layout.clusters > kMostFat16Clusters) {
        return unsupported(
            "this is FAT32 ({} clusters), not FAT16, which has {} to {}; make its clusters larger "
            "(mkfs.fat -F 16 -s)",
            layout.clusters, kLeastFat16Clusters, kMostFat16Clusters);
    }
    if (uint64_t{layout.table_sectors} * kTableEntriesInSector < layout.end_cluster()) {
        return invalid("BPB: a FAT of {} sectors is too small for {} clusters", layout.table_sectors,
                       layout.clusters);
    }
    if (layout.sectors > available) {
        return invalid("BPB: {} sectors, but its disk or partition has {}", layout.sectors, available);
    }
    return layout;
}

}  // namespace bareflow
