// What the parts of the FAT16 code share about a mounted volume: the disk, the layout, the table, and a small window
// through which directories are read and written.
#pragma once

#include "arch/base/allocator.h"
#include "persist/disk_range.h"
#include "persist/fat16_layout.h"
#include "persist/fat16_table.h"
#include "persist/fat16_time.h"

namespace bareflow {

/// A few sectors of a directory in memory, written through.
class SectorWindow {
 public:
    static constexpr uint32_t kSectors = 8;

    static Result<SectorWindow> make(Allocator& allocator);
    /// The bytes of `sector`, until the next call; reads ahead as far as `following` sectors (at least 1, itself) belong
    /// together. A read that fails is tried once more.
    Result<std::span<uint8_t>> load(DiskRange& disk, uint64_t sector, uint32_t following);
    /// Writes `sector`, which load() gave last, as its bytes are now.
    Result<void> store(DiskRange& disk, uint64_t sector);
    /// Something else wrote to the disk.
    void forget() { count_ = 0; }

 private:
    Buffer<uint8_t> bytes_;
    uint64_t first_ = 0;
    uint32_t count_ = 0;
};

struct FatVolume {
    static constexpr size_t kScratchBytes = 64 * 1024;

    DiskRange disk;
    FatLayout layout;
    FatTable table;
    SectorWindow window;
    Buffer<uint8_t> scratch;  ///< even address; for contents that cannot go straight
    FatTime now;              ///< what changed files get

    /// How many clusters `bytes` take.
    uint32_t clusters_for(uint64_t bytes) const {
        const uint32_t cluster = layout.cluster_bytes();
        return static_cast<uint32_t>(bytes / cluster + (bytes % cluster != 0));
    }
};

}  // namespace bareflow
