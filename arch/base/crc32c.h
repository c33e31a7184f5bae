// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), as iSCSI (RFC 3720) and SSE4.2's crc32 compute it.
#pragma once

#include <cstdint>

#include "arch/base/bytes.h"

namespace bareflow {

/// The CRC of `bytes`; give the previous result as `crc` to go on over a second piece.
uint32_t crc32c(ByteSpan bytes, uint32_t crc = 0);

}  // namespace bareflow
