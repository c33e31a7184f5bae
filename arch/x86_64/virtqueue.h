// A split virtqueue (virtio 1.2, 2.7): three tables in memory by which a driver hands buffers to a device and gets them
// back. What the device writes there is checked; what the driver wrote is never read again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace bareflow {

/// A buffer, or a part of one, for the device to read or to write.
struct VirtioPiece {
    uint64_t address;  ///< physical
    uint32_t bytes;
    bool device_writes;
};

class Virtqueue {
 public:
    static constexpr uint32_t kMostEntries = 32768;

    /// Of all three tables, laid out as a legacy device wants them (2.7.2): the modern one takes any layout.
    static size_t bytes_for(uint32_t entries);

    Virtqueue() = default;
    /// `memory`: bytes_for(entries) zeroes, physically contiguous, aligned to 4096; `entries`: a power of two.
    Virtqueue(std::span<uint8_t> memory, uint32_t entries);

    uint32_t entries() const { return entries_; }
    // Physical addresses.
    uint64_t descriptors() const { return address_of(descriptors_); }
    uint64_t available() const { return address_of(available_); }
    uint64_t used() const { return address_of(used_); }

    /// Describes `pieces`, those that the device reads first, by the descriptors from `head` on, which no request in
    /// flight uses.
    void describe(uint32_t head, std::span<const VirtioPiece> pieces);
    /// Hands the chain at `head` to the device.
    void offer(uint32_t head);
    /// Whether the device wants to be notified of what was offered; ask after offering.
    bool wants_notice() const;

    enum class Answer : uint8_t {
        kNone,    ///< nothing new
        kUsed,    ///< `head` came back
        kBroken,  ///< the device gave back more than it has, or what cannot be
    };
    struct Used {
        uint32_t head = 0;     ///< below entries(); whether it was in flight the caller must know
        uint32_t written = 0;  ///< bytes, as the device says
    };
    Answer take(Used& used);

 private:
    struct Descriptor;
    struct Available;
    struct UsedRing;
    static uint64_t address_of(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

    uint32_t entries_ = 0;
    Descriptor* descriptors_ = nullptr;
    Available* available_ = nullptr;
    UsedRing* used_ = nullptr;
    uint16_t offered_ = 0, taken_ = 0;  ///< chains ever, modulo 2^16
};

}  // namespace bareflow
