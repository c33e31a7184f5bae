// The volume's files: their bytes, how they grow and shrink, and those in one piece.
#include "persist/fat16.h"

namespace bareflow {

Result<uint32_t> Fat16::check_chain(const DirectoryEntry& entry) const {
    const uint32_t needed = volume_.clusters_for(entry.size);
    const uint32_t length = entry.first_cluster == 0 ? 0 : TRY(volume_.table.length(entry.first_cluster));
    if (length < needed) {
        return invalid("a file of {} bytes has {} clusters of {} bytes; run fsck.fat", entry.size, length,
                       cluster_bytes());
    }
    return length;
}

Result<Fat16::Target> Fat16::locate_changeable_file(std::string_view path) {
    auto target = TRY(locate_file(path));
    if ((target.entry.attributes & DirectoryEntry::kReadOnly) != 0) {
        return Error::make(ErrorCode::kUnsupported, "{} is marked as read-only", path);
    }
    return target;
}

// ---------------------------------------------------------------- reading
Result<void> Fat16::read(std::string_view path, uint64_t offset, std::span<uint8_t> out,
                         ReadProgress* progress) {
    const Target target = TRY(locate_file(path));
    FileInfo file;
    file.name = target.name.substr(0, whole_characters(target.name, kLongNameBytes));
    file.size = target.entry.size;
    file.first_cluster = target.entry.first_cluster;
    return read(file, offset, out, progress);
}

Result<void> Fat16::read(const FileInfo& file, uint64_t offset, std::span<uint8_t> out,
                         ReadProgress* progress) {
    if (file.directory) return invalid("{} is a directory, not a file", file.name.view());
    if (!fits(offset, out.size(), file.size)) {
        return Error::make(ErrorCode::kOutOfRange, "{}: {} bytes at {} of {}", file.name.view(), out.size(),
                           offset, file.size);
    }
    DirectoryEntry entry = {};
    entry.size = file.size;
    entry.first_cluster = static_cast<uint16_t>(file.first_cluster);
    TRY(check_chain(entry));
    return read_chain(volume_, file.first_cluster, offset, out, progress);
}

Result<Buffer<FileRun>> Fat16::runs_of(const FileInfo& file, Allocator& allocator) {
    if (file.directory || file.size == 0) return invalid("{} is no file with bytes in it", file.name.view());
    DirectoryEntry entry = {};
    entry.size = file.size;
    entry.first_cluster = static_cast<uint16_t>(file.first_cluster);
    TRY(check_chain(entry));
    return list_runs(volume_, file.first_cluster, file.size, allocator);
}

// ---------------------------------------------------------------- growing and shrinking
Result<void> Fat16::append(std::string_view path, ByteSpan bytes) {
    Target target = TRY(locate_changeable_file(path));
    DirectoryEntry& entry = target.entry;
    const uint32_t length = TRY(check_chain(entry));
    if (bytes.empty()) return {};
    if (!fits(entry.size, bytes.size(), kMostFileBytes)) {
        return Error::make(ErrorCode::kOutOfRange, "{}: {} bytes and {} more are beyond FAT's {}", path,
                           entry.size, bytes.size(), kMostFileBytes);
    }
    const uint32_t first = entry.first_cluster;
    const uint32_t last = length == 0 ? 0 : TRY(volume_.table.step(first, length - 1));
    if (first != 0) TRY(volume_.table.check_owned(first));
    TRY(begin_change());

    // What fits into the clusters that the file has, and the rest into fresh ones.
    const uint64_t room = uint64_t{length} * cluster_bytes() - entry.size;
    const size_t here = bytes.size() < room ? bytes.size() : static_cast<size_t>(room);
    const uint32_t more = volume_.clusters_for(bytes.size() - here);
    const uint32_t fresh = more == 0 ? 0 : TRY(volume_.table.allocate(more, last));
    auto written = here == 0 ? Result<void>() : write_chain(volume_, first, entry.size, bytes.first(here));
    if (written.ok()) written = write_chain(volume_, fresh, 0, bytes.subspan(here));
    if (!written.ok()) {
        volume_.table.release(fresh);
        return written;
    }
    TRY(volume_.disk.barrier());
    if (fresh != 0) {
        if (last != 0) volume_.table.link(last, fresh);
        TRY(commit(last != 0 ? FatTable::Order::kLast : FatTable::Order::kAny, last));
    }

    if (first == 0) entry.first_cluster = static_cast<uint16_t>(fresh);
    entry.size += static_cast<uint32_t>(bytes.size());
    entry.attributes |= DirectoryEntry::kArchive;
    entry.time = volume_.now.packed_time();
    entry.date = entry.accessed_date = volume_.now.packed_date();
    if (auto updated = update_entry(volume_, target.place, entry); !updated.ok()) {
        // The entry could not even be read: the file stays as it was.
        if (fresh != 0) {
            if (last != 0) (void)volume_.table.cut_behind(last).ok();
            volume_.table.release(fresh);
            (void)commit(FatTable::Order::kFirst, last);
        }
        return updated;
    }
    return volume_.disk.barrier();
}

Result<void> Fat16::truncate(std::string_view path, uint64_t size) {
    Target target = TRY(locate_changeable_file(path));
    DirectoryEntry& entry = target.entry;
    TRY(check_chain(entry));
    if (size > entry.size) {
        return Error::make(ErrorCode::kOutOfRange, "{} has {} bytes, and cannot be cut to {}", path,
                           entry.size, size);
    }
    if (size == entry.size) return {};
    const uint32_t first = entry.first_cluster;
    TRY(volume_.table.check_owned(first));
    const uint32_t kept = volume_.clusters_for(size);
    const uint32_t last = kept == 0 ? 0 : TRY(volume_.table.step(first, kept - 1));
    TRY(begin_change());

    entry.size = static_cast<uint32_t>(size);
    if (kept == 0) entry.first_cluster = 0;
    entry.attributes |= DirectoryEntry::kArchive;
    entry.time = volume_.now.packed_time();
    entry.date = entry.accessed_date = volume_.now.packed_date();
    TRY(update_entry(volume_, target.place, entry));
    TRY(volume_.disk.barrier());
    volume_.table.release(kept == 0 ? first : TRY(volume_.table.cut_behind(last)));
    return commit(FatTable::Order::kFirst, last);
}

// ---------------------------------------------------------------- files in one piece
Result<SectorRange> Fat16::sectors_of(std::string_view path, const DirectoryEntry& entry) const {
    TRY(check_chain(entry));
    const uint32_t needed = volume_.clusters_for(entry.size);
    if (needed == 0) return invalid("{} is empty", path);
    const ClusterRun run = volume_.table.run(entry.first_cluster, needed);
    if (run.count < needed) {
        return invalid("{} is in several pieces, the first of {} of {} clusters; copy it anew", path,
                       run.count, needed);
    }
    const uint64_t first = volume_.disk.range().first + volume_.layout.sector_of(entry.first_cluster);
    return SectorRange{first, (uint64_t{entry.size} + kSectorBytes - 1) / kSectorBytes};
}

Result<SectorRange> Fat16::contiguous_sectors(std::string_view path) {
    const Target target = TRY(locate_file(path));
    return sectors_of(path, target.entry);
}

Result<FatFixedFile> Fat16::open_fixed(std::string_view path) {
    const Target target = TRY(locate_file(path));
    const SectorRange sectors = TRY(sectors_of(path, target.entry));
    if (target.entry.size % kSectorBytes != 0) {
        return invalid("{} has {} bytes, which are no whole sectors of {}", path, target.entry.size,
                       kSectorBytes);
    }
    TRY(volume_.table.check_owned(target.entry.first_cluster));
    return FatFixedFile(volume_.disk.disk(), sectors);
}

Result<void> Fat16::preallocate(std::string_view path, uint64_t bytes) {
    const Target target = TRY(locate(path));
    if (target.found && !target.entry.is_directory() && target.entry.size == bytes) {
        return sectors_of(path, target.entry).ok()
                   ? Result<void>()
                   : invalid("{} is there, but not in one piece; remove it first", path);
    }
    DirectoryEntry entry = TRY(new_entry(path, target, DirectoryEntry::kArchive));
    if (bytes == 0 || bytes > kMostFileBytes) {
        return Error::make(ErrorCode::kOutOfRange, "{}: {} bytes are not from 1 to {}", path, bytes,
                           kMostFileBytes);
    }
    TRY(begin_change());
    const uint32_t clusters = volume_.clusters_for(bytes);
    const uint32_t first = TRY(volume_.table.allocate_contiguous(clusters));
    if (auto written = write_zeroes(volume_, ClusterRun{first, clusters}); !written.ok()) {
        volume_.table.release(first);
        return written;
    }
    TRY(volume_.disk.barrier());
    TRY(commit());
    entry.first_cluster = static_cast<uint16_t>(first);
    entry.size = static_cast<uint32_t>(bytes);
    return add_with_chain(target, entry);
}

}  // namespace bareflow
