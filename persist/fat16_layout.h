// The first sector of a FAT volume, the BIOS parameter block, and where the parts of the volume lie according to it
// (Microsoft "FAT: General Overview of On-Disk Format" 1.03).
#pragma once

#include <cstdint>

#include "arch/base/format.h"
#include "persist/block_device.h"

namespace bareflow {

/// Cluster counts decide what a FAT is, not what its label says: fewer than 4085 are FAT12, 65525 and more FAT32.
inline constexpr uint32_t kLeastFat16Clusters = 4085;
inline constexpr uint32_t kMostFat16Clusters = 65524;
inline constexpr uint32_t kFirstCluster = 2;

/// Where things are: sectors from the volume's start, as a boot sector says that passed every check.
struct FatLayout {
    uint32_t sectors = 0;              ///< the whole volume
    uint32_t sectors_per_cluster = 0;  ///< a power of two, 1 to 128
    uint32_t table_start = 0;          ///< the first FAT
    uint32_t table_sectors = 0;        ///< of one FAT; enough for all clusters
    uint32_t tables = 0;               ///< copies, 1 to 4
    uint32_t root_start = 0;
    uint32_t root_sectors = 0;
    uint32_t data_start = 0;
    uint32_t clusters = 0;    ///< 4085 to 65524
    uint8_t media = 0;        ///< the low byte of FAT entry 0
    bool boot_dirty = false;  ///< Linux's mark of a volume in use, beside the one in FAT entry 1
    FixedString<11> label;    ///< as the boot sector has it, without trailing spaces

    uint32_t cluster_bytes() const { return sectors_per_cluster * kSectorBytes; }
    uint32_t end_cluster() const { return kFirstCluster + clusters; }
    bool holds(uint32_t cluster) const { return cluster >= kFirstCluster && cluster < end_cluster(); }
    /// `cluster` is one of the volume's.
    uint64_t sector_of(uint32_t cluster) const {
        return data_start + uint64_t{cluster - kFirstCluster} * sectors_per_cluster;
    }
};

/// `boot_sector` is 512 bytes of a volume that has room for `available` sectors. kInvalid: no FAT, or one that
/// contradicts itself; kUnsupported: another file system (FAT12, FAT32, exFAT, NTFS) or another sector size. Each
/// refusal says which field.
Result<FatLayout> read_layout(ByteSpan boot_sector, uint64_t available);

}  // namespace bareflow
