// Where on a disk a file system may be: the whole disk, or a partition of an MBR (the four and the logical ones) or GPT.
#pragma once

#include <span>

#include "persist/disk_range.h"

namespace bareflow {

enum class PartitionKind : uint8_t { kWholeDisk, kPrimary, kLogical, kGpt };

struct Partition {
    PartitionKind kind = PartitionKind::kWholeDisk;
    uint32_t number = 0;  ///< as fdisk and Linux count: from 1, logical ones from 5; 0 for the whole disk
    SectorRange range;    ///< not empty, within the disk
};

/// What a disk's table names, in its order. What does not fit in is left out.
class PartitionList {
 public:
    static constexpr size_t kMost = 64;

    void add(const Partition& partition) {
        if (size_ < kMost) items_[size_++] = partition;
    }
    std::span<const Partition> items() const { return {items_, size_}; }

 private:
    Partition items_[kMost];
    size_t size_ = 0;
};

/// The disk's partitions, of any type; entries that are empty or leave the disk are left out. kInvalid: sector 0 is no
/// partition table, or a protective one before a GPT with both headers damaged. kDevice: the disk failed.
Result<PartitionList> read_partitions(BlockDevice& disk);

/// The first FAT16 volume: a file system that begins in sector 0, or in a partition of any type, since types lie.
/// kNotFound says what was found instead, such as FAT32.
Result<Partition> find_fat16(BlockDevice& disk);

}  // namespace bareflow
