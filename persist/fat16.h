// A FAT16 volume: files and directories by path. What a call changed is on the medium when it returns, in an order that
// leaves every other file whole wherever the power fails (README.md "FAT16").
//
// A path is UTF-8, its parts stand between '/', a leading '/' changes nothing; "" and "/" are the root. Names are found
// in either case, by their long or their short form; new names are 8.3, in upper case. There is no "." and no "..".
//
// Errors, beside what each call states: kNotFound: no such file or directory. kInvalid: the path or the name is none,
// something is there already, or the volume is damaged. kUnsupported: a change, and the volume or the file is
// read-only. kOutOfRange: the disk, the root directory or the file is full, or an offset is beyond the end. kDevice:
// the disk failed.
#pragma once

#include <string_view>

#include "persist/fat16_content.h"
#include "persist/fat16_directory.h"
#include "persist/fat16_fixed_file.h"
#include "persist/fat16_reader.h"

namespace bareflow {

struct FileInfo {
    FixedString<kLongNameBytes> name;  ///< the long one, where there is one
    FixedString<12> short_name;
    bool directory = false;
    bool read_only = false, hidden = false, system = false, archive = false;
    uint32_t size = 0;  ///< bytes; 0 for directories
    uint32_t first_cluster = 0;
    FatTime modified;
};

/// The files of a directory, one after another. The volume stays where it is and as it is meanwhile.
class DirectoryListing {
 public:
    DirectoryListing(FatVolume& volume, uint32_t directory) : scan_(volume, directory) {}
    /// False behind the last one.
    Result<bool> next(FileInfo& info);

 private:
    DirectoryScan scan_;
};

/// Not for two cores at a time.
class Fat16 {
 public:
    /// The largest file: its size has 32 bits.
    static constexpr uint64_t kMostFileBytes = UINT32_MAX;

    /// Reads the boot sector and the FAT of the volume in `range` of `disk`. Memory: the FAT (128 KiB at most, twice that
    /// while mounting) and 68 KiB. `disk` and `allocator` outlive the volume. Changes nothing. A volume that was not
    /// unmounted is walked through once; if two of its files share clusters, it is read-only.
    /// kInvalid, kUnsupported: no FAT16, or a damaged one; says which field.
    static Result<Fat16> mount(BlockDevice& disk, SectorRange range, Allocator& allocator);
    /// The volume is clean on the medium, unless it was not when mounted. It can be used again, and is dirty from the
    /// next change on. Without it, the volume stays marked as in use.
    Result<void> unmount();

    // ---- the volume
    uint64_t free_bytes() const { return uint64_t{volume_.table.free_clusters()} * cluster_bytes(); }
    uint64_t total_bytes() const { return uint64_t{volume_.layout.clusters} * cluster_bytes(); }
    uint32_t cluster_bytes() const { return volume_.layout.cluster_bytes(); }
    const FatLayout& layout() const { return volume_.layout; }
    /// When mounted, it had not been unmounted.
    bool was_dirty() const { return was_dirty_; }
    /// Another system has met disk errors on it.
    bool had_hard_error() const { return volume_.table.hard_error(); }
    /// Sectors of the FAT whose copies differed; the first change makes them equal.
    uint32_t differing_table_sectors() const { return volume_.table.differing_sectors(); }
    /// Why nothing can be changed; ok if it can.
    Result<void> writable() const;
    /// What files get that change from now on; until it is called, 1980-01-01.
    void set_time(const FatTime& now) { volume_.now = now; }

    // ---- reading
    Result<FileInfo> info(std::string_view path);
    Result<DirectoryListing> list(std::string_view path);
    /// Fills `out` from byte `offset` on; kOutOfRange if the file ends before. Quickest into an even address from a
    /// multiple of 512 on. `progress` may be nullptr.
    Result<void> read(std::string_view path, uint64_t offset, std::span<uint8_t> out,
                      ReadProgress* progress = nullptr);
    /// The same for a file whose info() was taken since the last change: without looking for it again.
    Result<void> read(const FileInfo& file, uint64_t offset, std::span<uint8_t> out,
                      ReadProgress* progress = nullptr);

    // ---- changing
    /// An empty file. kInvalid: there is one.
    Result<void> create(std::string_view path);
    /// `bytes` behind the file's end, all of them or none.
    Result<void> append(std::string_view path, ByteSpan bytes);
    /// The file ends after `size` bytes, which it has.
    Result<void> truncate(std::string_view path, uint64_t size);
    /// A new file of `bytes` (at least 1) zeroes in one piece. One that is there, in one piece and of this size, stays
    /// as it is. kOutOfRange: no piece is long enough.
    Result<void> preallocate(std::string_view path, uint64_t bytes);
    /// A file or directory gets another name, or another place. kInvalid: something is at `to`, or `to` is in `from`.
    Result<void> rename(std::string_view from, std::string_view to);
    Result<void> remove(std::string_view path);
    Result<void> make_directory(std::string_view path);
    /// An empty one.
    Result<void> remove_directory(std::string_view path);

    // ---- files in one piece
    /// Where the file stands: sectors of the disk, not of the volume; the last one may be in part the file's. kInvalid:
    /// it is empty or in several pieces. Good until the file is changed through the volume.
    Result<SectorRange> contiguous_sectors(std::string_view path);
    /// The file as one that is rewritten in place. kInvalid: as above, or its size is no multiple of 512. The volume
    /// must not change or remove the file meanwhile.
    Result<FatFixedFile> open_fixed(std::string_view path);
    /// Where a file stands, in as many pieces as it has; kInvalid: it is empty. For FatReader, good until the file is changed.
    Result<Buffer<FileRun>> runs_of(const FileInfo& file, Allocator& allocator);

 private:
    /// What a path leads to: an entry, or the directory in which it could be made.
    struct Target {
        uint32_t directory = kRootDirectory;  ///< that it is in
        std::string_view name;                ///< empty: the root itself
        bool found = false;
        EntryPlace place;
        DirectoryEntry entry = {};
    };

    explicit Fat16(FatVolume&& volume) : volume_(std::move(volume)), was_dirty_(!volume_.table.clean()) {}

    /// `inside` (0: none) is a directory's cluster; a path that leads through it is kInvalid.
    Result<Target> locate(std::string_view path, uint32_t inside = 0);
    Result<Target> locate_file(std::string_view path);
    Result<Target> locate_changeable_file(std::string_view path);
    Result<bool> find(uint32_t directory, std::string_view name, Target& target);
    /// An entry for a new file at `target`, which is free.
    Result<DirectoryEntry> new_entry(std::string_view path, const Target& target, uint8_t attributes) const;
    /// The clusters of a file: as many as its size takes, or more. Their number.
    Result<uint32_t> check_chain(const DirectoryEntry& entry) const;
    Result<SectorRange> sectors_of(std::string_view path, const DirectoryEntry& entry) const;
    /// Before the first change: the volume is marked as in use.
    Result<void> begin_change();
    /// The FAT's changes, in order, on the medium.
    Result<void> commit(FatTable::Order order = FatTable::Order::kAny, uint32_t cluster = 0);
    /// Adds the entry of a new chain; frees the chain if that fails.
    Result<void> add_with_chain(const Target& target, const DirectoryEntry& entry);
    Result<void> erase_with_chain(const Target& target);

    FatVolume volume_;
    bool was_dirty_;
    bool marked_ = false;  // as in use, by begin_change()
};

}  // namespace bareflow
