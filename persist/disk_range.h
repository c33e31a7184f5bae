// A part of a disk, its sectors counted from 0: what a partition is to the file system in it. It keeps the order of
// writes that a file system asks for, and stops writing for good when that order can no longer be kept.
#pragma once

#include "persist/block_device.h"

namespace bareflow {

/// Sectors [first, first + count) of a disk.
struct SectorRange {
    uint64_t first = 0;
    uint64_t count = 0;

    bool operator==(const SectorRange&) const = default;
};

class DiskRange {
 public:
    /// `disk` outlives this. A range that leaves the disk is the disk's to refuse, access by access.
    DiskRange(BlockDevice& disk, SectorRange range) : disk_(&disk), range_(range) {}

    /// Whole sectors. kOutOfRange: beyond the range. Else the disk's errors.
    Result<void> read(uint64_t sector, std::span<uint8_t> out);
    /// Contents of a file: a failure is the caller's to report, and harms nothing else.
    Result<void> write(uint64_t sector, ByteSpan bytes);
    /// What other files hang on (allocation table, directories): tried twice; after the second failure nothing is
    /// written any more, so that the medium stays at a state that a power cut could have left as well.
    Result<void> write_metadata(uint64_t sector, ByteSpan bytes);
    /// All writes so far are on the medium before any later one: a flush, if there was a write since the last. A
    /// failure ends all writing, since nobody can tell what the medium holds.
    Result<void> barrier();

    /// A change was left half done: nothing is written any more, so that the volume keeps its mark of being in use.
    void give_up() { failed_ = true; }

    const SectorRange& range() const { return range_; }
    std::string_view name() const { return disk_->name(); }
    BlockDevice& disk() const { return *disk_; }
    bool read_only() const { return disk_->limits().read_only; }
    /// Whether a write of metadata or a flush has failed, or a change was given up.
    bool failed() const { return failed_; }

 private:
    Result<void> check(uint64_t sector, size_t bytes) const;
    Result<void> write_once(uint64_t sector, ByteSpan bytes);

    BlockDevice* disk_;
    SectorRange range_;
    bool unflushed_ = false;
    bool failed_ = false;
};

}  // namespace bareflow
