// The GUID partition table (UEFI 2.10 chapter 5.3): a header in sector 1 and a copy in the last sector, each with an
// array of entries, header and array guarded by a CRC-32.
#pragma once

#include "persist/partitions.h"

namespace bareflow {

/// CRC-32 as IEEE 802.3 and the UEFI specification have it (reflected polynomial 0xEDB88320).
uint32_t crc32(ByteSpan bytes, uint32_t crc = 0);

/// Adds the entries in use to `list`, from the first header that is whole; the one in the last sector is asked second.
/// kInvalid: neither is whole. kDevice: the disk failed.
Result<void> read_gpt(BlockDevice& disk, PartitionList& list);

}  // namespace bareflow
