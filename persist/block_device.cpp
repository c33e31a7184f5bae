#include "persist/block_device.h"

#include <algorithm>

namespace bareflow {
namespace {

constexpr unsigned kMostInFlight = 16;

std::string_view verb(BlockRequest::Kind kind) {
    return kind == BlockRequest::Kind::kRead ? "read" : "write";
}

}  // namespace

Result<void> BlockDevice::transfer(BlockRequest::Kind kind, uint64_t sector, std::span<uint8_t> data) {
    const Limits limit = limits();
    const uint64_t count = data.size() / kSectorBytes;
    if (data.size() % kSectorBytes != 0 || sector > limit.sectors || count > limit.sectors - sector) {
        return Error::make(ErrorCode::kOutOfRange,
                           "{}: cannot {} {} bytes at sector {}: it has {} sectors of {} bytes", name(),
                           verb(kind), data.size(), sector, limit.sectors, kSectorBytes);
    }
    BlockRequest requests[kMostInFlight];
    // The other half is for those who read ahead (FatReader), whose requests may be under way meanwhile.
    const unsigned depth = std::clamp(limit.in_flight - limit.in_flight / 2, 1U, kMostInFlight);
    unsigned started = 0, ended = 0;  // ever; a request's place is its number modulo depth
    Result<void> outcome;
    while (ended < started || (!data.empty() && outcome.ok())) {
        if (started - ended < depth && !data.empty() && outcome.ok()) {
            BlockRequest& request = requests[started++ % depth];
            request = {kind, sector, data.first(std::min(data.size(), limit.request_bytes)), false, {}};
            sector += request.data.size() / kSectorBytes;
            data = data.subspan(request.data.size());
            start(request);
            continue;
        }
        poll();
        BlockRequest& oldest = requests[ended % depth];
        if (!oldest.done) continue;
        if (outcome.ok()) outcome = oldest.outcome;
        ++ended;
    }
    return outcome;
}

Result<void> BlockDevice::read(uint64_t sector, std::span<uint8_t> out) {
    return transfer(BlockRequest::Kind::kRead, sector, out);
}

Result<void> BlockDevice::write(uint64_t sector, ByteSpan bytes) {
    if (limits().read_only) return Error::make(ErrorCode::kUnsupported, "{} is read-only", name());
    // A write reads its data only; one request type serves both directions.
    return transfer(BlockRequest::Kind::kWrite, sector, {const_cast<uint8_t*>(bytes.data()), bytes.size()});
}

Result<void> BlockDevice::flush() {
    BlockRequest request{BlockRequest::Kind::kFlush, 0, {}, false, {}};
    start(request);
    while (!request.done) poll();
    return request.outcome;
}

}  // namespace bareflow
