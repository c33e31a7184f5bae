#include "persist/fat16_volume.h"

namespace bareflow {

Result<SectorWindow> SectorWindow::make(Allocator& allocator) {
    SectorWindow window;
    window.bytes_ =
        TRY(Buffer<uint8_t>::make(allocator, kSectors * kSectorBytes, "the window on directories"));
    return window;
}

Result<std::span<uint8_t>> SectorWindow::load(DiskRange& disk, uint64_t sector, uint32_t following) {
    if (sector < first_ || sector - first_ >= count_) {
        const uint32_t count = following < kSectors ? following : kSectors;
        const std::span<uint8_t> all = bytes_.span().first(count * kSectorBytes);
        count_ = 0;
        if (!disk.read(sector, all).ok()) TRY(disk.read(sector, all));
        first_ = sector;
        count_ = count;
    }
    return bytes_.span().subspan((sector - first_) * kSectorBytes, kSectorBytes);
}

Result<void> SectorWindow::store(DiskRange& disk, uint64_t sector) {
    ASSERT(sector >= first_ && sector - first_ < count_);
    auto written =
        disk.write_metadata(sector, bytes_.span().subspan((sector - first_) * kSectorBytes, kSectorBytes));
    if (!written.ok()) forget();
    return written;
}

}  // namespace bareflow
