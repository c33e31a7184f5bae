// The FAT16 volume that a machine boots with: options and a model are read from it, and what the boot learned is left on it.
#pragma once

#include <optional>

#include "arch/base/allocator.h"
#include "arch/base/file_store.h"
#include "arch/base/log.h"
#include "arch/base/stage.h"
#include "persist/fat16.h"
#include "persist/partitions.h"
#include "persist/snapshot.h"
#include "persist/snapshot_format.h"

namespace bareflow {

class BootDisk final : public FileStore {
 public:
    static constexpr std::string_view kModel = "model.wllm", kConfig = "bareflow.cfg";
    /// A volume with this label is taken, whatever is on it.
    static constexpr std::string_view kLabel = "BAREFLOW";
    static constexpr unsigned kSlots = 2;
    static constexpr std::string_view kSlotNames[kSlots] = {"SNAPA.BIN", "SNAPB.BIN"};
    /// Of each of the two, where they are made: several times what TinyLlama's routines and plans take.
    static constexpr uint64_t kSlotBytes = 2 << 20;
    static_assert(kSlotBytes >= snapshot::kLargestSlot);

    BootDisk(Allocator& allocator, LogSink& log) : allocator_(allocator), log_(log) {}
    BootDisk(const BootDisk&) = delete;

    /// Mounts the first volume on `disks` that is meant for this: one that has one of the files above or the label, or that
    /// is empty. Nothing is changed on any other. `unix_seconds`: what time it is; 0: nobody knows. Log: a record `volume`,
    /// or `volume_refused` for each disk that has none. The disks outlive this.
    void find(std::span<BlockDevice* const> disks, uint64_t unix_seconds);

    bool found() const { return volume_.has_value(); }
    /// Of a file in the root directory; nullopt if there is none, or it cannot be looked for (then the log says why).
    std::optional<FileInfo> file(std::string_view name);
    /// Fills `out` with the file's first bytes.
    Result<void> read(const FileInfo& file, std::span<uint8_t> out, ReadProgress* progress = nullptr);

    /// The file as one that is read ahead; not another one at the same time. It must not be changed meanwhile.
    Result<AsyncFile*> stream(const FileInfo& file);

    // ---- the chat's conversations
    Result<uint64_t> file_size(std::string_view name) override;
    Result<void> read_file(std::string_view name, uint64_t offset, std::span<uint8_t> out) override;
    /// The new file is written beside the old one, as NAME.NEW, before that is removed: where the power failed in between,
    /// NAME.NEW stands for it.
    Result<void> replace_file(std::string_view name, std::span<const ByteSpan> parts) override;

    /// SNAPA.BIN and SNAPB.BIN; made, both, the first time that one is asked for and not there. nullptr, with a record
    /// `snapshot_slot` of the reason: there is no volume, no room, or the file is in pieces.
    FixedFile* snapshot_slot(unsigned index);

    // ---- where the volume is one that the machine starts from (iso/make-disk.sh)
    static constexpr std::string_view kEnvironment = "boot/grub/grubenv", kNative = "boot/native.elf",
                                      kSmall = "boot/small.elf";
    /// Platform::turn_over(). Only bytes of native.elf's segment and one sector of GRUB's environment block change, in this
    /// order, each on the medium before the next.
    Result<bool> turn_over(Stage next, const SnapshotView& learned);
    /// The next boot is to load `stage`, of the names that name_of(Stage) has, and turn_over() changes that no more. One sector of
    /// GRUB's environment block, where it says otherwise. False: the machine does not start from a disk of its own.
    Result<bool> stay_at(std::string_view stage);
    /// Platform::report_native(): `trying` becomes `good`, or `failed`.
    Result<void> report_native(bool good);

 private:
    /// `name`, or what a power cut has left in its place; kNotFound: neither.
    Result<FileInfo> kept_file(std::string_view name);
    /// Whether the file, if there is one, begins with these bytes or is empty.
    Result<void> check_kind(std::string_view name, ByteSpan kind);
    Result<void> write_parts(std::string_view name, std::span<const ByteSpan> parts);
    Result<FatFixedFile> open_in_place(std::string_view path);
    Result<void> fill_native(const SnapshotView& learned);
    bool is_meant(Fat16& volume) const;
    Result<Fat16> mount(BlockDevice& disk, Partition& partition) const;
    void open_slots();
    Result<void> open_slot(unsigned index);

    Allocator& allocator_;
    LogSink& log_;
    BlockDevice* disk_ = nullptr;
    std::optional<Fat16> volume_;
    std::optional<FatReader> stream_;
    bool slots_opened_ = false;
    bool stays_ = false;
    std::optional<FatFixedFile> slots_[kSlots];
};

}  // namespace bareflow
