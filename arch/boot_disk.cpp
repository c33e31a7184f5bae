#include "arch/boot_disk.h"

#include "persist/grub_environment.h"
#include "persist/native_segment.h"

namespace bareflow {

Result<Fat16> BootDisk::mount(BlockDevice& disk, Partition& partition) const {
    partition = TRY(find_fat16(disk));
    return Fat16::mount(disk, partition.range, allocator_);
}

bool BootDisk::is_meant(Fat16& volume) const {
    if (volume.layout().label == kLabel) return true;
    for (std::string_view name : {kModel, kConfig, kSlotNames[0], kSlotNames[1]}) {
        if (volume.info(name).ok()) return true;
    }
    Result<DirectoryListing> root = volume.list("/");
    if (!root) return false;
    FileInfo first;
    Result<bool> any = root.value().next(first);
    return any.ok() && !any.value();
}

void BootDisk::find(std::span<BlockDevice* const> disks, uint64_t unix_seconds) {
    for (BlockDevice* disk : disks) {
        Partition partition;
        Result<Fat16> mounted = mount(*disk, partition);
        const auto refuse = [&](std::string_view reason) {
            LogRecord(log_, "volume_refused").field("disk", disk->name()).field("reason", reason);
        };
        if (!mounted) {
            refuse(mounted.error().message());
            continue;
        }
        if (!is_meant(mounted.value())) {
            refuse("it holds other files; give it the label BAREFLOW, or put a bareflow.cfg on it");
            continue;
        }
        volume_.emplace(mounted.take());
        disk_ = disk;
        volume_->set_time(FatTime::of_unix(unix_seconds));
        LogRecord(log_, "volume")
            .field("disk", disk->name())
            .field("partition", partition.number)
            .field("bytes", volume_->total_bytes())
            .field("free", volume_->free_bytes())
            .field("writable", volume_->writable().ok() ? "yes" : "no")
            .field("clean", volume_->was_dirty() ? "no" : "yes");
        return;
    }
}

std::optional<FileInfo> BootDisk::file(std::string_view name) {
    if (!volume_) return std::nullopt;
    Result<FileInfo> info = volume_->info(name);
    if (info.ok() && !info.value().directory) return info.take();
    if (!info.ok() && info.error().code() != ErrorCode::kNotFound)
        LogRecord(log_, "volume_error").field("file", name).field("reason", info.error().message());
    return std::nullopt;
}

Result<void> BootDisk::read(const FileInfo& file, std::span<uint8_t> out, ReadProgress* progress) {
    if (!volume_) return Error::make(ErrorCode::kNotFound, "there is no volume to read from");
    return volume_->read(file, 0, out, progress);
}

Result<AsyncFile*> BootDisk::stream(const FileInfo& file) {
    if (!volume_) return Error::make(ErrorCode::kNotFound, "there is no volume to read from");
    if (disk_->limits().in_flight < 2)
        return Error::make(ErrorCode::kUnsupported,
                           "{} takes one request at a time: nothing can be read ahead", disk_->name());
    Buffer<FileRun> runs = TRY(volume_->runs_of(file, allocator_));
    return static_cast<AsyncFile*>(&stream_.emplace(*disk_, std::move(runs), file.size));
}

// ---- conversations
namespace {

FixedString<12> new_name(std::string_view name) {
    return FixedString<12>::formatted("{}.NEW", name.substr(0, name.find('.')));
}

}  // namespace

Result<FileInfo> BootDisk::kept_file(std::string_view name) {
    if (!volume_)
        return Error::make(ErrorCode::kNotFound, "there is no disk with a FAT16 volume for BareFlow");
    Result<FileInfo> info = volume_->info(name);
    if (!info.ok() && info.error().code() == ErrorCode::kNotFound) {
        Result<FileInfo> left = volume_->info(new_name(name));
        if (left.ok()) return left;
    }
    return info;
}

Result<uint64_t> BootDisk::file_size(std::string_view name) { return uint64_t{TRY(kept_file(name)).size}; }

Result<void> BootDisk::read_file(std::string_view name, uint64_t offset, std::span<uint8_t> out) {
    return volume_->read(TRY(kept_file(name)), offset, out);
}

Result<void> BootDisk::check_kind(std::string_view name, ByteSpan kind) {
    const Result<FileInfo> info = volume_->info(name);
    if (!info.ok()) return info.error().code() == ErrorCode::kNotFound ? Result<void>() : info.error();
    uint8_t first[kKindBytes] = {};
    if (!info.value().directory && info.value().size >= kKindBytes) TRY(volume_->read(name, 0, first));
    const bool same = __builtin_memcmp(first, kind.data(), kKindBytes) == 0;
    if (!info.value().directory && (same || info.value().size == 0)) return {};
    return invalid("{} on the disk is something else; choose another name", name);
}

Result<void> BootDisk::write_parts(std::string_view name, std::span<const ByteSpan> parts) {
    TRY(volume_->create(name));
    for (const ByteSpan part : parts) {
        if (!part.empty()) TRY(volume_->append(name, part));
    }
    return {};
}

Result<void> BootDisk::replace_file(std::string_view name, std::span<const ByteSpan> parts) {
    if (!volume_)
        return Error::make(ErrorCode::kNotFound, "there is no disk with a FAT16 volume for BareFlow");
    TRY(volume_->writable());
    const FixedString<12> fresh = new_name(name);
    TRY(check_kind(name, parts[0]));
    TRY(check_kind(fresh, parts[0]));
    const bool there = volume_->info(name).ok();
    if (volume_->info(fresh).ok()) {
        // What a power cut has left: half a file, or one that only lacks its name.
        TRY(there ? volume_->remove(fresh) : volume_->rename(fresh, name));
    }
    uint64_t bytes = 0;
    for (const ByteSpan part : parts) bytes += part.size();
    const uint64_t cluster = volume_->cluster_bytes();
    if ((bytes + cluster - 1) / cluster * cluster > volume_->free_bytes()) {
        return Error::make(
            ErrorCode::kOutOfRange,
            "it takes {} bytes, and the disk has {} free; the old one goes only when the new one is there",
            bytes, volume_->free_bytes());
    }
    Result<void> done = write_parts(fresh, parts);
    if (done.ok()) {
        if (volume_->info(name).ok()) done = volume_->remove(name);
        if (done.ok()) {
            done = volume_->rename(fresh, name);
        } else {  // the old one stands
            static_cast<void>(volume_->remove(fresh));
        }
    } else if (volume_->info(fresh).ok()) {
        static_cast<void>(volume_->remove(fresh));
    }
    TRY(volume_->unmount());
    return done;
}

FixedFile* BootDisk::snapshot_slot(unsigned index) {
    if (!volume_ || index >= kSlots) return nullptr;
    if (!slots_opened_) open_slots();
    return slots_[index] ? &*slots_[index] : nullptr;
}

void BootDisk::open_slots() {
    slots_opened_ = true;
    for (unsigned i = 0; i < kSlots; ++i) {
        if (Result<void> opened = open_slot(i); !opened) {
            LogRecord(log_, "snapshot_slot")
                .field("file", kSlotNames[i])
                .field("reason", opened.error().message());
        }
    }
    // Slots are rewritten in place: the volume itself changes no more, and is left as one that was unmounted.
    if (Result<void> unmounted = volume_->unmount(); !unmounted)
        LogRecord(log_, "volume_error").field("reason", unmounted.error().message());
}

Result<void> BootDisk::open_slot(unsigned index) {
    const std::string_view name = kSlotNames[index];
    Result<FileInfo> info = volume_->info(name);
    if (!info.ok()) {
        if (info.error().code() != ErrorCode::kNotFound) return info.error();
        TRY(volume_->preallocate(name, kSlotBytes));
    }
    slots_[index].emplace(TRY(volume_->open_fixed(name)));
    return {};
}

// ---- the next stage
Result<FatFixedFile> BootDisk::open_in_place(std::string_view path) {
    return FatFixedFile(*disk_, TRY(volume_->contiguous_sectors(path)));
}

Result<void> BootDisk::fill_native(const SnapshotView& learned) {
    FatFixedFile file = TRY(open_in_place(kNative));
    Buffer<uint8_t> image = TRY(Buffer<uint8_t>::make(allocator_, file.size(), "native.elf"));
    TRY(file.read(0, image.span()));
    const FileRange range = TRY(find_native_segment(image.span()));
    const std::span<uint8_t> segment = image.span().subspan(range.offset, range.size);
    TRY(fill_native_segment(segment, learned));
    TRY(file.write(range.offset, segment));
    TRY(file.flush());
    Buffer<uint8_t> written = TRY(Buffer<uint8_t>::make(allocator_, segment.size(), "native.elf's segment"));
    TRY(file.read(range.offset, written.span()));
    if (__builtin_memcmp(written.data(), segment.data(), segment.size()) != 0)
        return Error::make(ErrorCode::kDevice, "native.elf's segment does not read as it was written");
    return {};
}

Result<bool> BootDisk::turn_over(Stage next, const SnapshotView& learned) {
    namespace variable = grub_variable;
    if (stays_ || !file(kEnvironment) || !file(next == Stage::kNative ? kNative : kSmall)) return false;
    FatFixedFile block = TRY(open_in_place(kEnvironment));
    GrubEnvironment environment = TRY(read_grub_environment(block));
    if (next == Stage::kNative) {
        const Result<GrubEnvironment::Value> native = environment.get(variable::kNative);
        if (native.ok() && native.value().view() == variable::kFailed) return false;
        TRY(fill_native(learned));
        TRY(environment.set(variable::kNative, variable::kUntried));
    }
    TRY(environment.set(variable::kStage, name_of(next)));
    TRY(write_grub_environment(block, environment));
    return true;
}

Result<bool> BootDisk::stay_at(std::string_view stage) {
    stays_ = true;
    if (!file(kEnvironment)) return false;
    FatFixedFile block = TRY(open_in_place(kEnvironment));
    GrubEnvironment environment = TRY(read_grub_environment(block));
    TRY(environment.set(grub_variable::kStage, stage));
    TRY(write_grub_environment(block, environment));
    return true;
}

Result<void> BootDisk::report_native(bool good) {
    namespace variable = grub_variable;
    if (!file(kEnvironment)) return {};
    FatFixedFile block = TRY(open_in_place(kEnvironment));
    GrubEnvironment environment = TRY(read_grub_environment(block));
    const Result<GrubEnvironment::Value> native = environment.get(variable::kNative);
    if (!native.ok() || native.value().view() != variable::kTrying) return {};
    TRY(environment.set(variable::kNative, good ? variable::kGood : variable::kFailed));
    return write_grub_environment(block, environment);
}

}  // namespace bareflow
