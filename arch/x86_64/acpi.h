// Just enough ACPI (specification 6.4): find a table, and turn the machine off.
#pragma once

#include <string_view>

#include "arch/base/bytes.h"

namespace bareflow {

/// Remembers the root pointer that the boot loader handed over; may be empty.
void initialise_acpi(ByteSpan rsdp);

/// The whole table with that signature ("FACP", "APIC"), its checksum checked; empty if there is none.
ByteSpan acpi_table(std::string_view signature);

/// Enters sleep state S5. Returns only if that did not work.
void acpi_power_off();

}  // namespace bareflow
