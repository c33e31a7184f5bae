// What the disks' drivers have in common: which requests they take, and how they tell of failures.
#pragma once

#include "persist/block_device.h"

namespace bareflow {

/// A device that finishes nothing for this long while it has work is given up.
constexpr uint64_t kDiskTimeoutNs = 10'000'000'000;

inline std::string_view verb_of(BlockRequest::Kind kind) {
    switch (kind) {
        case BlockRequest::Kind::kRead:
            return "read";
        case BlockRequest::Kind::kWrite:
            return "write";
        default:
            return "flush";
    }
}

inline void end_request(BlockRequest& request, const Result<void>& outcome) {
    request.outcome = outcome;
    request.done = true;
}

/// "virtio0: cannot write 4096 bytes at sector 17: REASON"
inline Error disk_error(std::string_view name, const BlockRequest& request, std::string_view reason,
                        ErrorCode code = ErrorCode::kDevice) {
    if (request.kind == BlockRequest::Kind::kFlush)
        return Error::make(code, "{}: cannot flush: {}", name, reason);
    return Error::make(code, "{}: cannot {} {} bytes at sector {}: {}", name, verb_of(request.kind),
                       request.data.size(), request.sector, reason);
}

/// Whether a device with these limits can be given the request at all.
inline Result<void> check_request(std::string_view name, const BlockDevice::Limits& limits,
                                  const BlockRequest& request) {
    const size_t size = request.data.size();
    if (request.kind == BlockRequest::Kind::kFlush) {
        if (size != 0) return disk_error(name, request, "a flush has no data", ErrorCode::kInvalid);
        return {};
    }
    if (request.kind == BlockRequest::Kind::kWrite && limits.read_only)
        return disk_error(name, request, "the disk is read-only", ErrorCode::kUnsupported);
    if (size == 0 || size % kSectorBytes != 0 || size > limits.request_bytes)
        return disk_error(name, request, "a request has whole sectors, at least one, within the disk's limit",
                          ErrorCode::kInvalid);
    if (reinterpret_cast<uintptr_t>(request.data.data()) % 2 != 0)
        return disk_error(name, request, "its data must begin at an even address", ErrorCode::kInvalid);
    if (!fits(request.sector, size / kSectorBytes, limits.sectors))
        return disk_error(name, request, "that is beyond the disk's end", ErrorCode::kOutOfRange);
    return {};
}

}  // namespace bareflow
