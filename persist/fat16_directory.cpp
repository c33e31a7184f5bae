#include "persist/fat16_directory.h"

namespace bareflow {
namespace {

constexpr uint32_t kEntriesInSector = kSectorBytes / sizeof(DirectoryEntry);
constexpr uint32_t kMostEntries = 65536;  // 2 MiB, by the specification; and no loop goes on for longer
constexpr uint32_t kParentIndex = 1;      // ".." is the second entry
constexpr uint8_t kErased = 0xE5;

uint8_t* slot_in(std::span<uint8_t> sector, uint32_t index) {
    return sector.data() + index % kEntriesInSector * sizeof(DirectoryEntry);
}

struct Sector {
    uint64_t number;
    std::span<uint8_t> bytes;
};

/// The sector with the slot `index`, in the window.
Result<Sector> load_slot(FatVolume& volume, uint32_t directory, uint32_t index) {
    uint64_t sector = index / kEntriesInSector;
    if (directory == kRootDirectory) {
        sector += volume.layout.root_start;
    } else {
        const uint32_t in_cluster = volume.layout.sectors_per_cluster;
        const uint32_t cluster =
            TRY(volume.table.step(directory, static_cast<uint32_t>(sector / in_cluster)));
        sector = volume.layout.sector_of(cluster) + sector % in_cluster;
    }
    const auto bytes = TRY(volume.window.load(volume.disk, sector, 1));
    return Sector{sector, bytes};
}

/// Writes the last slot of a place, and erases the pieces before it: sector by sector, from the last one on.
Result<void> replace(FatVolume& volume, const EntryPlace& place, const DirectoryEntry& entry) {
    ASSERT(place.pieces <= place.index);
    const uint32_t first = place.index - place.pieces;
    for (uint32_t end = place.index + 1; end > first;) {
        const auto loaded = load_slot(volume, place.directory, end - 1);
        if (!loaded.ok()) {
            if (end <= place.index) volume.disk.give_up();
            return loaded.error();
        }
        const Sector& sector = loaded.value();
        do {
            --end;
            uint8_t* slot = slot_in(sector.bytes, end);
            if (end == place.index) {
                __builtin_memcpy(slot, &entry, sizeof(entry));
            } else {
                slot[0] = kErased;
            }
        } while (end > first && end % kEntriesInSector != 0);
        TRY(volume.window.store(volume.disk, sector.number));
    }
    return {};
}

Result<void> write_zeroes(FatVolume& volume, uint32_t cluster) {
    const size_t bytes = volume.layout.cluster_bytes();
    ASSERT(bytes <= volume.scratch.size());
    __builtin_memset(volume.scratch.data(), 0, bytes);
    volume.window.forget();
    return volume.disk.write(volume.layout.sector_of(cluster), volume.scratch.span().first(bytes));
}

/// Another cluster of zeroes behind `last`. The chain reaches it only when the zeroes are on the medium.
Result<void> grow(FatVolume& volume, uint32_t last) {
    const uint32_t fresh = TRY(volume.table.allocate(1, last));
    if (auto written = write_zeroes(volume, fresh); !written.ok()) {
        volume.table.release(fresh);
        return written;
    }
    TRY(volume.disk.barrier());
    volume.table.link(last, fresh);
    TRY(volume.table.commit(volume.disk, FatTable::Order::kLast, last));
    return volume.disk.barrier();
}

}  // namespace

// ---------------------------------------------------------------- reading
Result<bool> DirectorySlots::next() {
    const FatLayout& layout = volume_->layout;
    if (sectors_left_ == 0) {
        const bool root = directory_ == kRootDirectory;
        if (!root && !layout.holds(directory_)) {
            return invalid("a directory begins in cluster {}, which is outside the volume; run fsck.fat",
                           directory_);
        }
        cluster_ = root ? 0 : directory_;
        sector_ = root ? layout.root_start : layout.sector_of(directory_);
        sectors_left_ = root ? layout.root_sectors : layout.sectors_per_cluster;
    } else if ((index_ + 1) % kEntriesInSector == 0) {
        if (sectors_left_ == 1) {
            if (cluster_ == 0) return false;
            const uint32_t following = TRY(volume_->table.next(cluster_));
            if (following == 0) return false;
            if (index_ + 1 >= kMostEntries) {
                return invalid(
                    "the directory in cluster {} has more than {} entries, or its chain is a loop; run "
                    "fsck.fat",
                    directory_, kMostEntries);
            }
            cluster_ = following;
            sector_ = layout.sector_of(following);
            sectors_left_ = layout.sectors_per_cluster;
        } else {
            ++sector_;
            --sectors_left_;
        }
        ++index_;
    } else {
        ++index_;
    }
    const auto bytes = TRY(volume_->window.load(volume_->disk, sector_, sectors_left_));
    __builtin_memcpy(&entry_, slot_in(bytes, index_), sizeof(entry_));
    return true;
}

Result<bool> DirectoryScan::next() {
    long_name_.reset();
    while (TRY(slots_.next())) {
        const DirectoryEntry& slot = slots_.entry();
        if (slot.is_end()) return false;
        if (slot.is_erased()) {
            long_name_.reset();
        } else if (slot.is_long_name()) {
            long_name_.feed(slot);
        } else if (slot.is_label() || slot.is_dot()) {
            long_name_.reset();
        } else {
            return true;
        }
    }
    return false;
}

bool DirectoryScan::is_called(std::string_view wanted) const {
    if (same_name(unpack_short_name(entry()), wanted)) return true;
    if (long_name_.pieces_for(entry()) == 0) return false;
    FixedString<kLongNameBytes> text;
    long_name_.text(text);
    return same_name(text, wanted);
}

void DirectoryScan::name(FixedString<kLongNameBytes>& out) const {
    if (long_name_.pieces_for(entry()) > 0) {
        long_name_.text(out);
    } else {
        out.clear();
        out.append(unpack_short_name(entry()));
    }
}

// ---------------------------------------------------------------- writing
Result<EntryPlace> add_entry(FatVolume& volume, uint32_t directory, const DirectoryEntry& entry) {
    DirectorySlots slots(volume, directory);
    bool free = false;
    while (!free && TRY(slots.next())) free = slots.entry().is_end() || slots.entry().is_erased();
    const uint32_t index = free ? slots.index() : slots.index() + 1;
    if (!free) {
        if (directory == kRootDirectory) {
            return Error::make(
                ErrorCode::kOutOfRange,
                "the root directory is full ({} entries); delete files or put them into a directory", index);
        }
        if (index >= kMostEntries) {
            return Error::make(ErrorCode::kOutOfRange, "the directory is full: it has {} entries", index);
        }
        TRY(grow(volume, slots.cluster()));
    } else if (slots.entry().is_end() && TRY(slots.next()) && !slots.entry().is_end()) {
        // What stands behind the end counts for nothing, but would come to light once the end is written over.
        const Sector behind = TRY(load_slot(volume, directory, index + 1));
        slot_in(behind.bytes, index + 1)[0] = 0;
        TRY(volume.window.store(volume.disk, behind.number));
    }
    const EntryPlace place{directory, index, 0};
    TRY(replace(volume, place, entry));
    return place;
}

Result<void> update_entry(FatVolume& volume, const EntryPlace& place, const DirectoryEntry& entry) {
    return replace(volume, {place.directory, place.index, 0}, entry);
}

Result<void> rename_entry(FatVolume& volume, const EntryPlace& place, const DirectoryEntry& entry) {
    return replace(volume, place, entry);
}

Result<void> erase_entry(FatVolume& volume, const EntryPlace& place) {
    const Sector sector = TRY(load_slot(volume, place.directory, place.index));
    DirectoryEntry entry;
    __builtin_memcpy(&entry, slot_in(sector.bytes, place.index), sizeof(entry));
    entry.name[0] = kErased;
    return replace(volume, place, entry);
}

DirectoryEntry stamped(DirectoryEntry entry, const FatTime& now) {
    entry.created_tenths = 0;
    entry.created_time = entry.time = now.packed_time();
    entry.created_date = entry.accessed_date = entry.date = now.packed_date();
    return entry;
}

Result<void> write_empty_directory(FatVolume& volume, uint32_t cluster, uint32_t parent) {
    TRY(write_zeroes(volume, cluster));
    __builtin_memset(volume.scratch.data(), 0, kSectorBytes);
    DirectoryEntry dots[2] = {};
    for (DirectoryEntry& dot : dots) {
        dot = stamped(dot, volume.now);
        __builtin_memset(dot.name, ' ', sizeof(dot.name));
        dot.name[0] = '.';
        dot.attributes = DirectoryEntry::kDirectory;
    }
    dots[0].first_cluster = static_cast<uint16_t>(cluster);
    dots[kParentIndex].name[1] = '.';
    dots[kParentIndex].first_cluster = static_cast<uint16_t>(parent);
    __builtin_memcpy(volume.scratch.data(), dots, sizeof(dots));
    return volume.disk.write(volume.layout.sector_of(cluster), volume.scratch.span().first(kSectorBytes));
}

Result<void> check_parent(FatVolume& volume, uint32_t directory) {
    const Sector sector = TRY(load_slot(volume, directory, kParentIndex));
    DirectoryEntry entry;
    __builtin_memcpy(&entry, slot_in(sector.bytes, kParentIndex), sizeof(entry));
    if (__builtin_memcmp(entry.name, "..         ", sizeof(entry.name)) == 0 && entry.is_directory())
        return {};
    return invalid("the directory in cluster {} has no \"..\" as its second entry; run fsck.fat", directory);
}

Result<void> set_parent(FatVolume& volume, uint32_t directory, uint32_t parent) {
    const Sector sector = TRY(load_slot(volume, directory, kParentIndex));
    DirectoryEntry entry;
    __builtin_memcpy(&entry, slot_in(sector.bytes, kParentIndex), sizeof(entry));
    entry.first_cluster = static_cast<uint16_t>(parent);
    return update_entry(volume, {directory, kParentIndex, 0}, entry);
}

}  // namespace bareflow
