// The other cores: started by INIT and SIPI (Intel SDM 3A 8.4), then workers of arch/base/workers.h.
#pragma once

#include "arch/base/log.h"
#include "arch/platform.h"
#include "arch/x86_64/clock.h"

namespace bareflow {

/// Starts cores of the MADT until `wanted` (0: all) run, this one included; once, with ACPI, memory and the local APIC
/// ready. A core that does not come up is logged and left alone.
Cores start_other_cores(unsigned wanted, TscClock& clock, LogSink& log);

/// Halts all cores but this one, whatever they do, for good.
void stop_other_cores();

}  // namespace bareflow
