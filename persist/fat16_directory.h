// Directories: which entries they hold, and how one is added, changed and erased. A directory is named by its first
// cluster; 0 is the root, which has its own place and never grows.
#pragma once

#include "persist/fat16_name.h"
#include "persist/fat16_volume.h"

namespace bareflow {

inline constexpr uint32_t kRootDirectory = 0;

/// Steps through a directory's 32-byte slots, whatever is in them. Other calls on the volume may come between two steps
/// unless they change the directory.
class DirectorySlots {
 public:
    DirectorySlots(FatVolume& volume, uint32_t directory) : volume_(&volume), directory_(directory) {}

    /// Goes to the first, then the next slot; false behind the last. kInvalid: the directory's chain is damaged.
    Result<bool> next();

    const DirectoryEntry& entry() const { return entry_; }
    uint32_t index() const { return index_; }
    uint64_t sector() const { return sector_; }
    /// The cluster that the slot, or the end, is in; 0 in the root.
    uint32_t cluster() const { return cluster_; }

 private:
    FatVolume* volume_;
    uint32_t directory_;
    DirectoryEntry entry_ = {};
    uint32_t index_ = 0;
    uint32_t cluster_ = 0;
    uint64_t sector_ = 0;
    uint32_t sectors_left_ =
        0;  // from sector_ on, to the end of its cluster or of the root; 0 before the first step
};

/// Where an entry stands, with the pieces of its long name right in front of it.
struct EntryPlace {
    uint32_t directory = kRootDirectory;
    uint32_t index = 0;
    uint32_t pieces = 0;

    bool operator==(const EntryPlace&) const = default;
};

/// Steps through the files and directories in a directory; not its label, "." and "..".
class DirectoryScan {
 public:
    DirectoryScan(FatVolume& volume, uint32_t directory) : slots_(volume, directory), directory_(directory) {}

    /// False behind the last one.
    Result<bool> next();

    const DirectoryEntry& entry() const { return slots_.entry(); }
    EntryPlace place() const { return {directory_, slots_.index(), long_name_.pieces_for(entry())}; }
    /// Whether `name` is its short or its long name, in any case.
    bool is_called(std::string_view name) const;
    /// The long name, or the short one where there is none.
    void name(FixedString<kLongNameBytes>& out) const;

 private:
    DirectorySlots slots_;
    uint32_t directory_;
    LongName long_name_;
};

/// Puts `entry` into a free slot; a directory other than the root grows by a cluster for it. On the medium with the
/// next barrier. kOutOfRange: the root, the directory (65536 entries) or the disk is full.
Result<EntryPlace> add_entry(FatVolume& volume, uint32_t directory, const DirectoryEntry& entry);

/// Puts `entry` in the place of the one there. Its long name stays: for changes that keep the short name.
Result<void> update_entry(FatVolume& volume, const EntryPlace& place, const DirectoryEntry& entry);
/// The same for a new short name: the long name's pieces are erased, and cannot be left behind in the entry's sector.
Result<void> rename_entry(FatVolume& volume, const EntryPlace& place, const DirectoryEntry& entry);
/// Erases the entry and the pieces of its long name, the entry first.
Result<void> erase_entry(FatVolume& volume, const EntryPlace& place);

/// Fills `cluster` as an empty directory in `parent`, with "." and "..".
Result<void> write_empty_directory(FatVolume& volume, uint32_t cluster, uint32_t parent);
/// kInvalid: `directory` has no ".." where it must be.
Result<void> check_parent(FatVolume& volume, uint32_t directory);
/// Makes ".." of `directory`, which check_parent() found well, lead to `parent`.
Result<void> set_parent(FatVolume& volume, uint32_t directory, uint32_t parent);

/// `entry` with its dates of making and change set to `now`.
DirectoryEntry stamped(DirectoryEntry entry, const FatTime& now);

}  // namespace bareflow
