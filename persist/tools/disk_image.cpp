#include "persist/tools/disk_image.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <optional>
#include <vector>

#include "persist/partitions.h"

namespace bareflow {

Result<DiskImage> DiskImage::open(const std::string& path) {
    auto parts =
        std::make_unique<Parts>(TRY(FileBlockDevice::open(path, FileBlockDevice::Access::kReadOnly)));
    const Partition found = TRY(find_fat16(parts->disk));
    Fat16 volume = TRY(Fat16::mount(parts->disk, found.range, parts->allocator));
    return DiskImage(std::move(parts), std::move(volume));
}

Result<MappedFile> DiskImage::file(std::string_view name) {
    const std::string shown(name);
    const Result<FileInfo> info = volume_.info(name);
    if (!info.ok()) return Error::make(info.error().code(), "{}: {}", shown, info.error().message());
    const Descriptor memory(memfd_create("bareflow", MFD_CLOEXEC));
    if (memory.get() < 0)
        return Error::make(ErrorCode::kOutOfMemory, "no memory for {}: {}", shown, strerror(errno));
    FileWriter writer(memory.get(), shown);
    constexpr uint64_t kPiece = 4 << 20;
    std::vector<uint8_t> piece(std::min<uint64_t>(kPiece, info.value().size));
    for (uint64_t at = 0; at < info.value().size; at += piece.size()) {
        piece.resize(std::min<uint64_t>(kPiece, info.value().size - at));
        TRY(volume_.read(info.value(), at, piece));
        TRY(writer.write_at(at, piece));
    }
    return MappedFile::map(memory.get(), shown);
}

Result<SnapshotFile> DiskImage::newest_snapshot() {
    std::optional<SnapshotFile> newest;
    std::string why[2];  // an error's message has an end
    for (unsigned i = 0; i < std::size(why); ++i) {
        const char* const name = i == 0 ? "SNAPA.BIN" : "SNAPB.BIN";
        Result<MappedFile> slot = file(name);
        Result<SnapshotFile> opened =
            slot.ok() ? SnapshotFile::of(slot.take(), name) : Result<SnapshotFile>(slot.error());
        if (!opened.ok()) {
            why[i] = opened.error().message();
        } else if (!newest || opened.value().header().generation > newest->header().generation) {
            newest.emplace(opened.take());
        }
    }
    if (!newest) return invalid("{}; {}", why[0], why[1]);
    return std::move(*newest);
}

}  // namespace bareflow
