// The PCI bus as QEMU has it, with a bridge, and what broken devices may do: nothing.
#include "arch/x86_64/pci.h"

#include <gmock/gmock.h>

#include <array>
#include <map>
#include <string>
#include <vector>

namespace bareflow {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// A function's configuration space: the recorded bytes, and which bits of a register can be written.
struct Space {
    std::array<uint32_t, 64> words{};
    std::array<uint32_t, 64> writable{};

    Space& at(unsigned offset, uint32_t value, uint32_t mask = 0) {
        words[offset / 4] = value;
        writable[offset / 4] = mask;
        return *this;
    }
};

class RecordedConfig final : public PciConfig {
 public:
    Space& add(PciAddress a, uint32_t identity, uint32_t classes, uint8_t header = 0) {
        Space& space = spaces_[key(a)];
        return space.at(0x00, identity)
            .at(0x04, 0, 0x0000'0407)
            .at(0x08, classes)
            .at(0x0C, uint32_t{header} << 16);
    }
    uint32_t read32(PciAddress a, uint8_t offset) override {
        EXPECT_EQ(offset % 4, 0);
        ++reads;
        const auto found = spaces_.find(key(a));
        return found == spaces_.end() ? UINT32_MAX : found->second.words[offset / 4];
    }
    void write32(PciAddress a, uint8_t offset, uint32_t value) override {
        Space& space = spaces_.at(key(a));
        EXPECT_NE(offset, 4) << "status, beside the command, forgets what is written as ones";
        if (offset >= 0x10 && offset < 0x28) {
            EXPECT_EQ(space.words[1] & 3, 0u) << "a register is sized while the device decodes";
        }
        uint32_t& word = space.words[offset / 4];
        const uint32_t mask = space.writable[offset / 4];
        word = (word & ~mask) | (value & mask);
    }
    void write16(PciAddress a, uint8_t offset, uint16_t value) override {
        const unsigned shift = (offset & 2) * 8;
        const uint32_t old = spaces_.at(key(a)).words[offset / 4];
        const uint32_t now = (old & ~(0xFFFFu << shift)) | uint32_t{value} << shift;
        uint32_t& word = spaces_.at(key(a)).words[offset / 4];
        const uint32_t mask = spaces_.at(key(a)).writable[offset / 4] & 0xFFFFu << shift;
        word = (old & ~mask) | (now & mask);
    }
    unsigned reads = 0;

 private:
    static uint32_t key(PciAddress a) { return uint32_t{a.bus} << 8 | a.device << 3u | a.function; }
    std::map<uint32_t, Space> spaces_;
};

std::vector<std::string> scan(PciConfig& config) {
    std::vector<std::string> found;
    PciScan(config).run([&](const PciFunction& f) { found.emplace_back(describe(f.address).view()); });
    return found;
}

constexpr PciAddress kHost{0, 0, 0}, kDisk{0, 2, 0};

/// qemu-system-x86_64 7.2 -machine q35 with a virtio disk behind a root port.
RecordedConfig q35() {
    RecordedConfig config;
    config.add(kHost, 0x29C0'8086, 0x0600'0000);
    config.add({0, 1, 0}, 0x000C'1B36, 0x0604'0000, 1).at(0x18, 0x00'01'01'00);
    config.add({0, 31, 0}, 0x2918'8086, 0x0601'0002, 0x80);
    config.add({0, 31, 2}, 0x2922'8086, 0x0106'0102);
    config.add({0, 31, 3}, 0x2930'8086, 0x0C05'0002);
    config.add({1, 0, 0}, 0x1042'1AF4, 0x0100'0001);
    return config;
}

TEST(Pci, FindsEveryFunctionAndWhatIsBehindBridges) {
    RecordedConfig config = q35();
    EXPECT_THAT(scan(config), ElementsAre("00:00.0", "00:01.0", "00:1f.0", "00:1f.2", "00:1f.3", "01:00.0"));
    EXPECT_LT(config.reads, 120u) << "each read is an exit of a virtual machine";
    PciScan(config).run([](const PciFunction& f) {
        if (f.address != PciAddress{0, 31, 2}) return;
        EXPECT_EQ(f.vendor, 0x8086);
        EXPECT_EQ(f.device, 0x2922);
        EXPECT_EQ(f.base_class, kPciMassStorage);
        EXPECT_EQ(f.sub_class, kPciSata);
        EXPECT_EQ(f.interface, kPciAhci);
    });
}

TEST(Pci, FunctionsOfADeviceThatSaysItHasOneAreGhosts) {
    RecordedConfig config;
    config.add({0, 3, 0}, 0x1042'1AF4, 0x0100'0001);
    config.add({0, 3, 1}, 0x1042'1AF4,
               0x0100'0001);  // a device that decodes no function number answers for all
    EXPECT_THAT(scan(config), ElementsAre("00:03.0"));
}

TEST(Pci, BridgesThatPointAtEachOtherAreVisitedOnce) {
    RecordedConfig config;
    config.add({0, 1, 0}, 0x000C'1B36, 0x0604'0000, 1).at(0x18, 0x00'02'02'00);
    config.add({2, 0, 0}, 0x000C'1B36, 0x0604'0000, 1).at(0x18, 0x00'00'00'02);  // back to bus 0
    config.add({2, 1, 0}, 0x000C'1B36, 0x0604'0000, 1).at(0x18, 0x00'01'01'02);  // downwards
    config.add({1, 0, 0}, 0x1042'1AF4, 0x0100'0001);
    EXPECT_THAT(scan(config), ElementsAre("00:01.0", "02:00.0", "02:01.0", "01:00.0"));
}

TEST(Pci, AnEmptyBusHasNobody) {
    RecordedConfig config;
    EXPECT_THAT(scan(config), IsEmpty());
}

std::optional<PciBar> bar_of(uint32_t low, uint32_t low_mask, uint32_t high = 0, uint32_t high_mask = 0) {
    RecordedConfig config;
    Space& space = config.add(kDisk, 0x1042'1AF4, 0x0100'0001);
    space.at(0x04, 0x0010'0003, 0x0000'0407).at(0x10, low, low_mask).at(0x14, high, high_mask);
    const std::optional<PciBar> bar = pci_bars(config, kDisk).bars[0];
    EXPECT_EQ(space.words[0x10 / 4], low) << "put back";
    EXPECT_EQ(space.words[0x14 / 4], high) << "put back";
    EXPECT_EQ(space.words[1], 0x0010'0003u) << "decodes again";
    return bar;
}

TEST(Pci, SizesPortsAndMemoryOf32And64Bits) {
    const std::optional<PciBar> ports = bar_of(0xC041, 0xFFFF'FFC0);
    ASSERT_TRUE(ports);
    EXPECT_TRUE(ports->io);
    EXPECT_EQ(ports->base, 0xC040u);
    EXPECT_EQ(ports->size, 0x40u);
    const std::optional<PciBar> half = bar_of(0xC041, 0x0000'FFC0);  // 16 bits are decoded
    ASSERT_TRUE(half);
    EXPECT_EQ(half->size, 0x40u);
    const std::optional<PciBar> memory = bar_of(0xFEBD'1000, 0xFFFF'F000);
    ASSERT_TRUE(memory);
    EXPECT_FALSE(memory->io);
    EXPECT_EQ(memory->base, 0xFEBD'1000u);
    EXPECT_EQ(memory->size, 0x1000u);
    const std::optional<PciBar> wide = bar_of(0x0000'400C, 0xFFFF'C000, 0x80, UINT32_MAX);
    ASSERT_TRUE(wide);
    EXPECT_EQ(wide->base, 0x80'0000'4000u);
    EXPECT_EQ(wide->size, 0x4000u);
    const std::optional<PciBar> huge = bar_of(0x0000'000C, 0, 0x80, 0xFFFF'FFFC);
    ASSERT_TRUE(huge);
    EXPECT_EQ(huge->size, uint64_t{16} << 30);
}

TEST(Pci, RegistersThatAreNotThereAreNone) {
    EXPECT_FALSE(bar_of(0, 0)) << "size 0";
    EXPECT_FALSE(bar_of(0x4, 0, 0, 0)) << "size 0, 64 bits";
    EXPECT_FALSE(bar_of(0, 0xF0FF'F000)) << "a size that is no power of two";
    RecordedConfig config;
    config.add(kDisk, 0x1042'1AF4, 0x0100'0001).at(0x20, 0x4, 0xFFFF'C000).at(0x24, 0x1, UINT32_MAX);
    EXPECT_TRUE(pci_bars(config, kDisk).bars[4]);
    EXPECT_FALSE(pci_bars(config, kDisk).bars[5]) << "the upper half of register 4";
    EXPECT_FALSE(pci_bar_place(config, kDisk, 6));
    RecordedConfig last;
    last.add(kDisk, 0x1042'1AF4, 0x0100'0001).at(0x24, 0x4, 0xFFFF'C000);
    EXPECT_FALSE(pci_bars(last, kDisk).bars[5]) << "64 bits in the last register";
    EXPECT_FALSE(pci_bar_place(last, kDisk, 5));
}

TEST(Pci, WalksTheCapabilitiesAndStopsInALoop) {
    RecordedConfig config;
    Space& space = config.add(kDisk, 0x1042'1AF4, 0x0100'0001).at(0x04, 0x0010'0000, 0x407).at(0x34, 0x98);
    space.at(0x98, 0x8000'8411).at(0x84, 0x0000'7009).at(0x70, 0x0000'0009);
    const PciCapabilities three = pci_capabilities(config, kDisk);
    ASSERT_EQ(three.count, 3u);
    EXPECT_EQ(three.find(kPciCapabilityMsiX), 0x98);
    EXPECT_EQ(three.find(kPciCapabilityVendor), 0x84);
    EXPECT_FALSE(three.find(kPciCapabilityMsi));

    space.at(0x70, 0x0000'9809);
    EXPECT_EQ(pci_capabilities(config, kDisk).count, PciCapabilities::kMost) << "a loop ends";
    space.at(0x84, 0x0000'0809);
    EXPECT_EQ(pci_capabilities(config, kDisk).count, 2u) << "a pointer into the header ends it";
    space.at(0x04, 0);
    EXPECT_EQ(pci_capabilities(config, kDisk).count, 0u) << "status says that there are none";
}

TEST(Pci, EnablingSilencesInterruptsAndLeavesTheStatusAlone) {
    RecordedConfig config;
    Space& space = config.add(kDisk, 0x1042'1AF4, 0x0100'0001);
    space.at(0x04, 0xF910'0000, 0xF900'0407).at(0x34, 0x98).at(0x98, 0x8003'A011, 0xC000'0000);
    space.at(0xA0, 0x0001'0005, 0x0001'0000);
    pci_enable(config, kDisk);
    EXPECT_EQ(space.words[1] & 0xFFFF, 0x0407u);
    EXPECT_EQ(space.words[1] >> 16, 0xF910u) << "writing ones would clear recorded errors";
    EXPECT_EQ(space.words[0x98 / 4], 0x0003'A011u);
    EXPECT_EQ(space.words[0xA0 / 4], 0x0000'0005u);
    pci_stop_bus_master(config, kDisk);
    EXPECT_EQ(space.words[1] & 0xFFFF, 0x0403u);
}

}  // namespace
}  // namespace bareflow
