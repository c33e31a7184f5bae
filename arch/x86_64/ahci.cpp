#include "arch/x86_64/ahci.h"

#include <algorithm>
#include <atomic>

namespace bareflow {
namespace {

// Generic host control (3.1).
constexpr uint32_t kCap = 0x00, kGhc = 0x04, kPortsImplemented = 0x0C, kCap2 = 0x24, kBohc = 0x28;
constexpr uint32_t kCap64 = 1u << 31, kCapStaggeredSpinUp = 1 << 27, kCapSlotsShift = 8, kCapSlotsMask = 0x1F;
constexpr uint32_t kGhcReset = 1 << 0, kGhcEnable = 1u << 31;
constexpr uint32_t kCap2Handoff = 1 << 0;
constexpr uint32_t kBohcFirmware = 1 << 0, kBohcOs = 1 << 1, kBohcBusy = 1 << 4;

// A port's registers (3.3).
constexpr uint32_t kFirstPort = 0x100, kPortBytes = 0x80;
constexpr unsigned kMostPorts = (AhciRegisters::kBytes - kFirstPort) / kPortBytes;
constexpr uint32_t kListLow = 0x00, kListHigh = 0x04, kFisLow = 0x08, kFisHigh = 0x0C, kInterrupts = 0x10,
                   kInterruptEnable = 0x14, kCommand = 0x18, kTaskFile = 0x20, kSignature = 0x24,
                   kLink = 0x28, kLinkControl = 0x2C, kLinkErrors = 0x30, kIssue = 0x38;
constexpr uint32_t kCmdStart = 1 << 0, kCmdSpinUp = 1 << 1, kCmdPower = 1 << 2, kCmdReceive = 1 << 4,
                   kCmdReceiving = 1 << 14, kCmdRunning = 1 << 15;
constexpr uint32_t kTaskError = 1 << 0, kTaskRequest = 1 << 3, kTaskBusy = 1 << 7, kTaskErrorShift = 8;
constexpr uint32_t kLinkDetect = 0xF, kLinkUp = 3, kLinkNothing = 0;
constexpr uint32_t kLinkReset = 1;  ///< of kLinkControl's detect field
/// Task file, host bus fatal and data, interface fatal, overflow: the command did not succeed (6.1).
constexpr uint32_t kFatal = 1u << 30 | 1u << 29 | 1u << 28 | 1u << 27 | 1u << 24;
constexpr uint32_t kAll = UINT32_MAX;
constexpr uint32_t kDiskSignature = 0x0000'0101;
/// CD drive, enclosure, port multiplier: no disks of ours.
constexpr uint32_t kOtherSignatures[] = {0xEB14'0101, 0xC33C'0101, 0x9669'0101};

// Waits, in nanoseconds; the first three are the specification's (10.1.2, 10.4.3, 10.6.3).
constexpr uint64_t kMs = 1'000'000;
constexpr uint64_t kStopTimeout = 500 * kMs, kResetTimeout = 1000 * kMs, kFirmwareTimeout = 2000 * kMs;
constexpr uint64_t kLinkTimeout = 1000 * kMs;      ///< where there was a drive before the reset
constexpr uint64_t kNewLinkTimeout = 10 * kMs;     ///< where there was none
constexpr uint64_t kSpinUpTimeout = 10'000 * kMs;  ///< a disk's motor
constexpr uint64_t kLinkResetTime = 1 * kMs;       ///< 10.4.2
constexpr uint64_t kBackTimeout = 1000 * kMs;      ///< until a drive is ready after its link was reset

// Commands (ATA8-ACS 7).
constexpr uint8_t kReadDmaExt = 0x25, kWriteDmaExt = 0x35, kFlushCacheExt = 0xEA, kIdentifyDevice = 0xEC;
constexpr uint8_t kHostToDevice = 0x27, kIsCommand = 0x80, kLbaMode = 0x40;
constexpr unsigned kFisWords = 5;

/// IDENTIFY DEVICE's answer by words (7.16.7).
constexpr unsigned kIdentifyWords = 256, kFeatures = 83, kSectorKind = 106, kSectorWords = 117,
                   kSectors48 = 100;
constexpr uint16_t kHas48Bit = 1 << 10, kHasFlushExt = 1 << 13, kLargeSectors = 1 << 12;
constexpr uint16_t kSectorKindMask = 0xC000, kSectorKindValid = 0x4000;

uint32_t low(uint64_t value) { return static_cast<uint32_t>(value); }
uint32_t high(uint64_t value) { return static_cast<uint32_t>(value >> 32); }
uint64_t physical(const volatile void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }
uint32_t port_register(unsigned port, uint32_t reg) { return kFirstPort + port * kPortBytes + reg; }

}  // namespace

// ---------------------------------------------------------------- the controller

bool AhciController::wait_for(uint32_t offset, uint32_t mask, uint32_t value, uint64_t ns) {
    const uint64_t begin = clock_.now_ns();
    while ((registers_.read(offset) & mask) != value) {
        if (clock_.now_ns() - begin > ns) return false;
    }
    return true;
}

bool AhciController::is_link_up(unsigned port) {
    return (registers_.read(port_register(port, kLink)) & kLinkDetect) == kLinkUp;
}

bool AhciController::may_have_disks() {
    registers_.write(kGhc, registers_.read(kGhc) | kGhcEnable);
    const bool staggered = registers_.read(kCap) & kCapStaggeredSpinUp;
    const uint32_t implemented = registers_.read(kPortsImplemented);
    for (unsigned port = 0; port < kMostPorts; ++port) {
        if (!(implemented >> port & 1)) continue;
        if ((registers_.read(port_register(port, kLink)) & kLinkDetect) == kLinkNothing) {
            // Nobody is there, unless nobody has let the drive start yet.
            if (staggered && !(registers_.read(port_register(port, kCommand)) & kCmdSpinUp)) return true;
            continue;
        }
        const uint32_t signature = registers_.read(port_register(port, kSignature));
        const bool other = std::find(std::begin(kOtherSignatures), std::end(kOtherSignatures), signature) !=
                           std::end(kOtherSignatures);
        if (!other) return true;
    }
    return false;
}

/// 10.6.3
Result<void> AhciController::take_from_firmware() {
    if (!(registers_.read(kCap2) & kCap2Handoff) || !(registers_.read(kBohc) & kBohcFirmware)) return {};
    registers_.write(kBohc, registers_.read(kBohc) | kBohcOs);
    constexpr uint64_t kPromptly = 25 * kMs;
    if (wait_for(kBohc, kBohcFirmware, 0, kPromptly)) return {};
    // It has work to finish, or is dead: then the reset takes the controller from it.
    if (registers_.read(kBohc) & kBohcBusy)
        static_cast<void>(wait_for(kBohc, kBohcFirmware, 0, kFirmwareTimeout));
    return {};
}

Result<void> AhciController::start() {
    registers_.write(kGhc, registers_.read(kGhc) | kGhcEnable);
    TRY(take_from_firmware());
    const uint32_t implemented = registers_.read(kPortsImplemented);
    uint32_t before = 0;
    for (unsigned port = 0; port < kMostPorts; ++port) {
        if ((implemented >> port & 1) && is_link_up(port)) before |= 1u << port;
    }
    registers_.write(kGhc, kGhcEnable | kGhcReset);  // 10.4.3
    if (!wait_for(kGhc, kGhcReset, 0, kResetTimeout))
        return Error::make(ErrorCode::kDevice, "ahci: the controller does not reset");
    registers_.write(kGhc, kGhcEnable);  // without interrupts

    const uint32_t cap = registers_.read(kCap);
    addresses_64_ = cap & kCap64;
    command_slots_ = (cap >> kCapSlotsShift & kCapSlotsMask) + 1;
    for (unsigned port = 0; port < kMostPorts; ++port) {
        if (!(implemented >> port & 1)) continue;
        const uint32_t command = port_register(port, kCommand);
        registers_.write(command, registers_.read(command) | kCmdSpinUp | kCmdPower);
    }
    const uint64_t begin = clock_.now_ns();
    for (;;) {
        for (unsigned port = 0; port < kMostPorts; ++port) {
            if ((implemented >> port & 1) && !(links_ >> port & 1) && is_link_up(port)) links_ |= 1u << port;
        }
        const uint64_t waited = clock_.now_ns() - begin;
        const bool complete = (links_ & before) == before;
        if ((complete && before != 0) || (complete && waited > kNewLinkTimeout) || waited > kLinkTimeout)
            return {};
    }
}

void AhciController::cut_off() {
    registers_.stop_dma();
    cut_off_ = true;
}

// ---------------------------------------------------------------- a disk

/// 4.2.2
struct AhciDisk::CommandHeader {
    static constexpr uint32_t kWrite = 1 << 6, kTableEntriesShift = 16;
    uint32_t flags;  ///< words of the FIS, direction, entries of the table
    uint32_t transferred;
    uint32_t table_low, table_high;
    uint32_t reserved[4];
};

/// 4.2.3, with one region: data is contiguous, and a region has up to 4 MiB.
struct AhciDisk::CommandTable {
    uint8_t fis[64];
    uint8_t atapi[16];
    uint8_t reserved[48];
    uint32_t data_low, data_high, data_reserved, data_bytes;  ///< the last one less 1
    uint32_t unused[28];
};

/// What the controller reads and writes beside the data.
struct AhciDisk::Memory {
    CommandHeader headers[kMostSlots];  ///< aligned to 1024
    uint8_t received[256];              ///< aligned to 256
    uint16_t identity[kIdentifyWords];
    uint8_t unused[4096 - 1024 - 256 - 512];
    CommandTable tables[kMostSlots];  ///< each aligned to 128
};

uint32_t AhciDisk::at(uint32_t reg) const { return port_register(port_, reg); }

bool AhciDisk::reaches(uint64_t address) const {
    return controller_.has_64_bit_addresses() || high(address) == 0;
}

Result<AhciDisk*> AhciDisk::open(std::string_view name, AhciController& controller, unsigned port,
                                 Allocator& allocator) {
    static_assert(sizeof(CommandHeader) == 32 && sizeof(CommandTable) == 256);
    static_assert(offsetof(Memory, received) == 1024 && offsetof(Memory, tables) == 4096);
    static_assert(offsetof(CommandTable, data_low) == 0x80 && kRequestBytes <= 4 << 20);
    auto* memory = static_cast<Memory*>(allocator.allocate(sizeof(Memory), 4096));
    void* place = allocator.allocate(sizeof(AhciDisk), 64);
    if (memory == nullptr || place == nullptr) {
        allocator.release(memory);
        allocator.release(place);
        return out_of_memory("{}: no memory for its driver", name);
    }
    __builtin_memset(memory, 0, sizeof *memory);
    auto* disk = new (place) AhciDisk(name, controller, port, memory);
    auto bring_up = [&]() -> Result<bool> {
        const uint32_t signature = TRY(disk->wake());
        if (signature != kDiskSignature) return false;
        TRY(disk->identify());
        return true;
    };
    Result<bool> up = bring_up();
    if (up.ok() && up.value()) return disk;
    disk->shut_down();
    // A port that did not stop may still write there: then the memory is lost, and the controller cut off.
    if (!controller.is_cut_off()) allocator.release(memory);
    allocator.release(place);
    if (!up.ok()) return up.error();
    return nullptr;
}

/// 10.1.2, behind the controller's reset: the port is idle.
Result<uint32_t> AhciDisk::wake() {
    if (!reaches(physical(memory_) + sizeof(Memory))) {
        return Error::make(ErrorCode::kUnsupported, "{}: its controller reaches memory below 4 GiB only",
                           name_);
    }
    write(kInterruptEnable, 0);
    write(kListLow, low(physical(memory_->headers)));
    write(kListHigh, high(physical(memory_->headers)));
    write(kFisLow, low(physical(memory_->received)));
    write(kFisHigh, high(physical(memory_->received)));
    write(kLinkErrors, kAll);
    write(kInterrupts, kAll);
    set_bits(kCommand, kCmdReceive);  // the drive's first message, with its signature, comes now
    if (!controller_.wait_for(at(kTaskFile), kTaskBusy | kTaskRequest, 0, kSpinUpTimeout))
        return Error::make(ErrorCode::kDevice, "{}: the drive at port {} does not get ready", name_, port_);
    return read(kSignature);
}

Result<void> AhciDisk::identify() {
    set_bits(kCommand, kCmdStart);
    fill(0, {kIdentifyDevice, 0, 0, physical(memory_->identity), sizeof memory_->identity, false});
    issue(0);
    const uint64_t begin = controller_.clock().now_ns();
    Progress progress;
    while ((progress = look(0)) == Progress::kBusy && controller_.clock().now_ns() - begin < kDiskTimeoutNs) {
    }
    if (progress != Progress::kDone)
        return Error::make(ErrorCode::kDevice, "{}: the drive does not say what it is", name_);

    const uint16_t* words = memory_->identity;
    if (!(words[kFeatures] & kHas48Bit) || !(words[kFeatures] & kHasFlushExt)) {
        return Error::make(ErrorCode::kUnsupported, "{}: the drive has no 48-bit addresses, or cannot flush",
                           name_);
    }
    if ((words[kSectorKind] & kSectorKindMask) == kSectorKindValid && (words[kSectorKind] & kLargeSectors)) {
        const uint32_t bytes = 2 * (words[kSectorWords] | uint32_t{words[kSectorWords + 1]} << 16);
        if (bytes != kSectorBytes) {
            return Error::make(ErrorCode::kUnsupported,
                               "{}: it has sectors of {} bytes; only {} are supported", name_, bytes,
                               kSectorBytes);
        }
    }
    for (unsigned i = 0; i < 4; ++i) limits_.sectors |= uint64_t{words[kSectors48 + i]} << 16 * i;
    limits_.request_bytes = kRequestBytes;
    limits_.in_flight = std::min(controller_.command_slots(), kMostSlots);
    return {};
}

void AhciDisk::fill(unsigned slot, const Command& command) {
    CommandTable& table = memory_->tables[slot];
    table = {};
    uint8_t* fis = table.fis;  // Serial ATA 3.0, 10.3.4
    fis[0] = kHostToDevice;
    fis[1] = kIsCommand;
    fis[2] = command.code;
    fis[7] = kLbaMode;
    for (unsigned i = 0; i < 3; ++i) {
        fis[4 + i] = static_cast<uint8_t>(command.sector >> 8 * i);
        fis[8 + i] = static_cast<uint8_t>(command.sector >> 8 * (i + 3));
    }
    fis[12] = static_cast<uint8_t>(command.sectors);
    fis[13] = static_cast<uint8_t>(command.sectors >> 8);
    const bool has_data = command.bytes != 0;
    if (has_data) {
        table.data_low = low(command.address);
        table.data_high = high(command.address);
        table.data_bytes = command.bytes - 1;
    }
    memory_->headers[slot] = {.flags = kFisWords | (command.write ? CommandHeader::kWrite : 0) |
                                       uint32_t{has_data} << CommandHeader::kTableEntriesShift,
                              .transferred = 0,
                              .table_low = low(physical(&table)),
                              .table_high = high(physical(&table)),
                              .reserved = {}};
}

void AhciDisk::issue(unsigned slot) {
    issued_ns_ = controller_.clock().now_ns();
    std::atomic_thread_fence(std::memory_order_seq_cst);  // the command is in memory
    write(kIssue, 1u << slot);
}

AhciDisk::Progress AhciDisk::look(unsigned slot) {
    const bool busy = read(kIssue) >> slot & 1;
    if (read(kInterrupts) & kFatal) return Progress::kFailed;
    if (busy) return Progress::kBusy;
    std::atomic_thread_fence(std::memory_order_seq_cst);  // what the controller wrote is read now
    write(kInterrupts, kAll);
    return read(kTaskFile) & kTaskError ? Progress::kFailed : Progress::kDone;
}

void AhciDisk::start(BlockRequest& request) {
    if (broken_.empty() && controller_.is_cut_off()) give_up("its controller was turned off");
    if (!broken_.empty()) return fail_request(name_, request, broken_);
    if (!accept_request(name_, limits_, request)) return;
    const uint64_t address = physical(request.data.data());
    if (!reaches(address + request.data.size())) {
        return fail_request(name_, request, "its controller reaches memory below 4 GiB only",
                            ErrorCode::kUnsupported);
    }
    ASSERT(started_ - ended_ < limits_.in_flight);  // the caller keeps to in_flight

    const bool is_write = request.kind == BlockRequest::Kind::kWrite;
    const uint8_t code = request.kind == BlockRequest::Kind::kFlush ? kFlushCacheExt
                         : is_write                                 ? kWriteDmaExt
                                                                    : kReadDmaExt;
    const auto slot = static_cast<unsigned>(started_ % limits_.in_flight);
    const auto sectors = static_cast<uint32_t>(request.data.size() / kSectorBytes);
    requests_[slot] = &request;
    fill(slot,
         {code, request.sector, sectors, address, static_cast<uint32_t>(request.data.size()), is_write});
    if (started_++ == ended_) issue(slot);
}

void AhciDisk::poll() {
    if (started_ == ended_) return;
    if (controller_.is_cut_off()) return give_up("its controller was turned off");
    const auto slot = static_cast<unsigned>(ended_ % limits_.in_flight);
    const BlockRequest& request = *requests_[slot];
    switch (look(slot)) {
        case Progress::kBusy:
            if (controller_.clock().now_ns() - issued_ns_ > kDiskTimeoutNs)
                give_up("the drive did not answer in time");
            return;
        case Progress::kDone: {
            const volatile uint32_t& transferred = memory_->headers[slot].transferred;
            const bool read = request.kind == BlockRequest::Kind::kRead;
            if (read && transferred != request.data.size()) {
                fail_oldest("the drive read less than that");
            } else {
                end_request(take_oldest(), {});
            }
            break;
        }
        case Progress::kFailed: {
            const uint32_t task = read(kTaskFile);
            const auto reason =
                FixedString<80>::formatted("the drive reported an error (status {:02x}, error {:02x})",
                                           task & 0xFF, task >> kTaskErrorShift & 0xFF);
            if (!recover()) return give_up("the drive did not come back after an error");
            fail_oldest(reason);
            break;
        }
    }
    if (started_ != ended_) issue(static_cast<unsigned>(ended_ % limits_.in_flight));
}

BlockRequest& AhciDisk::take_oldest() {
    BlockRequest*& place = requests_[ended_++ % limits_.in_flight];
    BlockRequest& request = *place;
    place = nullptr;
    return request;
}

void AhciDisk::fail_oldest(std::string_view reason) { fail_request(name_, take_oldest(), reason); }

bool AhciDisk::stop_engine() {
    clear_bits(kCommand, kCmdStart);
    return controller_.wait_for(at(kCommand), kCmdRunning, 0, kStopTimeout);
}

/// 10.4.2
bool AhciDisk::reset_link() {
    const uint32_t control = read(kLinkControl) & ~kLinkDetect;
    write(kLinkControl, control | kLinkReset);
    const uint64_t begin = controller_.clock().now_ns();
    while (controller_.clock().now_ns() - begin < kLinkResetTime) {
    }
    write(kLinkControl, control);
    return controller_.wait_for(at(kLink), kLinkDetect, kLinkUp, kLinkTimeout);
}

bool AhciDisk::recover() {
    if (!stop_engine()) return false;
    if ((read(kTaskFile) & (kTaskBusy | kTaskRequest)) && !reset_link()) return false;
    write(kLinkErrors, kAll);
    write(kInterrupts, kAll);
    if (!controller_.wait_for(at(kTaskFile), kTaskBusy | kTaskRequest, 0, kBackTimeout)) return false;
    set_bits(kCommand, kCmdStart);
    return true;
}

void AhciDisk::shut_down() {
    const bool stopped = stop_engine();
    // A reset drive has forgotten what it was doing; not every controller lets go of a transfer before (QEMU's does not).
    static_cast<void>(reset_link());
    clear_bits(kCommand, kCmdReceive);
    const bool silent = controller_.wait_for(at(kCommand), kCmdReceiving, 0, kStopTimeout);
    if (!stopped || !silent) controller_.cut_off();
}

void AhciDisk::give_up(std::string_view reason) {
    broken_ = FixedString<80>::formatted("{}; it is turned off", reason);
    if (!controller_.is_cut_off()) shut_down();
    while (ended_ != started_) fail_oldest(broken_);
}

}  // namespace bareflow
