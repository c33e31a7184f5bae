// SATA disks behind an AHCI controller (AHCI 1.3.1; commands of ATA8-ACS). Polled, as virtio_blk.h says why.
//
// A controller has up to 32 command slots a port, and each takes a request here; but they are issued one after another.
// A disk does one such command at a time anyway, and so it is always known which one failed, also where a controller
// goes on behind an error though 6.2.2 says that it stops (QEMU 7.2). Native command queuing is not used: its errors
// abort every command in flight and want a log page read to tell which one it was.
#pragma once

#include "arch/base/allocator.h"
#include "arch/base/terminal.h"
#include "arch/x86_64/disk_request.h"

namespace bareflow {

/// A controller's registers (AHCI 1.3.1, 3). Tests bring controllers of their own.
class AhciRegisters {
 public:
    virtual uint32_t read(uint32_t offset) = 0;
    virtual void write(uint32_t offset, uint32_t value) = 0;
    /// The controller cannot write to memory any more, whatever it does.
    virtual void stop_dma() = 0;

    /// Of a page, which holds 30 ports of the 32 that the specification has room for: no controller has as many.
    static constexpr uint32_t kBytes = 0x1000;

 protected:
    ~AhciRegisters() = default;
};

class AhciController {
 public:
    AhciController(AhciRegisters& registers, Clock& clock) : registers_(registers), clock_(clock) {}

    /// False if the firmware found nothing but CD drives at the controller: then it need not be started.
    bool may_have_disks();
    /// Takes the controller from the firmware, resets it and waits for the links. Errors: kDevice.
    Result<void> start();
    /// Ports whose link is up, a bit each.
    uint32_t links() const { return links_; }
    bool has_64_bit_addresses() const { return addresses_64_; }
    unsigned command_slots() const { return command_slots_; }

    /// Stops DMA of the controller as a whole: a port did not stop. All its disks are out of use then.
    void cut_off();
    bool is_cut_off() const { return cut_off_; }

    AhciRegisters& registers() { return registers_; }
    Clock& clock() { return clock_; }
    /// Whether (register & mask) == value came about within `ns`.
    bool wait_for(uint32_t offset, uint32_t mask, uint32_t value, uint64_t ns);

 private:
    Result<void> take_from_firmware();
    bool is_link_up(unsigned port);

    AhciRegisters& registers_;
    Clock& clock_;
    uint32_t links_ = 0;
    unsigned command_slots_ = 1;
    bool addresses_64_ = false;
    bool cut_off_ = false;
};

class AhciDisk final : public BlockDevice {
 public:
    /// The disk at a port whose link is up; nullptr if something else is there (a CD drive, a port multiplier). It must
    /// not outlive the controller; its memory comes from `allocator` and is kept for good. Errors: kUnsupported (no 48-bit
    /// addresses, other sectors than 512 bytes), kDevice, kOutOfMemory.
    static Result<AhciDisk*> open(std::string_view name, AhciController& controller, unsigned port,
                                  Allocator& allocator);

    std::string_view name() const override { return name_; }
    Limits limits() const override { return limits_; }
    /// The data is read or written in place: it must be physically contiguous, as everything is that is mapped by
    /// identity.
    void start(BlockRequest& request) override;
    /// Recovering from an error waits for the port to stop and start, and for the link if it must be reset: up to some
    /// milliseconds, and a second where the disk does not come back.
    void poll() override;

    static constexpr size_t kRequestBytes = 1 << 20;
    static constexpr unsigned kMostSlots = 32;

 private:
    struct CommandHeader;
    struct CommandTable;
    struct Memory;
    /// One ATA command.
    struct Command {
        uint8_t code;
        uint64_t sector;
        uint32_t sectors;
        uint64_t address;  ///< of the data
        uint32_t bytes;    ///< of the data
        bool write;
    };

    AhciDisk(std::string_view name, AhciController& controller, unsigned port, Memory* memory)
        : name_(name),
          controller_(controller),
          registers_(controller.registers()),
          port_(port),
          memory_(memory) {}

    uint32_t read(uint32_t reg) { return registers_.read(at(reg)); }
    void write(uint32_t reg, uint32_t value) { registers_.write(at(reg), value); }
    uint32_t at(uint32_t reg) const;
    void set_bits(uint32_t reg, uint32_t bits) { write(reg, read(reg) | bits); }
    void clear_bits(uint32_t reg, uint32_t bits) { write(reg, read(reg) & ~bits); }

    bool reaches(uint64_t address) const;
    /// Programs the port and waits for the drive; its signature.
    Result<uint32_t> wake();
    Result<void> identify();
    void fill(unsigned slot, const Command& command);
    void issue(unsigned slot);
    enum class Progress : uint8_t { kBusy, kDone, kFailed };
    Progress look(unsigned slot);

    /// The oldest request, which ends now.
    BlockRequest& take_oldest();
    void fail_oldest(std::string_view reason);
    bool stop_engine();
    bool reset_link();
    /// After a failed command (6.2.2.1). False: the port does not come back.
    bool recover();
    void give_up(std::string_view reason);
    /// Everything off, the drive reset: it has let go of all buffers.
    void shut_down();

    FixedString<16> name_;
    AhciController& controller_;
    AhciRegisters& registers_;
    unsigned port_;
    Memory* memory_;
    Limits limits_;
    BlockRequest* requests_[kMostSlots] = {};
    uint64_t started_ = 0, ended_ = 0;  ///< requests ever; a request's slot is its number modulo the slots
    uint64_t issued_ns_ = 0;            ///< when the oldest one was given to the drive
    FixedString<80> broken_;            ///< why it was given up; empty: it was not
};

}  // namespace bareflow
