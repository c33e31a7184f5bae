// The processors that ACPI's Multiple APIC Description Table lists (specification 6.4, 5.2.12).
#pragma once

#include <cstdint>
#include <span>

#include "arch/base/bytes.h"

namespace bareflow {

struct ProcessorList {
    static constexpr size_t kMax = 256;
    uint32_t apic_ids[kMax];  ///< of enabled processors, in the table's order, each once
    size_t count = 0;

    std::span<const uint32_t> ids() const { return {apic_ids, count}; }
};

/// `table`: all of the MADT ("APIC"), its header included; empty gives an empty list. Reads on behind entries that it does
/// not know, and stops at the first that cannot be.
ProcessorList parse_madt(ByteSpan table);

}  // namespace bareflow
