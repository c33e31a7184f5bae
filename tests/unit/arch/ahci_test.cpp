// The AHCI driver against a controller in memory: start, commands, errors, and what does not answer.
#include "arch/x86_64/ahci.h"

#include <gmock/gmock.h>
#include <sys/mman.h>

#include <array>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <set>

#include "tests/unit/arch/disk_fakes.h"
#include "tests/unit/base/test_allocator.h"

namespace bareflow {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Kind = BlockRequest::Kind;

constexpr uint32_t kDisk = 0x101, kCdDrive = 0xEB14'0101, kMultiplier = 0x9669'0101;
constexpr uint8_t kRead = 0x25, kWrite = 0x35, kFlush = 0xEA, kIdentify = 0xEC;

/// A controller with what hangs at its ports.
class FakeAhci final : public AhciRegisters {
 public:
    struct Port {
        uint32_t signature = 0;  // 0: nothing there
        uint32_t list = 0, list_high = 0, fis = 0, fis_high = 0, interrupts = 0, command = 0, task = 0x7F,
                 control = 0, errors = 0, issue = 0;
        bool ready = true;    // gets ready after a reset
        bool stops = true;    // its engine stops when told to
        bool answers = true;  // does its commands
        bool listens = true;  // comes back after its link was reset
        std::array<uint16_t, 256> identity{};
        std::vector<uint8_t> medium = std::vector<uint8_t>(8192 * kSectorBytes);
        std::vector<uint8_t> codes;  // commands done
        std::vector<uint32_t> issued;
        unsigned link_resets = 0;
    };
    std::map<unsigned, Port> ports;
    uint32_t cap = 1u << 31 | 31 << 8, implemented = 0x3F, ghc = 0, cap2 = 0, bohc = 0;
    bool resets = true, dma_stopped = false;
    unsigned controller_resets = 0;
    /// Decides of each command: 0 to do it, else the error register's value.
    std::function<uint8_t(uint8_t code, uint64_t sector)> judge = [](uint8_t, uint64_t) {
        return uint8_t{0};
    };
    uint32_t short_by = 0;  // bytes that reads lack

    Port& add_disk(unsigned number, uint64_t sectors = 8192) {
        Port& port = ports[number];
        port.signature = kDisk;
        port.identity[83] = 0x7400;
        port.identity[106] = 0x4000;
        for (int i = 0; i < 4; ++i) port.identity[100 + i] = static_cast<uint16_t>(sectors >> 16 * i);
        return port;
    }

    uint32_t read(uint32_t offset) override {
        switch (offset) {
            case 0x00:
                return cap;
            case 0x04:
                return ghc;
            case 0x0C:
                return implemented;
            case 0x24:
                return cap2;
            case 0x28:
                return bohc;
        }
        EXPECT_GE(offset, 0x100u);
        Port& port = ports[(offset - 0x100) / 0x80];
        switch (offset % 0x80) {
            case 0x10:
                return port.interrupts;
            case 0x18:
                return port.command;
            case 0x20:
                return port.task;
            case 0x24:
                return port.command & 1 << 4 || controller_resets == 0 ? port.signature : UINT32_MAX;
            case 0x28:
                return port.signature != 0 ? 0x113 : 0;
            case 0x2C:
                return port.control;
            case 0x30:
                return port.errors;
            case 0x38:
                return port.issue;
        }
        ADD_FAILURE() << "read of " << offset;
        return 0;
    }
    void write(uint32_t offset, uint32_t value) override {
        if (offset == 0x04) {
            ghc = value;
            if (value & 1) reset();
            return;
        }
        if (offset == 0x28) {
            bohc = value & ~1u;  // the firmware lets go
            return;
        }
        ASSERT_GE(offset, 0x100u);
        Port& port = ports[(offset - 0x100) / 0x80];
        switch (offset % 0x80) {
            case 0x00:
                port.list = value;
                break;
            case 0x04:
                port.list_high = value;
                break;
            case 0x08:
                port.fis = value;
                break;
            case 0x0C:
                port.fis_high = value;
                break;
            case 0x10:
                port.interrupts &= ~value;
                break;
            case 0x14:
                EXPECT_EQ(value, 0u) << "no interrupts";
                break;
            case 0x18:
                set_command(port, value);
                break;
            case 0x2C:
                set_control(port, value);
                break;
            case 0x30:
                port.errors &= ~value;
                break;
            case 0x38:
                EXPECT_TRUE(port.command & 1) << "a command for a port that does not run";
                EXPECT_EQ(port.task & 0x88, 0u);
                port.issued.push_back(value);
                port.issue |= value;
                serve(port);
                break;
            default:
                ADD_FAILURE() << "write to " << offset;
        }
    }
    void stop_dma() override { dma_stopped = true; }

    /// Does what was issued, if the drive answers.
    void serve(Port& port) {
        for (unsigned slot = 0; slot < 32 && port.answers && (port.command & 1); ++slot) {
            if (!(port.issue >> slot & 1)) continue;
            auto* header = reinterpret_cast<uint32_t*>(uint64_t{port.list_high} << 32 | port.list) + slot * 8;
            auto* table = reinterpret_cast<uint8_t*>(uint64_t{header[3]} << 32 | header[2]);
            EXPECT_EQ(reinterpret_cast<uintptr_t>(table) % 128, 0u);
            EXPECT_EQ(header[0] & 0x1F, 5u);
            EXPECT_EQ(table[0], 0x27);
            EXPECT_EQ(table[1], 0x80);
            const uint8_t code = table[2];
            uint64_t sector = 0;
            for (int i = 0; i < 3; ++i)
                sector |= uint64_t{table[4 + i]} << 8 * i | uint64_t{table[8 + i]} << 8 * (i + 3);
            const uint32_t count = table[12] | table[13] << 8;
            port.codes.push_back(code);
            if (const uint8_t error = judge(code, sector)) {
                port.task = 0x41 | uint32_t{error} << 8;
                port.interrupts |= 1 << 30;
                return;  // 6.2.2: it stops; the slot stays issued
            }
            uint64_t address = 0;
            uint32_t bytes = 0;
            if (header[0] >> 16 != 0) {
                uint32_t entry[4];
                std::memcpy(entry, table + 0x80, sizeof entry);
                address = uint64_t{entry[1]} << 32 | entry[0];
                bytes = (entry[3] & 0x3F'FFFF) + 1;
                EXPECT_EQ(address % 2, 0u);
                EXPECT_EQ(bytes % 2, 0u);
            }
            auto* data = reinterpret_cast<uint8_t*>(address);
            uint32_t done = bytes;
            if (code == kIdentify) {
                EXPECT_EQ(bytes, 512u);
                std::memcpy(data, port.identity.data(), 512);
            } else if (code == kRead || code == kWrite) {
                EXPECT_EQ(count * kSectorBytes, bytes);
                EXPECT_EQ(bool(header[0] & 1 << 6), code == kWrite) << "direction";
                EXPECT_EQ(table[7], 0x40) << "LBA";
                uint8_t* place = port.medium.data() + sector * kSectorBytes;
                if (code == kRead) std::memcpy(data, place, bytes), done -= short_by;
                if (code == kWrite) std::memcpy(place, data, bytes);
            } else {
                EXPECT_EQ(code, kFlush);
                EXPECT_EQ(bytes, 0u);
            }
            header[1] = done;
            port.task = 0x50;
            port.interrupts |= 1;
            port.issue &= ~(1u << slot);
        }
    }

 private:
    void reset() {
        ++controller_resets;
        if (resets) ghc = 0;
        for (auto& [number, port] : ports) {
            port.command = 0;
            port.task = 0x7F;
            port.issue = port.interrupts = 0;
        }
    }
    void set_command(Port& port, uint32_t value) {
        const bool was_running = port.command & 1 << 15;
        port.command = value & ~(1u << 14 | 1u << 15);
        if (value & 1 << 4) port.command |= 1 << 14;
        if ((value & 1) || (was_running && !port.stops)) port.command |= 1 << 15;
        if (!(value & 1)) port.issue = 0;
        if ((value & 1 << 4) && port.task == 0x7F && port.ready) port.task = 0x50;
    }
    void set_control(Port& port, uint32_t value) {
        if ((port.control & 0xF) == 1 && (value & 0xF) == 0) {
            ++port.link_resets;
            port.task = port.listens ? 0x50 : 0x80;
        }
        port.control = value;
    }
};

/// A driver keeps its memory for good: this takes it back when the test is over.
struct KeptAllocator final : TestAllocator {
    std::set<void*> kept;
    void* allocate(size_t size, size_t alignment) override {
        return *kept.insert(TestAllocator::allocate(size, alignment)).first;
    }
    void release(void* pointer) override {
        kept.erase(pointer);
        TestAllocator::release(pointer);
    }
    ~KeptAllocator() {
        for (void* pointer : kept) std::free(pointer);
    }
};

struct Ahci : testing::Test {
    FakeAhci hardware;
    SteppingClock clock;
    KeptAllocator allocator;
    AhciController controller{hardware, clock};
    std::vector<AhciDisk*> disks;

    AhciDisk& up(unsigned port = 0) {
        if (hardware.controller_resets == 0 && !controller.start().ok())
            throw std::runtime_error("controller");
        Result<AhciDisk*> opened = AhciDisk::open(port == 0 ? "ahci0" : "ahci1", controller, port, allocator);
        if (!opened) throw std::runtime_error(std::string(opened.error().message()));
        disks.push_back(opened.value());
        hardware.ports[port].codes.clear();
        hardware.ports[port].issued.clear();
        return *opened.value();
    }
    std::string refusal() {
        EXPECT_TRUE(controller.start().ok());
        Result<AhciDisk*> opened = AhciDisk::open("ahci0", controller, 0, allocator);
        EXPECT_FALSE(opened.ok());
        EXPECT_EQ(hardware.ports[0].command & (1 << 0 | 1 << 4), 0u) << "the port is off";
        EXPECT_EQ(allocator.live, 0u) << "what is refused keeps no memory";
        return opened.ok() ? "" : std::string(opened.error().message());
    }
    void finish(AhciDisk& disk, std::initializer_list<TestRequest*> requests) {
        for (TestRequest* request : requests) {
            for (int i = 0; i < 100 && !request->done; ++i) disk.poll();
            ASSERT_TRUE(request->done);
        }
    }
};

TEST_F(Ahci, ALookTellsWhetherThereMayBeDisks) {
    EXPECT_FALSE(controller.may_have_disks()) << "nothing at any port";
    hardware.ports[0].signature = kCdDrive;
    hardware.ports[3].signature = kMultiplier;
    EXPECT_FALSE(controller.may_have_disks());
    EXPECT_EQ(hardware.controller_resets, 0u);
    hardware.add_disk(2);
    EXPECT_TRUE(controller.may_have_disks());
    hardware.ports.erase(2);
    hardware.ports[1].signature = UINT32_MAX;  // a drive that the firmware did not listen to
    EXPECT_TRUE(controller.may_have_disks());
    hardware.ports.erase(1);
    hardware.cap |= 1 << 27;
    EXPECT_TRUE(controller.may_have_disks()) << "a drive may wait for leave to spin up";
    hardware.implemented = 0;
    EXPECT_FALSE(controller.may_have_disks());
}

TEST_F(Ahci, StartsTheControllerAndFindsTheLinks) {
    hardware.add_disk(1);
    hardware.ports[2].signature = kCdDrive;
    hardware.cap2 = 1;
    hardware.bohc = 1;
    ASSERT_TRUE(controller.start().ok());
    EXPECT_EQ(hardware.bohc, 2u) << "the firmware let go";
    EXPECT_EQ(hardware.controller_resets, 1u);
    EXPECT_EQ(hardware.ghc, 1u << 31) << "AHCI on, interrupts off";
    EXPECT_EQ(controller.links(), 0b110u);
    EXPECT_EQ(controller.command_slots(), 32u);
}

TEST_F(Ahci, AControllerThatDoesNotResetIsRefused) {
    hardware.resets = false;
    EXPECT_FALSE(controller.start().ok());
}

TEST_F(Ahci, ADiskHasItsSizeAndReadsAndWrites) {
    hardware.add_disk(0);
    AhciDisk& disk = up();
    const BlockDevice::Limits limits = disk.limits();
    EXPECT_EQ(limits.sectors, 8192u);
    EXPECT_EQ(limits.in_flight, 32u);
    EXPECT_FALSE(limits.read_only);
    TestRequest write(Kind::kWrite, 100, 2048, 0x77), flush(Kind::kFlush), read(Kind::kRead, 100, 2048);
    for (TestRequest* request : {&write, &flush, &read}) disk.start(*request);
    finish(disk, {&write, &flush, &read});
    EXPECT_TRUE(write.succeeded() && flush.succeeded() && read.succeeded());
    EXPECT_TRUE(std::equal(read.data.begin(), read.data.end(), write.data.begin()));
    EXPECT_EQ(hardware.ports[0].medium[100 * kSectorBytes], 0x77);
    EXPECT_EQ(hardware.ports[0].medium[100 * kSectorBytes - 1], 0);
    EXPECT_THAT(hardware.ports[0].codes, ElementsAre(kWrite, kFlush, kRead));
    EXPECT_THAT(hardware.ports[0].issued, ElementsAre(1u, 2u, 4u)) << "one after another";
}

TEST_F(Ahci, All48BitsOfAnAddressArrive) {
    hardware.add_disk(0, uint64_t{1} << 48);
    AhciDisk& disk = up();
    uint64_t seen = 0;
    hardware.judge = [&](uint8_t, uint64_t sector) {
        seen = sector;
        return uint8_t{0x10};
    };
    TestRequest read(Kind::kRead, 0x1234'5678'9ABC, 1);
    disk.start(read);
    finish(disk, {&read});
    EXPECT_EQ(seen, 0x1234'5678'9ABCu);
}

TEST_F(Ahci, MoreRequestsThanSlotsEverGoThroughThemInOrder) {
    hardware.add_disk(0);
    AhciDisk& disk = up();
    for (int round = 0; round < 5; ++round) {
        std::vector<std::unique_ptr<TestRequest>> requests;
        hardware.ports[0].answers = false;
        for (unsigned i = 0; i < 32; ++i) {
            requests.push_back(std::make_unique<TestRequest>(Kind::kWrite, i, 1, uint8_t(i + round)));
            disk.start(*requests.back());
        }
        disk.poll();
        EXPECT_FALSE(requests[0]->done);
        hardware.ports[0].answers = true;
        hardware.serve(hardware.ports[0]);
        for (auto& request : requests) finish(disk, {request.get()});
        for (unsigned i = 0; i < 32; ++i) {
            EXPECT_TRUE(requests[i]->succeeded());
            EXPECT_EQ(hardware.ports[0].medium[i * kSectorBytes], uint8_t(i + round));
        }
    }
}

TEST_F(Ahci, WhatIsNoDiskIsSkippedAndWhatCannotBeUsedIsRefusedWithItsReason) {
    hardware.ports[0].signature = kCdDrive;
    ASSERT_TRUE(controller.start().ok());
    Result<AhciDisk*> none = AhciDisk::open("ahci0", controller, 0, allocator);
    ASSERT_TRUE(none.ok());
    EXPECT_EQ(none.value(), nullptr);
    EXPECT_EQ(allocator.live, 0u);
    EXPECT_FALSE(hardware.dma_stopped);

    FakeAhci::Port& port = hardware.add_disk(0);
    port.identity[83] = 0x7000;
    EXPECT_THAT(refusal(), HasSubstr("48-bit"));
    port.identity[83] = 0x7400;
    port.identity[106] = 0x5000;
    port.identity[117] = 2048;
    EXPECT_THAT(refusal(), HasSubstr("sectors of 4096 bytes"));
    port.identity[106] = 0x4000;
    hardware.judge = [](uint8_t, uint64_t) { return uint8_t{4}; };
    EXPECT_THAT(refusal(), HasSubstr("does not say what it is"));
    port.ready = false;
    EXPECT_THAT(refusal(), HasSubstr("does not get ready"));
    port.ready = true;
}

TEST_F(Ahci, AControllerOf32BitsReachesLowMemoryOnly) {
    constexpr size_t kBytes = 1 << 20;
    void* high = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_GT(reinterpret_cast<uintptr_t>(high), UINT32_MAX) << "as Linux places mappings";
    struct HighAllocator final : Allocator {
        uint8_t* next;
        void* allocate(size_t size, size_t alignment) override {
            const uintptr_t place =
                (reinterpret_cast<uintptr_t>(next) + alignment - 1) / alignment * alignment;
            next = reinterpret_cast<uint8_t*>(place + size);
            return reinterpret_cast<void*>(place);
        }
        void release(void*) override {}
    } far;
    far.next = static_cast<uint8_t*>(high);
    hardware.add_disk(0);
    hardware.cap &= ~(1u << 31);
    ASSERT_TRUE(controller.start().ok());
    Result<AhciDisk*> opened = AhciDisk::open("ahci0", controller, 0, far);
    ASSERT_FALSE(opened.ok());
    EXPECT_THAT(std::string(opened.error().message()), HasSubstr("below 4 GiB"));
    EXPECT_TRUE(hardware.ports[0].codes.empty());
    munmap(high, kBytes);
}

TEST_F(Ahci, RequestsThatCannotBeAreRefused) {
    hardware.add_disk(0);
    AhciDisk& disk = up();
    TestRequest beyond(Kind::kRead, 8191, 2), odd(Kind::kRead, 0, 2), large(Kind::kRead, 0, 2049);
    odd.data = std::span<uint8_t>(odd.data.data() + 1, kSectorBytes);
    for (TestRequest* request : {&beyond, &odd, &large}) {
        disk.start(*request);
        ASSERT_TRUE(request->done);
        EXPECT_FALSE(request->outcome.ok());
    }
    EXPECT_EQ(beyond.code(), ErrorCode::kOutOfRange);
    EXPECT_EQ(odd.code(), ErrorCode::kInvalid);
    EXPECT_TRUE(hardware.ports[0].issued.empty());
}

TEST_F(Ahci, TheRequestThatFailsIsTheOneThatIsToldAndTheOthersGoOn) {
    hardware.add_disk(0);
    AhciDisk& disk = up();
    hardware.judge = [](uint8_t code, uint64_t sector) {
        return uint8_t(code == kRead && sector == 1 ? 0x40 : 0);
    };
    TestRequest a(Kind::kRead, 0, 1), bad(Kind::kRead, 1, 1), c(Kind::kRead, 2, 1), d(Kind::kWrite, 1, 1);
    for (TestRequest* request : {&a, &bad, &c, &d}) disk.start(*request);
    finish(disk, {&a, &bad, &c, &d});
    EXPECT_TRUE(a.succeeded() && c.succeeded() && d.succeeded());
    EXPECT_EQ(bad.code(), ErrorCode::kDevice);
    EXPECT_THAT(bad.error(), HasSubstr("ahci0: cannot read 512 bytes at sector 1: "));
    EXPECT_THAT(bad.error(), HasSubstr("status 41, error 40"));
    EXPECT_EQ(hardware.ports[0].link_resets, 0u);
    EXPECT_EQ(hardware.ports[0].interrupts & 1u << 30, 0u);
}

TEST_F(Ahci, ADriveThatHangsAfterAnErrorGetsItsLinkReset) {
    FakeAhci::Port& port = hardware.add_disk(0);
    AhciDisk& disk = up();
    hardware.judge = [&](uint8_t, uint64_t) { return uint8_t{4}; };
    TestRequest bad(Kind::kWrite, 5, 1), good(Kind::kWrite, 5, 1);
    port.answers = false;
    disk.start(bad);
    port.task = 0x80 | 0x41;  // busy
    port.interrupts |= 1 << 27;
    hardware.judge = [](uint8_t, uint64_t) { return uint8_t{0}; };
    disk.poll();
    ASSERT_TRUE(bad.done);
    EXPECT_FALSE(bad.outcome.ok());
    EXPECT_EQ(port.link_resets, 1u);
    port.answers = true;
    disk.start(good);
    finish(disk, {&good});
    EXPECT_TRUE(good.succeeded());
}

TEST_F(Ahci, ADriveThatDoesNotComeBackIsTurnedOffAndTheOtherGoesOn) {
    FakeAhci::Port& port = hardware.add_disk(0);
    hardware.add_disk(1);
    AhciDisk& disk = up();
    AhciDisk& other = up(1);
    port.answers = port.listens = false;
    TestRequest first(Kind::kWrite, 5, 1), second(Kind::kWrite, 6, 1), later(Kind::kRead, 5, 1);
    disk.start(first);
    disk.start(second);
    port.task = 0xC1;
    port.interrupts |= 1 << 30;
    disk.poll();
    ASSERT_TRUE(first.done && second.done);
    EXPECT_THAT(first.error(), HasSubstr("did not come back"));
    EXPECT_THAT(second.error(), HasSubstr("turned off"));
    EXPECT_EQ(port.command & 1, 0u);
    disk.start(later);
    ASSERT_TRUE(later.done);
    EXPECT_EQ(later.code(), ErrorCode::kDevice);
    EXPECT_FALSE(hardware.dma_stopped);
    TestRequest elsewhere(Kind::kRead, 5, 1);
    other.start(elsewhere);
    finish(other, {&elsewhere});
    EXPECT_TRUE(elsewhere.succeeded());
}

TEST_F(Ahci, SilenceForTenSecondsTurnsTheDriveOff) {
    FakeAhci::Port& port = hardware.add_disk(0);
    AhciDisk& disk = up();
    port.answers = false;
    TestRequest first(Kind::kRead, 5, 1), second(Kind::kRead, 6, 1);
    disk.start(first);
    disk.start(second);
    clock.now += 9 * kSecond;
    disk.poll();
    EXPECT_FALSE(first.done);
    clock.now += 2 * kSecond;
    disk.poll();
    ASSERT_TRUE(first.done && second.done);
    EXPECT_THAT(first.error(), HasSubstr("in time"));
    EXPECT_EQ(port.command & (1 << 0 | 1 << 4), 0u) << "neither commands nor messages";
    EXPECT_EQ(port.link_resets, 1u) << "the drive has forgotten the buffer";
    EXPECT_FALSE(hardware.dma_stopped);
}

TEST_F(Ahci, AnEngineThatDoesNotStopTakesTheWholeControllerWithIt) {
    FakeAhci::Port& port = hardware.add_disk(0);
    hardware.add_disk(1);
    AhciDisk& disk = up();
    AhciDisk& other = up(1);
    port.answers = port.stops = false;
    hardware.ports[1].answers = false;
    TestRequest first(Kind::kRead, 5, 1), elsewhere(Kind::kRead, 5, 1), later(Kind::kRead, 5, 1);
    disk.start(first);
    other.start(elsewhere);
    clock.now += 5 * kSecond;
    port.interrupts |= 1 << 29;
    disk.poll();
    ASSERT_TRUE(first.done);
    EXPECT_TRUE(hardware.dma_stopped) << "or its buffer could still be written";
    other.poll();
    ASSERT_TRUE(elsewhere.done);
    EXPECT_THAT(elsewhere.error(), HasSubstr("its controller was turned off"));
    other.start(later);
    EXPECT_TRUE(later.done);
}

TEST_F(Ahci, AShortReadIsAnError) {
    hardware.add_disk(0);
    AhciDisk& disk = up();
    hardware.short_by = 512;
    TestRequest read(Kind::kRead, 0, 8);
    disk.start(read);
    finish(disk, {&read});
    EXPECT_EQ(read.code(), ErrorCode::kDevice);
    EXPECT_THAT(read.error(), HasSubstr("read less"));
}

}  // namespace
}  // namespace bareflow
