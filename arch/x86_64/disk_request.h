// What the disks' drivers have in common: which requests they take, and how they tell of failures.
#pragma once

#include "persist/block_device.h"

namespace bareflow {

/// A device that finishes nothing for this long while it has work is given up.
constexpr uint64_t kDiskTimeoutNs = 10'000'000'000;

/// Marks the request as done.
void end_request(BlockRequest& request, const Result<void>& outcome);

/// "virtio0: cannot write 4096 bytes at sector 17: REASON"
Error disk_error(std::string_view name, const BlockRequest& request, std::string_view reason,
                 ErrorCode code = ErrorCode::kDevice);
/// Ends the request with that error.
void fail_request(std::string_view name, BlockRequest& request, std::string_view reason,
                  ErrorCode code = ErrorCode::kDevice);

/// Whether a device with these limits can be given the request; if not, it ends with the reason.
bool accept_request(std::string_view name, const BlockDevice::Limits& limits, BlockRequest& request);

}  // namespace bareflow
