// The real-time clock beside the CMOS memory (Motorola MC146818A; ACPI 6.4, 4.8.2.4), for the snapshots' timestamps.
#pragma once

#include <cstdint>

#include "arch/base/bytes.h"
#include "arch/base/result.h"

namespace bareflow {

/// The clock's registers. Tests bring clocks of their own.
class CmosRegisters {
 public:
    virtual uint8_t read(uint8_t index) = 0;

 protected:
    ~CmosRegisters() = default;
};
/// The machine's own, by ports 0x70 and 0x71.
CmosRegisters& cmos_ports();

/// Where the FADT (5.2.9; all of the table, or nothing) says that the century is kept; 0: nowhere.
uint8_t rtc_century_register(ByteSpan fadt);

/// Seconds since 1970-01-01 00:00:00, if the clock is set to UTC, as QEMU's is. `century_register`: 0 where there is none;
/// then years up to 69 are of this century. kDevice: the clock does not answer, or gives what is no time.
Result<uint64_t> read_rtc(CmosRegisters& registers, uint8_t century_register);

}  // namespace bareflow
