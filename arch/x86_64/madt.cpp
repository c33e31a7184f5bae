#include "arch/x86_64/madt.h"

#include <algorithm>

namespace bareflow {
namespace {

constexpr size_t kEntriesAt = 44;  ///< behind the header (36), the local APIC's address and the flags
constexpr size_t kEntryHeaderSize = 2;
constexpr uint8_t kLocalApic = 0, kLocalX2Apic = 9;
constexpr uint32_t kEnabled = 1;

void add(ProcessorList& list, uint32_t id) {
    const std::span<const uint32_t> known = list.ids();
    if (list.count < ProcessorList::kMax && std::find(known.begin(), known.end(), id) == known.end())
        list.apic_ids[list.count++] = id;
}

}  // namespace

ProcessorList parse_madt(ByteSpan table) {
    ProcessorList list;
    if (table.size() < kEntriesAt) return list;
    ByteReader entries(table.subspan(kEntriesAt));
    while (entries.left() >= kEntryHeaderSize) {
        const auto type = entries.read<uint8_t>();
        const auto length = entries.read<uint8_t>();
        if (length < kEntryHeaderSize || length - kEntryHeaderSize > entries.left()) break;
        ByteReader body(entries.take(length - kEntryHeaderSize));
        uint32_t id = 0;
        if (type == kLocalApic) {  // 5.2.12.2: ACPI's number, APIC id, flags
            body.take(1);
            id = body.read<uint8_t>();
        } else if (type == kLocalX2Apic) {  // 5.2.12.12: reserved, x2APIC id, flags, ACPI's number
            body.take(2);
            id = body.read<uint32_t>();
        } else {
            continue;
        }
        const auto flags = body.read<uint32_t>();
        if (body.ok() && (flags & kEnabled)) add(list, id);
    }
    return list;
}

}  // namespace bareflow
