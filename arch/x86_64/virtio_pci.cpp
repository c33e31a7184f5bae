#include "arch/x86_64/virtio_pci.h"

#include "arch/x86_64/cpu.h"
#include "arch/x86_64/pci_map.h"

namespace bareflow {
namespace {

constexpr uint16_t kVendor = 0x1AF4, kTransitionalBlock = 0x1001, kModernBlock = 0x1042;  // 4.1.2

// ---------------------------------------------------------------- modern

/// A vendor capability (4.1.4), byte offsets; and what its `type` says that it locates.
constexpr uint8_t kCapLength = 2, kCapType = 3, kCapBar = 4, kCapOffset = 8, kCapSize = 12,
                  kCapMultiplier = 16;
constexpr uint8_t kCommonType = 1, kNotifyType = 2, kDeviceType = 4;
constexpr uint8_t kCapBytes = 16, kNotifyCapBytes = 20;

/// 4.1.4.3
struct CommonConfig {
    uint32_t device_feature_select, device_feature;
    uint32_t driver_feature_select, driver_feature;
    uint16_t config_msix_vector, queues;
    uint8_t device_status, config_generation;
    uint16_t queue_select, queue_size, queue_msix_vector, queue_enable, queue_notify_off;
    uint32_t queue_descriptors[2], queue_driver[2], queue_device[2];
};
static_assert(offsetof(CommonConfig, device_status) == 0x14 &&
              offsetof(CommonConfig, queue_descriptors) == 0x20);
static_assert(sizeof(CommonConfig) == 0x38);

/// Of the block device's configuration (5.2.4), what is read here.
constexpr uint32_t kDeviceConfigBytes = 24;

class ModernTransport final : public VirtioTransport {
 public:
    ModernTransport(PciConfig& config, PciAddress address, uint64_t common, uint64_t device)
        : config_(config),
          address_(address),
          common_(*reinterpret_cast<volatile CommonConfig*>(common)),
          device_(device) {}

    void set_notify(uint64_t place) { notify_ = reinterpret_cast<volatile uint16_t*>(place); }
    uint16_t notify_offset() {
        common_.queue_select = 0;
        return common_.queue_notify_off;
    }

    bool modern() const override { return true; }
    uint8_t status() override { return common_.device_status; }
    void set_status(uint8_t status) override { common_.device_status = status; }
    uint64_t device_features() override {
        common_.device_feature_select = 0;
        const uint64_t low = common_.device_feature;
        common_.device_feature_select = 1;
        return uint64_t{common_.device_feature} << 32 | low;
    }
    void accept_features(uint64_t features) override {
        common_.driver_feature_select = 0;
        common_.driver_feature = static_cast<uint32_t>(features);
        common_.driver_feature_select = 1;
        common_.driver_feature = static_cast<uint32_t>(features >> 32);
    }
    uint32_t queue_entries() override {
        if (common_.queues == 0) return 0;
        common_.queue_select = 0;
        return common_.queue_size;
    }
    Result<void> start_queue(const Virtqueue& queue) override {
        common_.queue_select = 0;
        common_.queue_size = static_cast<uint16_t>(queue.entries());
        write64(common_.queue_descriptors, queue.descriptors());
        write64(common_.queue_driver, queue.available());
        write64(common_.queue_device, queue.used());
        common_.queue_enable = 1;
        return {};
    }
    void notify() override { *notify_ = 0; }
    uint8_t config_generation() override { return common_.config_generation; }
    uint32_t read_config32(unsigned offset) override {
        return *reinterpret_cast<const volatile uint32_t*>(device_ + offset);
    }
    void stop_dma() override { pci_stop_bus_master(config_, address_); }

 private:
    static void write64(volatile uint32_t (&halves)[2], uint64_t value) {
        halves[0] = static_cast<uint32_t>(value);
        halves[1] = static_cast<uint32_t>(value >> 32);
    }

    PciConfig& config_;
    PciAddress address_;
    volatile CommonConfig& common_;
    uint64_t device_;
    volatile uint16_t* notify_ = nullptr;
};

/// Where a structure of the device lies.
struct Structure {
    uint8_t at = 0;  ///< of its capability; 0: there is none
    PciBar bar;
    uint32_t offset = 0, size = 0;
};

/// The first capability of that type that locates memory: a device may offer ports beside it, and prefers the first.
Structure find_structure(PciConfig& config, PciAddress address, const PciCapabilities& capabilities,
                         const PciBars& bars, uint8_t type) {
    const uint8_t needed = type == kNotifyType ? kNotifyCapBytes : kCapBytes;
    for (const PciCapabilities::Entry& entry : capabilities.list()) {
        if (entry.id != kPciCapabilityVendor || entry.offset > 256 - needed) continue;
        auto at = [&](uint8_t offset) { return static_cast<uint8_t>(entry.offset + offset); };
        if (config.read8(address, at(kCapType)) != type || config.read8(address, at(kCapLength)) < needed)
            continue;
        const uint8_t bar = config.read8(address, at(kCapBar));
        if (bar >= PciBars::kMost || !bars.bars[bar] || bars.bars[bar]->io) continue;
        return {entry.offset, *bars.bars[bar], config.read32(address, at(kCapOffset)),
                config.read32(address, at(kCapSize))};
    }
    return {};
}

template <typename T, typename... Arguments>
Result<T*> make_kept(Allocator& allocator, Arguments&&... arguments) {
    void* place = allocator.allocate(sizeof(T), alignof(T) > 16 ? alignof(T) : 16);
    if (place == nullptr) return out_of_memory("virtio: no memory for its driver");
    return new (place) T(std::forward<Arguments>(arguments)...);
}

Result<VirtioTransport*> open_modern(PciConfig& config, PciAddress address,
                                     const PciCapabilities& capabilities, const PciBars& bars,
                                     const Structure& common, Allocator& allocator) {
    const Structure notify = find_structure(config, address, capabilities, bars, kNotifyType);
    const Structure device = find_structure(config, address, capabilities, bars, kDeviceType);
    if (notify.at == 0 || device.at == 0 || common.size < sizeof(CommonConfig) ||
        device.size < kDeviceConfigBytes || common.offset % 4 != 0 || device.offset % 4 != 0 ||
        notify.offset % 2 != 0) {
        return Error::make(ErrorCode::kUnsupported, "PCI {}: its virtio capabilities do not fit together",
                           describe(address).view());
    }
    const uint64_t common_at =
        TRY(map_pci_registers(address, common.bar, common.offset, sizeof(CommonConfig)));
    const uint64_t device_at = TRY(map_pci_registers(address, device.bar, device.offset, kDeviceConfigBytes));
    auto* transport = TRY(make_kept<ModernTransport>(allocator, config, address, common_at, device_at));
    // 4.1.4.4: where queue 0 is notified.
    const uint64_t place = uint64_t{transport->notify_offset()} *
                           config.read32(address, static_cast<uint8_t>(notify.at + kCapMultiplier));
    if (place % 2 != 0 || !fits(place, sizeof(uint16_t), notify.size)) {
        return Error::make(ErrorCode::kUnsupported, "PCI {}: its virtio queue cannot be notified",
                           describe(address).view());
    }
    transport->set_notify(
        TRY(map_pci_registers(address, notify.bar, notify.offset + place, sizeof(uint16_t))));
    return transport;
}

// ---------------------------------------------------------------- legacy

/// Ports (4.1.4.10), as long as MSI-X is off.
enum LegacyPort : uint16_t {
    kDeviceFeatures = 0,
    kDriverFeatures = 4,
    kQueueAddress = 8,
    kQueueSize = 12,
    kQueueSelect = 14,
    kQueueNotify = 16,
    kDeviceStatus = 18,
    kDeviceConfig = 20,
};
constexpr unsigned kQueuePageShift = 12;  ///< a queue's address is the number of its page
constexpr uint64_t kLegacyBytes = kDeviceConfig + kDeviceConfigBytes;

class LegacyTransport final : public VirtioTransport {
 public:
    LegacyTransport(PciConfig& config, PciAddress address, uint16_t base)
        : config_(config), address_(address), base_(base) {}

    bool modern() const override { return false; }
    uint8_t status() override { return cpu::in8(port(kDeviceStatus)); }
    void set_status(uint8_t status) override { cpu::out8(port(kDeviceStatus), status); }
    uint64_t device_features() override { return cpu::in32(port(kDeviceFeatures)); }
    void accept_features(uint64_t features) override {
        cpu::out32(port(kDriverFeatures), static_cast<uint32_t>(features));
    }
    uint32_t queue_entries() override {
        cpu::out16(port(kQueueSelect), 0);
        return cpu::in16(port(kQueueSize));
    }
    Result<void> start_queue(const Virtqueue& queue) override {
        const uint64_t page = queue.descriptors() >> kQueuePageShift;
        if (page > UINT32_MAX) {
            return Error::make(ErrorCode::kUnsupported, "PCI {}: a legacy virtio queue must lie below 16 TiB",
                               describe(address_).view());
        }
        cpu::out16(port(kQueueSelect), 0);
        cpu::out32(port(kQueueAddress), static_cast<uint32_t>(page));
        return {};
    }
    void notify() override { cpu::out16(port(kQueueNotify), 0); }
    uint8_t config_generation() override { return 0; }
    uint32_t read_config32(unsigned offset) override {
        return cpu::in32(static_cast<uint16_t>(base_ + kDeviceConfig + offset));
    }
    void stop_dma() override { pci_stop_bus_master(config_, address_); }

 private:
    uint16_t port(LegacyPort which) const { return static_cast<uint16_t>(base_ + which); }

    PciConfig& config_;
    PciAddress address_;
    uint16_t base_;
};

}  // namespace

bool is_virtio_block(const PciFunction& function) {
    return function.vendor == kVendor &&
           (function.device == kTransitionalBlock || function.device == kModernBlock);
}

Result<VirtioTransport*> open_virtio(PciConfig& config, PciAddress address, Allocator& allocator) {
    pci_enable(config, address);
    const PciCapabilities capabilities = pci_capabilities(config, address);
    const PciBars bars = pci_bars(config, address);
    const Structure common = find_structure(config, address, capabilities, bars, kCommonType);
    if (common.at != 0) return open_modern(config, address, capabilities, bars, common, allocator);

    const std::optional<PciBar>& ports = bars.bars[0];
    constexpr uint64_t kPorts = 0x10000;
    if (!ports || !ports->io || ports->base == 0 || ports->size < kLegacyBytes ||
        ports->base > kPorts - ports->size) {
        return Error::make(ErrorCode::kUnsupported,
                           "PCI {}: a virtio device with neither capabilities nor ports",
                           describe(address).view());
    }
    VirtioTransport* transport =
        TRY(make_kept<LegacyTransport>(allocator, config, address, static_cast<uint16_t>(ports->base)));
    return transport;
}

}  // namespace bareflow
