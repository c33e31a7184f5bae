// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), as iSCSI (RFC 3720) and SSE4.2's crc32 compute it.
#pragma once

#include <cstdint>

#include "arch/base/bytes.h"
#include "arch/base/terminal.h"

namespace bareflow {

/// The CRC of `bytes`; give the previous result as `crc` to go on over a second piece.
uint32_t crc32c(ByteSpan bytes, uint32_t crc = 0);

/// From now on by SSE4.2's instruction, which the CPU must have, or by tables, as at first.
void crc32c_by_instruction(bool use);
bool crc32c_uses_instruction();
/// As is quicker here, on a CPU that has the instruction: emulators compute it bit by bit, and tables are three times as fast there.
void crc32c_by_what_is_quicker(Clock& clock);

}  // namespace bareflow
