// The file allocation table: for each cluster, which one comes next in its file. All of it is in memory (128 KiB at
// most); what changes is written to every copy when its owner says so.
#pragma once

#include <cstdint>

#include "arch/base/allocator.h"
#include "persist/disk_range.h"
#include "persist/fat16_layout.h"

namespace bareflow {

/// Clusters that stand one after another on the disk.
struct ClusterRun {
    uint32_t first = 0;
    uint32_t count = 0;
};

class FatTable {
 public:
    /// Reads the first copy that can be read and begins as a FAT does. kInvalid: none does; kDevice: none can be read.
    static Result<FatTable> load(DiskRange& disk, const FatLayout& layout, Allocator& allocator);

    /// Whether the volume was unmounted (or never written), and whether its disk has failed, as entry 1 remembers it.
    bool clean() const { return (entries_[1] & kCleanBit) != 0; }
    bool hard_error() const { return (entries_[1] & kNoErrorBit) == 0; }
    void set_clean(bool clean);

    /// Why this table is not to be written, as a sentence; empty if it may be.
    std::string_view damage() const { return damage_.view(); }
    /// From now on it is not to be written, for this reason.
    void forbid_writing(std::string_view reason) { damage_ = reason; }
    /// Sectors in which the copies differed when loaded. The first commit makes them equal.
    uint32_t differing_sectors() const { return differing_; }
    /// Those that can be given to files.
    uint32_t free_clusters() const { return free_; }

    // ---- chains. Errors are kInvalid: the table, or whoever points into it, is damaged.
    /// The cluster after `cluster` in its file; 0 behind the last one.
    Result<uint32_t> next(uint32_t cluster) const;
    /// How many clusters the chain from `first` has.
    Result<uint32_t> length(uint32_t first) const;
    /// The cluster `steps` after `first`, which the chain must reach.
    Result<uint32_t> step(uint32_t first, uint32_t steps) const;
    /// From `first`, which is a cluster of a chain: those that follow it both in the chain and on the disk, `most` at
    /// the most (at least 1).
    ClusterRun run(uint32_t first, uint32_t most) const;
    /// The chain from `first` is nobody else's as far as the table can tell: a whole chain, which no entry leads into.
    Result<void> check_owned(uint32_t first) const;

    // ---- changes, in memory until commit()
    // A free cluster that an entry leads to is never given away: a power cut left half of a chain that belongs to nobody,
    // and the file would seem to be the rest of it.
    /// Chains `count` (at least 1) free clusters, from behind `near` on if there are some; returns the first of them.
    /// kOutOfRange: the disk is full, and nothing changed.
    Result<uint32_t> allocate(uint32_t count, uint32_t near);
    /// The same in one piece; kOutOfRange also when no piece is long enough.
    Result<uint32_t> allocate_contiguous(uint32_t count);
    /// Makes `next` follow `cluster`, which was the last of its chain.
    void link(uint32_t cluster, uint32_t next);
    /// Makes `cluster` the last of its chain, and returns what followed: a chain of its own now, or 0.
    Result<uint32_t> cut_behind(uint32_t cluster);
    /// Frees the chain from `first`; 0 is an empty one. What is found damaged on the way is left as it is.
    void release(uint32_t first);

    /// Which changes are on the disk first: the sector with one entry before all others, or behind all others, with a
    /// barrier between.
    enum class Order : uint8_t { kAny, kFirst, kLast };
    /// Writes all changes to all copies. The disk's errors; what was not written is tried again by the next commit.
    Result<void> commit(DiskRange& disk, Order order = Order::kAny, uint32_t cluster = 0);

 private:
    static constexpr uint16_t kFree = 0x0000, kBad = 0xFFF7, kLeastEnd = 0xFFF8, kEnd = 0xFFFF;
    static constexpr uint16_t kCleanBit = 1U << 15, kNoErrorBit = 1U << 14;
    static constexpr uint32_t kInSector = kSectorBytes / sizeof(uint16_t);
    static constexpr uint32_t kMostSectors = 256;

    Result<void> load_copy(DiskRange& disk, uint32_t copy, std::span<uint16_t> out) const;
    Result<void> compare_copies(DiskRange& disk, uint32_t loaded, std::span<uint16_t> other);
    Result<void> look_for_damage(Allocator& allocator);
    bool can_be_given(uint32_t cluster) const {
        return entries_[cluster] == kFree &&
               (led_to_.size() == 0 || (led_to_[cluster / 8] >> cluster % 8 & 1) == 0);
    }
    ByteSpan bytes(uint32_t sector, uint32_t count) const;
    void set(uint32_t cluster, uint16_t value);
    void mark(uint32_t sector) { changed_[sector / 64] |= uint64_t{1} << sector % 64; }
    bool marked(uint32_t sector) const { return (changed_[sector / 64] >> sector % 64 & 1) != 0; }
    Result<void> write(DiskRange& disk, uint32_t sector, uint32_t count);
    uint32_t sectors() const { return static_cast<uint32_t>(entries_.size() / kInSector); }

    FatLayout layout_;
    Buffer<uint16_t> entries_;  // (sectors of the table that clusters need, 256), as on the disk
    Buffer<uint8_t>
        led_to_;  // (clusters) bits: free, and an entry led there when the table was loaded; or none
    uint64_t changed_[kMostSectors / 64] = {};
    uint32_t free_ = 0;
    uint32_t differing_ = 0;
    uint32_t search_from_ = kFirstCluster;
    FixedString<232> damage_;
};

}  // namespace bareflow
