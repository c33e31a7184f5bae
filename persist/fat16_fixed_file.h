// A file of a FAT16 volume that stands in one piece, rewritten in place: its own sectors are all that is written.
#pragma once

#include "persist/block_device.h"
#include "persist/disk_range.h"
#include "persist/fixed_file.h"

namespace bareflow {

/// Made by Fat16::open_fixed(). The disk outlives it; the volume need not.
class FatFixedFile final : public FixedFile {
 public:
    /// `sectors` of `disk` are the file.
    FatFixedFile(BlockDevice& disk, SectorRange sectors) : range_(disk, sectors) {}

    uint64_t size() const override { return range_.range().count * kSectorBytes; }
    Result<void> read(uint64_t offset, std::span<uint8_t> out) override;
    Result<void> write(uint64_t offset, ByteSpan bytes) override;
    Result<void> flush() override { return range_.disk().flush(); }

    /// Where it is on the disk.
    const SectorRange& sectors() const { return range_.range(); }

 private:
    DiskRange range_;
};

}  // namespace bareflow
