// The volume: mounting, finding by path, and what changes files but not their bytes. fat16_files.cpp has the rest.
#include "persist/fat16.h"

#include "persist/fat16_check.h"

namespace bareflow {
namespace {

FileInfo info_of(const DirectoryScan& scan) {
    const DirectoryEntry& entry = scan.entry();
    FileInfo info;
    scan.name(info.name);
    info.short_name = unpack_short_name(entry);
    info.directory = entry.is_directory();
    info.read_only = (entry.attributes & DirectoryEntry::kReadOnly) != 0;
    info.hidden = (entry.attributes & DirectoryEntry::kHidden) != 0;
    info.system = (entry.attributes & DirectoryEntry::kSystem) != 0;
    info.archive = (entry.attributes & DirectoryEntry::kArchive) != 0;
    info.size = info.directory ? 0 : entry.size;
    info.first_cluster = entry.first_cluster;
    info.modified = FatTime::unpacked(entry.date, entry.time);
    return info;
}

Error not_found(std::string_view path) {
    return Error::make(ErrorCode::kNotFound, "{}: there is no such file or directory on the disk", path);
}

/// Takes the first part off `path`; empty if there is none.
std::string_view take_part(std::string_view& path) {
    while (path.starts_with('/')) path.remove_prefix(1);
    const std::string_view part = path.substr(0, path.find('/'));
    path.remove_prefix(part.size());
    while (path.starts_with('/')) path.remove_prefix(1);
    return part;
}

}  // namespace

// ---------------------------------------------------------------- the volume
Result<Fat16> Fat16::mount(BlockDevice& device, SectorRange range, Allocator& allocator) {
    DiskRange disk(device, range);
    auto scratch = TRY(Buffer<uint8_t>::make(allocator, FatVolume::kScratchBytes, "the disk's buffer"));
    auto window = TRY(SectorWindow::make(allocator));
    const auto boot = scratch.span().first(kSectorBytes);
    TRY(disk.read(0, boot));
    const FatLayout layout = TRY(read_layout(boot, range.count));
    auto table = TRY(FatTable::load(disk, layout, allocator));
    FatVolume volume{disk, layout, std::move(table), std::move(window), std::move(scratch), FatTime{}};
    if (!volume.table.clean() || layout.boot_dirty) {
        auto sound = check_tree(volume, allocator);
        if (!sound.ok() && sound.error().code() == ErrorCode::kOutOfMemory) return sound.error();
        if (!sound.ok()) volume.table.forbid_writing(sound.error().message());
    }
    return Fat16(std::move(volume));
}

Result<void> Fat16::unmount() {
    if (!marked_) return {};
    TRY(commit());
    if (!was_dirty_) {
        volume_.table.set_clean(true);
        TRY(commit());
    }
    marked_ = false;
    return {};
}

Result<void> Fat16::writable() const {
    const DiskRange& disk = volume_.disk;
    if (disk.read_only()) return Error::make(ErrorCode::kUnsupported, "{} is read-only", disk.name());
    if (const std::string_view damage = volume_.table.damage(); !damage.empty()) {
        return Error::make(ErrorCode::kUnsupported, "{} is not written to: {}", disk.name(), damage);
    }
    if (disk.failed()) {
        return Error::make(ErrorCode::kDevice,
                           "{}: an earlier write failed, and nothing is written since; check the "
                           "disk and run fsck.fat",
                           disk.name());
    }
    return {};
}

Result<void> Fat16::begin_change() {
    TRY(writable());
    if (marked_) return {};
    marked_ = true;  // even if it fails: the mark may be on the medium
    volume_.table.set_clean(false);
    return commit();
}

Result<void> Fat16::commit(FatTable::Order order, uint32_t cluster) {
    TRY(volume_.table.commit(volume_.disk, order, cluster));
    return volume_.disk.barrier();
}

// ---------------------------------------------------------------- finding
Result<bool> Fat16::find(uint32_t directory, std::string_view name, Target& target) {
    DirectoryScan scan(volume_, directory);
    while (TRY(scan.next())) {
        if (!scan.is_called(name)) continue;
        target.place = scan.place();
        target.entry = scan.entry();
        return true;
    }
    return false;
}

Result<Fat16::Target> Fat16::locate(std::string_view path, uint32_t inside) {
    Target target;
    std::string_view rest = path;
    target.name = take_part(rest);
    if (target.name.empty()) {
        target.found = true;
        target.entry.attributes = DirectoryEntry::kDirectory;
        return target;
    }
    for (;;) {
        if (inside != 0 && target.directory == inside)
            return invalid("{} is inside of what is to be moved there", path);
        target.found = TRY(find(target.directory, target.name, target));
        if (rest.empty()) return target;
        if (!target.found) return not_found(path);
        if (!target.entry.is_directory())
            return invalid("{}: {} is a file, not a directory", path, target.name);
        if (!volume_.layout.holds(target.entry.first_cluster)) {
            return invalid(
                "{}: the directory {} begins in cluster {}, which is outside the volume; run fsck.fat", path,
                target.name, target.entry.first_cluster);
        }
        target.directory = target.entry.first_cluster;
        target.name = take_part(rest);
    }
}

Result<Fat16::Target> Fat16::locate_file(std::string_view path) {
    auto target = TRY(locate(path));
    if (!target.found) return not_found(path);
    if (target.entry.is_directory()) return invalid("{} is a directory, not a file", path);
    return target;
}

Result<FileInfo> Fat16::info(std::string_view path) {
    const Target target = TRY(locate(path));
    if (!target.found) return not_found(path);
    if (target.name.empty()) {
        FileInfo root;
        root.directory = true;
        return root;
    }
    DirectoryScan scan(volume_, target.directory);
    while (TRY(scan.next())) {
        if (scan.place() == target.place) return info_of(scan);
    }
    return not_found(path);
}

Result<DirectoryListing> Fat16::list(std::string_view path) {
    const Target target = TRY(locate(path));
    if (!target.found) return not_found(path);
    if (!target.entry.is_directory()) return invalid("{} is a file, not a directory", path);
    if (target.name.empty()) return DirectoryListing(volume_, kRootDirectory);
    if (target.entry.first_cluster == kRootDirectory) {
        return invalid("the directory {} has no clusters; run fsck.fat", path);
    }
    return DirectoryListing(volume_, target.entry.first_cluster);
}

Result<bool> DirectoryListing::next(FileInfo& info) {
    if (!TRY(scan_.next())) return false;
    info = info_of(scan_);
    return true;
}

// ---------------------------------------------------------------- names and places
Result<DirectoryEntry> Fat16::new_entry(std::string_view path, const Target& target,
                                        uint8_t attributes) const {
    if (target.found) return invalid("{} is there already", path);
    DirectoryEntry entry = {};
    TRY(pack_short_name(target.name, entry.name));
    entry.attributes = attributes;
    return stamped(entry, volume_.now);
}

Result<void> Fat16::create(std::string_view path) {
    const Target target = TRY(locate(path));
    const DirectoryEntry entry = TRY(new_entry(path, target, DirectoryEntry::kArchive));
    TRY(begin_change());
    TRY(add_entry(volume_, target.directory, entry));
    return volume_.disk.barrier();
}

Result<void> Fat16::add_with_chain(const Target& target, const DirectoryEntry& entry) {
    auto added = add_entry(volume_, target.directory, entry);
    if (added.ok()) return volume_.disk.barrier();
    volume_.table.release(entry.first_cluster);
    (void)commit();  // if this fails too, the clusters are lost until fsck.fat finds them
    return added.error();
}

// The entry goes first: clusters that belong to nobody harm nobody, but a file without its clusters would share what
// they are used for next.
Result<void> Fat16::erase_with_chain(const Target& target) {
    TRY(begin_change());
    TRY(erase_entry(volume_, target.place));
    TRY(volume_.disk.barrier());
    volume_.table.release(target.entry.first_cluster);
    return commit();
}

Result<void> Fat16::make_directory(std::string_view path) {
    const Target target = TRY(locate(path));
    DirectoryEntry entry = TRY(new_entry(path, target, DirectoryEntry::kDirectory));
    TRY(begin_change());
    const uint32_t cluster = TRY(volume_.table.allocate(1, 0));
    if (auto written = write_empty_directory(volume_, cluster, target.directory); !written.ok()) {
        volume_.table.release(cluster);
        return written;
    }
    TRY(volume_.disk.barrier());
    TRY(commit());
    entry.first_cluster = static_cast<uint16_t>(cluster);
    return add_with_chain(target, entry);
}

Result<void> Fat16::remove_directory(std::string_view path) {
    const Target target = TRY(locate(path));
    if (!target.found) return not_found(path);
    if (!target.entry.is_directory()) return invalid("{} is a file, not a directory", path);
    if (target.name.empty()) return invalid("the root directory cannot be removed");
    DirectoryScan scan(volume_, target.entry.first_cluster);
    if (!volume_.layout.holds(target.entry.first_cluster)) {
        return invalid("the directory {} has no clusters; run fsck.fat", path);
    }
    if (TRY(scan.next())) return invalid("the directory {} is not empty", path);
    TRY(volume_.table.check_owned(target.entry.first_cluster));
    volume_.window.forget();
    return erase_with_chain(target);
}

Result<void> Fat16::remove(std::string_view path) {
    const Target target = TRY(locate_changeable_file(path));
    TRY(check_chain(target.entry));
    if (target.entry.first_cluster != 0) TRY(volume_.table.check_owned(target.entry.first_cluster));
    return erase_with_chain(target);
}

// Within a directory one sector changes, at once. Otherwise the new entry is on the medium before the old one is gone:
// where the power fails in between, the file is in both places.
Result<void> Fat16::rename(std::string_view from, std::string_view to) {
    const Target old = TRY(locate(from));
    if (!old.found) return not_found(from);
    if (old.name.empty()) return invalid("the root directory cannot be renamed");
    const bool directory = old.entry.is_directory();
    const Target target = TRY(locate(to, directory ? old.entry.first_cluster : 0));
    if (target.found && (target.name.empty() || target.place != old.place))
        return invalid("{} is there already", to);
    DirectoryEntry entry = old.entry;
    TRY(pack_short_name(target.name, entry.name));
    entry.case_bits = 0;
    if (target.directory == old.directory) {
        TRY(begin_change());
        TRY(rename_entry(volume_, old.place, entry));
        return volume_.disk.barrier();
    }
    if (directory) TRY(check_parent(volume_, old.entry.first_cluster));
    TRY(begin_change());
    const EntryPlace place = TRY(add_entry(volume_, target.directory, entry));
    TRY(volume_.disk.barrier());
    auto moved = directory ? set_parent(volume_, old.entry.first_cluster, target.directory) : Result<void>();
    if (moved.ok()) moved = erase_entry(volume_, old.place);
    if (!moved.ok()) {  // a second try, at the least harm: the file stays where it was
        if (directory) (void)set_parent(volume_, old.entry.first_cluster, old.directory);
        if (!erase_entry(volume_, place).ok()) volume_.disk.give_up();
        (void)volume_.disk.barrier();
        return moved;
    }
    return volume_.disk.barrier();
}

}  // namespace bareflow
