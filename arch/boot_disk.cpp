#include "arch/boot_disk.h"

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
            refuse(mounted.error().message);
            continue;
        }
        if (!is_meant(mounted.value())) {
            refuse("it holds other files; give it the label BAREFLOW, or put a bareflow.cfg on it");
            continue;
        }
        volume_.emplace(mounted.take());
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
    if (!info.ok() && info.error().code != ErrorCode::kNotFound)
        LogRecord(log_, "volume_error").field("file", name).field("reason", info.error().message.view());
    return std::nullopt;
}

Result<void> BootDisk::read(const FileInfo& file, std::span<uint8_t> out, ReadProgress* progress) {
    if (!volume_) return Error::make(ErrorCode::kNotFound, "there is no volume to read from");
    return volume_->read(file, 0, out, progress);
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
                .field("reason", opened.error().message.view());
        }
    }
    // Slots are rewritten in place: the volume itself changes no more, and is left as one that was unmounted.
    if (Result<void> unmounted = volume_->unmount(); !unmounted)
        LogRecord(log_, "volume_error").field("reason", unmounted.error().message.view());
}

Result<void> BootDisk::open_slot(unsigned index) {
    const std::string_view name = kSlotNames[index];
    Result<FileInfo> info = volume_->info(name);
    if (!info.ok()) {
        if (info.error().code != ErrorCode::kNotFound) return info.error();
        TRY(volume_->preallocate(name, kSlotBytes));
    }
    slots_[index].emplace(TRY(volume_->open_fixed(name)));
    return {};
}

}  // namespace bareflow
