// A virtio block device (virtio 1.2, 5.2) as a disk. It is polled: whoever waits for a disk here has nothing else to do,
// an interrupt would cost two exits of a virtual machine a request, and the kernel keeps its interrupts for the timer.
#pragma once

#include "arch/base/allocator.h"
#include "arch/base/terminal.h"
#include "arch/x86_64/disk_request.h"
#include "arch/x86_64/virtqueue.h"

namespace bareflow {

/// How a virtio device with one queue is reached; by PCI in virtio_pci.h. Tests bring devices of their own.
class VirtioTransport {
 public:
    /// False: by the legacy interface (virtio 0.9.5), which has 32 feature bits and no FEATURES_OK.
    virtual bool modern() const = 0;
    virtual uint8_t status() = 0;
    /// 0 resets; status() reads 0 when that is done.
    virtual void set_status(uint8_t status) = 0;
    virtual uint64_t device_features() = 0;
    virtual void accept_features(uint64_t features) = 0;
    /// Entries of queue 0: the most of a modern device, exactly those of a legacy one; 0: there is no queue.
    virtual uint32_t queue_entries() = 0;
    virtual Result<void> start_queue(const Virtqueue& queue) = 0;
    virtual void notify() = 0;
    /// Changes when the configuration does; always 0 of a legacy device.
    virtual uint8_t config_generation() = 0;
    virtual uint32_t read_config32(unsigned offset) = 0;
    /// The device cannot write to memory any more, whatever it does.
    virtual void stop_dma() = 0;

 protected:
    ~VirtioTransport() = default;
};

class VirtioBlock final : public BlockDevice {
 public:
    /// Resets the device and starts it. Everything handed in must outlive it; its memory comes from `allocator` and is
    /// kept for good. Errors: kUnsupported (other sectors than 512 bytes, no usable queue), kDevice, kOutOfMemory.
    static Result<VirtioBlock*> start_device(std::string_view name, VirtioTransport& transport, Clock& clock,
                                             Allocator& allocator);

    std::string_view name() const override { return name_; }
    Limits limits() const override { return limits_; }
    /// The data is read or written in place: it must be physically contiguous, as everything is that is mapped by
    /// identity.
    void start(BlockRequest& request) override;
    void poll() override;

    /// Most of one request: enough that its fixed costs do not count.
    static constexpr size_t kRequestBytes = 1 << 20;
    static constexpr unsigned kMostInFlight = 64;
    static constexpr uint32_t kMostEntries = 256;
    static constexpr unsigned kMostSegments = 16;

 private:
    /// What stands around the data (5.2.6), a device's view; the status is the device's to write.
    struct Envelope {
        uint32_t type, reserved;
        uint64_t sector;
        uint8_t status;
        uint8_t unused[15];
    };
    struct alignas(4096) DmaPage {
        uint8_t bytes[4096];
    };

    VirtioBlock(std::string_view name, VirtioTransport& transport, Clock& clock)
        : name_(name), transport_(transport), clock_(clock) {}
    Result<void> negotiate();
    Result<void> read_limits();
    Result<void> make_queue(Allocator& allocator);
    uint32_t config32(unsigned offset) { return transport_.read_config32(offset); }
    unsigned chain_length() const { return segments_ + 2; }  ///< header and status beside the data

    void finish(unsigned slot, uint32_t written);
    /// No request can be helped any more: the device is cut off, and what it had fails.
    void give_up(std::string_view reason);

    FixedString<16> name_;
    VirtioTransport& transport_;
    Clock& clock_;
    uint64_t features_ = 0;
    Limits limits_;
    size_t segment_bytes_ = 0;
    unsigned segments_ = 1;  ///< most of a request
    Buffer<DmaPage> memory_;
    Virtqueue queue_;
    Envelope* envelopes_ = nullptr;
    BlockRequest* requests_[kMostInFlight] = {};  ///< by slot; each slot has its own descriptors
    unsigned in_flight_ = 0;
    uint64_t progress_ns_ = 0;      ///< when it last finished something, or began to have work
    uint64_t status_check_ns_ = 0;  ///< when the device's status was last looked at
    FixedString<80> broken_;        ///< why it was given up; empty: it was not
};

}  // namespace bareflow
