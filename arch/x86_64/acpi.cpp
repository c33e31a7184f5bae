#include "arch/x86_64/acpi.h"

#include <cstddef>

#include "arch/x86_64/cpu.h"
#include "arch/x86_64/memory.h"

namespace bareflow {
namespace {

/// 5.2.5.3
struct [[gnu::packed]] RootPointer {
    char signature[8];
    uint8_t checksum;
    char oem[6];
    uint8_t revision;
    uint32_t rsdt;
    uint32_t length;
    uint64_t xsdt;
};
static_assert(offsetof(RootPointer, xsdt) == 24);
constexpr size_t kRootPointerV1Size = 20;

/// 5.2.6
struct [[gnu::packed]] TableHeader {
    char signature[4];
    uint32_t length;
    uint8_t revision, checksum;
    char oem[6], oem_table[8];
    uint32_t oem_revision, creator, creator_revision;
};
static_assert(sizeof(TableHeader) == 36);
constexpr uint32_t kMaxTable = 16u << 20;

// The FADT's fields by offset (5.2.9).
constexpr size_t kFadtDsdt = 40, kFadtSmiCommand = 48, kFadtAcpiEnable = 52, kFadtPm1aControl = 64,
                 kFadtPm1bControl = 68, kFadtXDsdt = 140;
constexpr uint16_t kSleepEnable = 1u << 13, kSleepTypeMask = 7u << 10, kSciEnable = 1u << 0;
constexpr int kSleepTypeShift = 10;

constinit ByteSpan root;

/// The table at `physical`, mapped, its length and checksum checked; empty if they do not hold.
ByteSpan table_at(uint64_t physical) {
    if (physical == 0 || !map_firmware(physical, sizeof(TableHeader)).ok()) return {};
    TableHeader header;
    __builtin_memcpy(&header, reinterpret_cast<const void*>(physical), sizeof header);
    if (header.length < sizeof header || header.length > kMaxTable) return {};
    if (!map_firmware(physical, header.length).ok()) return {};
    const ByteSpan table(reinterpret_cast<const uint8_t*>(physical), header.length);
    uint8_t sum = 0;
    for (uint8_t byte : table) sum = static_cast<uint8_t>(sum + byte);
    return sum == 0 ? table : ByteSpan{};
}

template <typename T>
T field_at(ByteSpan table, size_t offset) {
    ByteReader reader(table.subspan(offset < table.size() ? offset : table.size()));
    return reader.read<T>();
}

struct SleepTypes {
    uint8_t a = 0, b = 0;
    bool found = false;
};

/// Finds `Name(_S5_, Package(){a, b, …})` in the DSDT's byte code (20.2.2, 20.2.5.4), without an interpreter: the
/// package of constants follows its name directly in every known table.
SleepTypes find_s5(ByteSpan dsdt) {
    constexpr uint8_t kPackageOp = 0x12, kBytePrefix = 0x0A, kOneOp = 0x01;
    const std::string_view code(reinterpret_cast<const char*>(dsdt.data()), dsdt.size());
    const size_t name = code.find("_S5_");
    if (name == std::string_view::npos) return {};
    ByteReader reader(dsdt.subspan(name + 4));
    if (reader.read<uint8_t>() != kPackageOp) return {};
    const uint8_t length_lead = reader.read<uint8_t>();
    reader.take(length_lead >> 6);  // further bytes of PkgLength
    reader.read<uint8_t>();         // number of elements
    auto read_constant = [&]() -> uint8_t {
        const uint8_t op = reader.read<uint8_t>();
        return op == kBytePrefix ? reader.read<uint8_t>() : op == kOneOp ? 1 : 0;
    };
    SleepTypes types;
    types.a = read_constant();
    types.b = read_constant();
    types.found = reader.ok();
    return types;
}

/// Writes the sleep type with the enable bit and leaves the register's other bits (4.8.3.2.1).
void sleep_by(uint16_t control, uint8_t type) {
    const uint16_t kept = cpu::in16(control) & static_cast<uint16_t>(~(kSleepTypeMask | kSleepEnable));
    cpu::out16(control, static_cast<uint16_t>(kept | type << kSleepTypeShift | kSleepEnable));
}

}  // namespace

void initialise_acpi(ByteSpan rsdp) { root = rsdp; }

ByteSpan acpi_table(std::string_view signature) {
    if (root.size() < kRootPointerV1Size) return {};
    RootPointer pointer{};
    __builtin_memcpy(&pointer, root.data(), root.size() < sizeof pointer ? root.size() : sizeof pointer);
    const bool extended = pointer.revision >= 2 && pointer.xsdt != 0;
    const ByteSpan directory = table_at(extended ? pointer.xsdt : pointer.rsdt);
    if (directory.empty()) return {};
    ByteReader entries(directory.subspan(sizeof(TableHeader)));
    const size_t entry_size = extended ? sizeof(uint64_t) : sizeof(uint32_t);
    while (entries.left() >= entry_size) {
        const uint64_t address = extended ? entries.read<uint64_t>() : entries.read<uint32_t>();
        const ByteSpan table = table_at(address);
        if (table.size() >= signature.size() &&
            std::string_view(reinterpret_cast<const char*>(table.data()), signature.size()) == signature) {
            return table;
        }
    }
    return {};
}

void acpi_power_off() {
    const ByteSpan fadt = acpi_table("FACP");
    if (fadt.empty()) return;
    uint64_t dsdt_address = field_at<uint64_t>(fadt, kFadtXDsdt);
    if (dsdt_address == 0) dsdt_address = field_at<uint32_t>(fadt, kFadtDsdt);
    const SleepTypes s5 = find_s5(table_at(dsdt_address));
    const auto control_a = static_cast<uint16_t>(field_at<uint32_t>(fadt, kFadtPm1aControl));
    const auto control_b = static_cast<uint16_t>(field_at<uint32_t>(fadt, kFadtPm1bControl));
    if (!s5.found || control_a == 0) return;

    const auto smi_command = static_cast<uint16_t>(field_at<uint32_t>(fadt, kFadtSmiCommand));
    const auto enable = field_at<uint8_t>(fadt, kFadtAcpiEnable);
    if (!(cpu::in16(control_a) & kSciEnable) && smi_command != 0 && enable != 0) {
        cpu::out8(smi_command, enable);
        constexpr int kMaxPolls = 3'000'000;
        for (int i = 0; i < kMaxPolls && !(cpu::in16(control_a) & kSciEnable); ++i) cpu::pause();
    }
    sleep_by(control_a, s5.a);
    if (control_b != 0) sleep_by(control_b, s5.b);
    constexpr int kMaxPolls = 3'000'000;
    for (int i = 0; i < kMaxPolls; ++i) cpu::pause();
}

}  // namespace bareflow
