#include "arch/x86_64/disks.h"

#include "arch/x86_64/ahci.h"
#include "arch/x86_64/memory.h"
#include "arch/x86_64/pci_map.h"
#include "arch/x86_64/virtio_pci.h"

namespace bareflow {
namespace {

constexpr size_t kMostDisks = 32;
constinit BlockDevice* found[kMostDisks] = {};
constinit size_t count = 0;

using DiskName = FixedString<16>;

class MappedAhci final : public AhciRegisters {
 public:
    MappedAhci(PciConfig& config, PciAddress address, uint64_t base)
        : config_(config), address_(address), base_(base) {}
    uint32_t read(uint32_t offset) override {
        return *reinterpret_cast<const volatile uint32_t*>(base_ + offset);
    }
    void write(uint32_t offset, uint32_t value) override {
        *reinterpret_cast<volatile uint32_t*>(base_ + offset) = value;
    }
    void stop_dma() override { pci_stop_bus_master(config_, address_); }

 private:
    PciConfig& config_;
    PciAddress address_;
    uint64_t base_;
};
/// AHCI 1.3.1, 2.1.11
constexpr unsigned kAhciBar = 5;

/// Looks for disks, and tells what became of each.
class Search {
 public:
    Search(Clock& clock, LogSink& log) : clock_(clock), log_(log) {}

    void look_at(const PciFunction& function) {
        if (is_virtio_block(function)) {
            const auto name = DiskName::formatted("virtio{}", virtio_++);
            if (Result<void> added = add_virtio(function.address, name); !added) refuse(name, added.error());
        } else if (function.base_class == kPciMassStorage && function.sub_class == kPciSata &&
                   function.interface == kPciAhci) {
            if (Result<void> added = add_ahci(function.address); !added) refuse("ahci", added.error());
        }
    }

 private:
    Result<void> add_virtio(PciAddress address, std::string_view name) {
        VirtioTransport* transport = TRY(open_virtio(config_, address, heap()));
        BlockDevice* disk = TRY(VirtioBlock::start_device(name, *transport, clock_, heap()));
        add(*disk, transport->modern() ? "virtio-blk" : "virtio-blk-legacy", address);
        return {};
    }

    Result<void> add_ahci(PciAddress address) {
        std::optional<PciBar> bar = pci_bar_place(config_, address, kAhciBar);
        if (!bar)
            return Error::make(ErrorCode::kUnsupported, "PCI {}: it has no registers",
                               describe(address).view());
        bar->size =
            AhciRegisters::kBytes;  // the specification's; of ports that are not there nothing is touched
        const uint64_t base = TRY(map_pci_registers(address, *bar, 0, bar->size));
        MappedAhci registers(config_, address, base);
        // Where only a CD drive is, as in the launcher's machine without disks, this is all that it costs.
        if (pci_decodes_memory(config_, address) && !AhciController(registers, clock_).may_have_disks())
            return {};
        pci_enable(config_, address);

        // Kept for good, for the disks' sake.
        void* place = heap().allocate(sizeof(Ahci), alignof(Ahci));
        if (place == nullptr) return out_of_memory("ahci: no memory for its driver");
        Ahci& ahci = *new (place) Ahci(registers, clock_);
        TRY(ahci.controller.start());
        for (unsigned port = 0; ahci.controller.links() >> port != 0; ++port) {
            if (!(ahci.controller.links() >> port & 1)) continue;
            const auto name = DiskName::formatted("ahci{}", ahci_);
            Result<AhciDisk*> disk = AhciDisk::open(name, ahci.controller, port, heap());
            if (!disk) {
                refuse(name, disk.error());
            } else if (disk.value() != nullptr) {
                add(*disk.value(), "ahci", address);
            } else {
                continue;
            }
            ++ahci_;
        }
        return {};
    }

    void add(BlockDevice& disk, std::string_view driver, PciAddress address) {
        if (count == kMostDisks) {
            return refuse(disk.name(),
                          Error::make(ErrorCode::kUnsupported, "there are {} already", kMostDisks));
        }
        found[count++] = &disk;
        const BlockDevice::Limits limits = disk.limits();
        LogRecord(log_, "disk")
            .field("name", disk.name())
            .field("driver", driver)
            .field("pci", describe(address).view())
            .field("sectors", limits.sectors)
            .field("read_only", limits.read_only)
            .field("depth", limits.in_flight)
            .field("request_bytes", limits.request_bytes);
    }

    void refuse(std::string_view name, const Error& why) {
        LogRecord(log_, "disk_refused").field("name", name).field("reason", why.message());
    }

    struct Ahci {
        Ahci(const MappedAhci& mapped, Clock& clock) : registers(mapped), controller(registers, clock) {}
        MappedAhci registers;
        AhciController controller;
    };

    PciConfig& config_ = pci_ports();
    Clock& clock_;
    LogSink& log_;
    unsigned virtio_ = 0, ahci_ = 0;
};

}  // namespace

void initialise_disks(Clock& clock, LogSink& log) {
    const uint64_t begin = clock.now_ns();
    Search search(clock, log);
    PciScan(pci_ports()).run([&](const PciFunction& function) { search.look_at(function); });
    constexpr double kNsPerMs = 1e6;
    LogRecord(log, "disks")
        .field("count", count)
        .field("ms", static_cast<double>(clock.now_ns() - begin) / kNsPerMs);
}

std::span<BlockDevice* const> disks() { return {found, count}; }

}  // namespace bareflow
