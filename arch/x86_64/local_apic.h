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

// ---- other cores
bool local_apic_present();
/// Of the running core; 0 without an APIC.
uint32_t local_apic_id();
/// Whether an interrupt can be sent there: without x2APIC ids have 8 bits, and the last one means everybody.
bool local_apic_reaches(uint32_t id);
/// On a core that was just started: the APIC as on the first one, without a timer.
void enable_local_apic_of_this_core();

/// Delivery modes of an interprocessor interrupt (10.6.1).
enum Ipi : uint32_t { kIpiFixed = 0, kIpiNmi = 4, kIpiInit = 5, kIpiStartup = 6 };
/// `vector`: of kIpiFixed; of kIpiStartup the page where it starts; else 0.
void local_apic_send(uint32_t id, Ipi mode, uint8_t vector);

}  // namespace bareflow
