#include "persist/fat16_fixed_file.h"

namespace bareflow {
namespace {

Result<void> check(uint64_t offset, uint64_t bytes, uint64_t size) {
    if (offset % kSectorBytes == 0 && bytes % kSectorBytes == 0 && fits(offset, bytes, size)) return {};
    return Error::make(ErrorCode::kOutOfRange,
                       "{} bytes at {} are no whole sectors of a fixed file of {} bytes", bytes, offset,
                       size);
}

}  // namespace

Result<void> FatFixedFile::read(uint64_t offset, std::span<uint8_t> out) {
    TRY(check(offset, out.size(), size()));
    return range_.read(offset / kSectorBytes, out);
}

Result<void> FatFixedFile::write(uint64_t offset, ByteSpan bytes) {
    TRY(check(offset, bytes.size(), size()));
    return range_.write(offset / kSectorBytes, bytes);
}

}  // namespace bareflow
