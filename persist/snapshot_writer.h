// From what a boot knows to the bytes of a payload.
#pragma once

#include "arch/base/allocator.h"
#include "arch/base/bytes.h"
#include "persist/snapshot_format.h"

namespace bareflow {

struct SnapshotContent {
    snapshot::HistoryTotals totals{};
    std::span<const snapshot::StoredBoot> boots;  ///< oldest first
    std::span<const snapshot::StoredPlan> plans;  ///< in the order in which they were tried
    std::span<const snapshot::StoredProfile> profiles;
    /// The writer fills in code_bytes, code_offset and code_crc32c.
    std::span<snapshot::StoredRoutine> routines;
    std::span<const ByteSpan> codes;  ///< of each routine; empty for one that has none
};

/// The payload, in a buffer filled up with zeroes to whole sectors; `header` gets its counts, sizes, CRC and required features,
/// and magic and version. kOutOfRange: more than snapshot_format.h's limits. kOutOfMemory: no room for it.
Result<Buffer<uint8_t>> write_payload(snapshot::Header& header, const SnapshotContent& content,
                                      Allocator& allocator);
/// Sets header_crc32c. Last.
void seal(snapshot::Header& header);
void seal(snapshot::BootMark& mark);

}  // namespace bareflow
