#include "persist/disk_range.h"

namespace bareflow {

Result<void> DiskRange::check(uint64_t sector, size_t bytes) const {
    if (fits(sector, bytes / kSectorBytes, range_.count) && sector <= UINT64_MAX - range_.first) return {};
    return Error::make(ErrorCode::kOutOfRange,
                       "{}: {} bytes at sector {} leave the partition of {} sectors at {}", name(), bytes,
                       sector, range_.count, range_.first);
}

Result<void> DiskRange::read(uint64_t sector, std::span<uint8_t> out) {
    TRY(check(sector, out.size()));
    return disk_->read(range_.first + sector, out);
}

Result<void> DiskRange::write_once(uint64_t sector, ByteSpan bytes) {
    unflushed_ = true;
    return disk_->write(range_.first + sector, bytes);
}

Result<void> DiskRange::write(uint64_t sector, ByteSpan bytes) {
    TRY(check(sector, bytes.size()));
    if (failed_)
        return Error::make(ErrorCode::kDevice, "{}: not written since an earlier write failed", name());
    return write_once(sector, bytes);
}

Result<void> DiskRange::write_metadata(uint64_t sector, ByteSpan bytes) {
    if (write(sector, bytes).ok()) return {};
    auto second = write(sector, bytes);
    if (!second.ok()) failed_ = true;
    return second;
}

Result<void> DiskRange::barrier() {
    if (!unflushed_) return {};
    if (failed_)
        return Error::make(ErrorCode::kDevice, "{}: not flushed since an earlier write failed", name());
    auto flushed = disk_->flush();
    if (flushed.ok()) {
        unflushed_ = false;
    } else {
        failed_ = true;
    }
    return flushed;
}

}  // namespace bareflow
