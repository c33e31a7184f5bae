#include "arch/x86_64/pci.h"

#include "arch/x86_64/cpu.h"
#include "mm/align.h"

namespace bareflow {
namespace {

constexpr uint16_t kAddressPort = 0xCF8, kDataPort = 0xCFC;
constexpr uint32_t kEnable = 1u << 31;

// Configuration space header (6.1). Offsets are bytes.
constexpr uint8_t kIdentity = 0x00, kCommand = 0x04, kStatus = 0x06, kClass = 0x08, kHeaderType = 0x0E,
                  kFirstBar = 0x10, kSecondaryBus = 0x19, kCapabilities = 0x34, kAfterHeader = 0x40;
constexpr uint8_t kPointerMask = 0xFC;  ///< the low two bits of pointers are reserved
constexpr uint16_t kNobody = 0xFFFF;
constexpr uint8_t kManyFunctions = 0x80;
constexpr uint8_t kBridge = 1;
constexpr uint16_t kCommandIo = 1 << 0, kCommandMemory = 1 << 1, kCommandBusMaster = 1 << 2,
                   kCommandNoInterrupt = 1 << 10;
constexpr uint16_t kStatusCapabilities = 1 << 4;

// Base address registers (6.2.5.1).
constexpr uint32_t kBarIo = 1 << 0, kBarTypeMask = 3 << 1, kBarType64 = 2 << 1;
constexpr uint32_t kBarIoMask = ~uint32_t{0x3}, kBarMemoryMask = ~uint32_t{0xF};
constexpr unsigned kBarsOfBridge = 2;

// Message interrupts' enable bits, in the capability's second half-word (6.8.1.3, 6.8.2.3).
constexpr uint16_t kMsiEnable = 1 << 0, kMsiXEnable = 1 << 15;

class PciPorts final : public PciConfig {
 public:
    uint32_t read32(PciAddress address, uint8_t offset) override {
        select(address, offset);
        return cpu::in32(kDataPort);
    }
    void write32(PciAddress address, uint8_t offset, uint32_t value) override {
        select(address, offset);
        cpu::out32(kDataPort, value);
    }
    void write16(PciAddress address, uint8_t offset, uint16_t value) override {
        select(address, offset);
        cpu::out16(kDataPort + (offset & 2), value);
    }

 private:
    static void select(PciAddress address, uint8_t offset) {
        cpu::out32(kAddressPort, kEnable | uint32_t{address.bus} << 16 | uint32_t{address.device} << 11 |
                                     uint32_t{address.function} << 8 | (offset & 0xFC));
    }
};
constinit PciPorts ports;

/// Writes the command register alone: its neighbour, status, forgets what is written to it as ones.
void change_command(PciConfig& config, PciAddress address, uint16_t set, uint16_t clear) {
    const auto command = static_cast<uint16_t>((config.read16(address, kCommand) | set) & ~clear);
    config.write16(address, kCommand, command);
}

void clear_bits16(PciConfig& config, PciAddress address, uint8_t offset, uint16_t bits) {
    const uint16_t value = config.read16(address, offset);
    if (value & bits) config.write16(address, offset, static_cast<uint16_t>(value & ~bits));
}

unsigned bars_of(PciConfig& config, PciAddress address) {
    const uint8_t header = config.read8(address, kHeaderType) & static_cast<uint8_t>(~kManyFunctions);
    return header == kBridge ? kBarsOfBridge : PciBars::kMost;
}
uint8_t bar_offset(unsigned index) { return static_cast<uint8_t>(kFirstBar + 4 * index); }
/// Such a register takes the next one too.
bool is_64_bit(uint32_t value) { return !(value & kBarIo) && (value & kBarTypeMask) == kBarType64; }

/// What a register reads after all ones were written to it; its value is put back.
uint32_t probe(PciConfig& config, PciAddress address, uint8_t offset) {
    const uint32_t value = config.read32(address, offset);
    config.write32(address, offset, UINT32_MAX);
    const uint32_t answer = config.read32(address, offset);
    config.write32(address, offset, value);
    return answer;
}

}  // namespace

FixedString<8> describe(PciAddress address) {
    return FixedString<8>::formatted("{:02x}:{:02x}.{}", address.bus, address.device, address.function);
}

PciConfig& pci_ports() { return ports; }

std::optional<PciFunction> PciScan::look(PciAddress address) {
    const uint32_t identity = config_.read32(address, kIdentity);
    const auto vendor = static_cast<uint16_t>(identity);
    if (vendor == kNobody || vendor == 0) return std::nullopt;
    const uint32_t classes = config_.read32(address, kClass);
    const uint8_t header = config_.read8(address, kHeaderType) & static_cast<uint8_t>(~kManyFunctions);
    if (header == kBridge) {
        const uint8_t bus = config_.read8(address, kSecondaryBus);
        todo_[bus / 64] |= uint64_t{1} << bus % 64;
    }
    return PciFunction{.address = address,
                       .vendor = vendor,
                       .device = static_cast<uint16_t>(identity >> 16),
                       .base_class = static_cast<uint8_t>(classes >> 24),
                       .sub_class = static_cast<uint8_t>(classes >> 16),
                       .interface = static_cast<uint8_t>(classes >> 8),
                       .header = header};
}

bool PciScan::has_more_functions(PciAddress address) {
    return config_.read8(address, kHeaderType) & kManyFunctions;
}

/// The lowest bus that was seen and not visited.
std::optional<uint8_t> PciScan::next_bus() {
    for (unsigned bus = 0; bus < kBuses; ++bus) {
        const uint64_t bit = uint64_t{1} << bus % 64;
        if (!(todo_[bus / 64] & ~done_[bus / 64] & bit)) continue;
        done_[bus / 64] |= bit;
        return static_cast<uint8_t>(bus);
    }
    return std::nullopt;
}

PciBars pci_bars(PciConfig& config, PciAddress address) {
    const unsigned count = bars_of(config, address);
    const uint16_t command = config.read16(address, kCommand);
    config.write16(address, kCommand, static_cast<uint16_t>(command & ~(kCommandIo | kCommandMemory)));
    PciBars all;
    for (unsigned index = 0; index < count; ++index) {
        std::optional<PciBar>& bar = all.bars[index];
        bar = pci_bar_place(config, address, index);
        const uint32_t low = probe(config, address, bar_offset(index));
        const bool wide = is_64_bit(config.read32(address, bar_offset(index)));
        if (wide && ++index >= count) break;
        if (!bar) continue;
        const uint32_t high = wide ? probe(config, address, bar_offset(index)) : UINT32_MAX;
        uint32_t low_mask = low & (bar->io ? kBarIoMask : kBarMemoryMask);
        if (bar->io && low_mask != 0)
            low_mask |= 0xFFFF'0000;  // ports have 16 bits; the upper may read as zero
        bar->size = low_mask == 0 && (!wide || high == 0) ? 0 : ~(uint64_t{high} << 32 | low_mask) + 1;
        if (!is_power_of_two(bar->size)) bar = std::nullopt;
    }
    config.write16(address, kCommand, command);
    return all;
}

std::optional<PciBar> pci_bar_place(PciConfig& config, PciAddress address, unsigned index) {
    const unsigned count = bars_of(config, address);
    if (index >= count) return std::nullopt;
    const uint32_t value = config.read32(address, bar_offset(index));
    if (value & kBarIo) return PciBar{.io = true, .base = value & kBarIoMask};
    PciBar bar{.base = value & kBarMemoryMask};
    if (is_64_bit(value)) {
        if (index + 1 >= count) return std::nullopt;
        bar.base |= uint64_t{config.read32(address, bar_offset(index + 1))} << 32;
    }
    return bar;
}

PciCapabilities pci_capabilities(PciConfig& config, PciAddress address) {
    PciCapabilities found;
    if (!(config.read16(address, kStatus) & kStatusCapabilities)) return found;
    uint8_t at = config.read8(address, kCapabilities) & kPointerMask;
    while (found.count < PciCapabilities::kMost && at >= kAfterHeader) {
        const uint16_t entry = config.read16(address, at);
        found.entries[found.count++] = {static_cast<uint8_t>(entry), at};
        at = static_cast<uint8_t>(entry >> 8) & kPointerMask;
    }
    return found;
}

std::optional<uint8_t> PciCapabilities::find(uint8_t id) const {
    for (const Entry& entry : list()) {
        if (entry.id == id) return entry.offset;
    }
    return std::nullopt;
}

bool pci_decodes_memory(PciConfig& config, PciAddress address) {
    return config.read16(address, kCommand) & kCommandMemory;
}

void pci_enable(PciConfig& config, PciAddress address) {
    change_command(config, address, kCommandIo | kCommandMemory | kCommandBusMaster | kCommandNoInterrupt, 0);
    const PciCapabilities capabilities = pci_capabilities(config, address);
    // The control word of both is the second half-word of the capability.
    if (const auto msi = capabilities.find(kPciCapabilityMsi))
        clear_bits16(config, address, static_cast<uint8_t>(*msi + 2), kMsiEnable);
    if (const auto msi_x = capabilities.find(kPciCapabilityMsiX))
        clear_bits16(config, address, static_cast<uint8_t>(*msi_x + 2), kMsiXEnable);
}

void pci_stop_bus_master(PciConfig& config, PciAddress address) {
    change_command(config, address, 0, kCommandBusMaster);
}

}  // namespace bareflow
