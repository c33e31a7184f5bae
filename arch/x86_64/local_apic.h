// The local APIC (Intel SDM 3A 10): its one-shot timer, so that waiting for a key sleeps instead of spinning.
#pragma once

#include <cstdint>

namespace bareflow {

class TscClock;

/// Enables the APIC in the mode the firmware left it in (xAPIC by its page, x2APIC by MSRs) and measures its timer.
/// Without a local APIC, local_apic_sleep() spins.
void initialise_local_apic(TscClock& clock);

/// Sleeps until `ns` nanoseconds have passed or any interrupt came.
void local_apic_sleep(uint64_t ns);

void local_apic_end_of_interrupt();

}  // namespace bareflow
