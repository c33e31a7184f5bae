#include "arch/x86_64/disk_request.h"

namespace bareflow {
namespace {

struct Refusal {
    ErrorCode code;
    std::string_view why;  ///< empty: none
};

Refusal refusal_of(const BlockDevice::Limits& limits, const BlockRequest& request) {
    const size_t size = request.data.size();
    if (request.kind == BlockRequest::Kind::kFlush)
        return {ErrorCode::kInvalid, size != 0 ? "a flush has no data" : std::string_view()};
    if (request.kind == BlockRequest::Kind::kWrite && limits.read_only)
        return {ErrorCode::kUnsupported, "the disk is read-only"};
    if (size == 0 || size % kSectorBytes != 0 || size > limits.request_bytes)
        return {ErrorCode::kInvalid, "a request has whole sectors, at least one, within the disk's limit"};
    if (reinterpret_cast<uintptr_t>(request.data.data()) % 2 != 0)
        return {ErrorCode::kInvalid, "its data must begin at an even address"};
    if (!fits(request.sector, size / kSectorBytes, limits.sectors))
        return {ErrorCode::kOutOfRange, "that is beyond the disk's end"};
    return {};
}

}  // namespace

void end_request(BlockRequest& request, const Result<void>& outcome) {
    request.outcome = outcome;
    request.done = true;
}

Error disk_error(std::string_view name, const BlockRequest& request, std::string_view reason,
                 ErrorCode code) {
    if (request.kind == BlockRequest::Kind::kFlush)
        return Error::make(code, "{}: cannot flush: {}", name, reason);
    return Error::make(code, "{}: cannot {} {} bytes at sector {}: {}", name,
                       request.kind == BlockRequest::Kind::kRead ? "read" : "write", request.data.size(),
                       request.sector, reason);
}

void fail_request(std::string_view name, BlockRequest& request, std::string_view reason, ErrorCode code) {
    end_request(request, disk_error(name, request, reason, code));
}

bool accept_request(std::string_view name, const BlockDevice::Limits& limits, BlockRequest& request) {
    request.done = false;
    const Refusal refusal = refusal_of(limits, request);
    if (refusal.why.empty()) return true;
    fail_request(name, request, refusal.why, refusal.code);
    return false;
}

}  // namespace bareflow
