// Devices on the PCI bus: who is there, where their registers are, what they can do (PCI Local Bus 3.0; PCI Express uses
// the same first 256 bytes).
//
// Configuration space is reached by ports 0xCF8 and 0xCFC (3.2.2.3.2), which every PC has. ECAM (ACPI's MCFG) would add
// the space from 256 bytes on and segments beside the first: no driver here needs either.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "arch/base/bytes.h"
#include "arch/base/result.h"

namespace bareflow {

struct PciAddress {
    uint8_t bus = 0, device = 0, function = 0;

    bool operator==(const PciAddress&) const = default;
};
/// "00:1f.2"
FixedString<8> describe(PciAddress address);

/// Configuration space. Tests bring recorded ones.
class PciConfig {
 public:
    /// `offset`: a multiple of 4 below 256. All ones where nobody answers.
    virtual uint32_t read32(PciAddress address, uint8_t offset) = 0;
    virtual void write32(PciAddress address, uint8_t offset, uint32_t value) = 0;
    /// `offset`: even. For registers whose neighbours react to being written.
    virtual void write16(PciAddress address, uint8_t offset, uint16_t value) = 0;

    uint16_t read16(PciAddress address, uint8_t offset) {
        return static_cast<uint16_t>(read32(address, offset & 0xFC) >> (offset & 2) * 8);
    }
    uint8_t read8(PciAddress address, uint8_t offset) {
        return static_cast<uint8_t>(read32(address, offset & 0xFC) >> (offset & 3) * 8);
    }

 protected:
    ~PciConfig() = default;
};
/// The machine's own, by ports.
PciConfig& pci_ports();

/// One function of a device (6.2.1).
struct PciFunction {
    PciAddress address;
    uint16_t vendor = 0, device = 0;
    uint8_t base_class = 0, sub_class = 0, interface = 0;
    uint8_t header = 0;  ///< 0: a device, 1: a bridge to another PCI bus
};
constexpr uint8_t kPciMassStorage = 0x01, kPciSata = 0x06, kPciAhci = 0x01;

/// Every function on bus 0 and behind bridges, in the order of their addresses; each bus once, however the bridges are
/// numbered.
class PciScan {
 public:
    explicit PciScan(PciConfig& config) : config_(config) {}

    /// Calls visitor(const PciFunction&) for each.
    template <typename Visitor>
    void run(Visitor&& visitor) {
        for (todo_[0] |= 1; const std::optional<uint8_t> bus = next_bus();) {
            for (unsigned device = 0; device < kDevices; ++device) {
                // Only a device that says so in its function 0 has others (6.2.1 "Header Type").
                unsigned functions = 1;
                for (unsigned function = 0; function < functions; ++function) {
                    const PciAddress address{*bus, static_cast<uint8_t>(device),
                                             static_cast<uint8_t>(function)};
                    const std::optional<PciFunction> found = look(address);
                    if (!found) continue;
                    if (function == 0 && has_more_functions(address)) functions = kFunctions;
                    visitor(*found);
                }
            }
        }
    }

 private:
    static constexpr unsigned kDevices = 32, kFunctions = 8, kBuses = 256;

    std::optional<PciFunction> look(PciAddress address);
    bool has_more_functions(PciAddress address);
    std::optional<uint8_t> next_bus();

    PciConfig& config_;
    uint64_t todo_[kBuses / 64] = {}, done_[kBuses / 64] = {};
};

/// A base address register (6.2.5.1).
struct PciBar {
    bool io = false;    ///< ports rather than memory
    uint64_t base = 0;  ///< 0: the firmware gave it no place
    uint64_t size = 0;  ///< bytes, a power of two; 0: unknown
};
/// All of a function's; none where a register is not there, or is the upper half of the one before it. Sizes are found by
/// writing all ones: decoding is off meanwhile, and all is as it was afterwards. Under TCG turning it off and on costs
/// milliseconds.
struct PciBars {
    static constexpr unsigned kMost = 6;
    std::optional<PciBar> bars[kMost];
};
PciBars pci_bars(PciConfig& config, PciAddress address);
/// Register `index` (of 32 bits, or 64) as it stands, its size unknown (0).
std::optional<PciBar> pci_bar_place(PciConfig& config, PciAddress address, unsigned index);

constexpr uint8_t kPciCapabilityVendor = 0x09, kPciCapabilityMsi = 0x05, kPciCapabilityMsiX = 0x11;
/// The list of capabilities (6.7) as far as it goes: it ends where a pointer leads into the header, or where there are
/// more than can be, which is a loop.
struct PciCapabilities {
    static constexpr size_t kMost = (256 - 64) / 4;
    struct Entry {
        uint8_t id, offset;
    };
    Entry entries[kMost];
    size_t count = 0;

    std::span<const Entry> list() const { return {entries, count}; }
    /// Of the first one with that id.
    std::optional<uint8_t> find(uint8_t id) const;
};
PciCapabilities pci_capabilities(PciConfig& config, PciAddress address);

/// Whether the firmware lets the device decode memory already.
bool pci_decodes_memory(PciConfig& config, PciAddress address);
/// Lets the device decode memory and ports and write to memory by itself; it sends no interrupts of any kind: disks here
/// are polled.
void pci_enable(PciConfig& config, PciAddress address);
/// From here on the device cannot write to memory (6.2.2 "Bus Master").
void pci_stop_bus_master(PciConfig& config, PciAddress address);

}  // namespace bareflow
