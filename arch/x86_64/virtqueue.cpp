#include "arch/x86_64/virtqueue.h"

#include <atomic>

#include "arch/base/panic.h"
#include "mm/align.h"

namespace bareflow {

/// 2.7.5
struct Virtqueue::Descriptor {
    static constexpr uint16_t kNext = 1, kDeviceWrites = 2;
    uint64_t address;
    uint32_t bytes;
    uint16_t flags, next;
};

/// 2.7.6; `entries` numbers of descriptors follow.
struct Virtqueue::Available {
    static constexpr uint16_t kNoInterrupt = 1;
    uint16_t flags, index;
    uint16_t ring[];
};

/// 2.7.8; `entries` elements follow.
struct Virtqueue::UsedRing {
    static constexpr uint16_t kNoNotify = 1;
    struct Element {
        uint32_t head, written;
    };
    uint16_t flags, index;
    Element ring[];
};

namespace {

constexpr size_t kUsedAlignment = 4096;  ///< of a legacy device
/// Behind each ring is room for an event index (2.7.10), which is not negotiated.
constexpr size_t kRingHeader = 4, kRingTrailer = 2;

}  // namespace

size_t Virtqueue::bytes_for(uint32_t entries) {
    static_assert(sizeof(Descriptor) == 16 && sizeof(UsedRing::Element) == 8);
    static_assert(sizeof(Available) == kRingHeader && sizeof(UsedRing) == kRingHeader);
    const size_t front = entries * (sizeof(Descriptor) + sizeof(uint16_t)) + kRingHeader + kRingTrailer;
    return align_up(front, kUsedAlignment) +
           align_up(entries * sizeof(UsedRing::Element) + kRingHeader + kRingTrailer, kUsedAlignment);
}

Virtqueue::Virtqueue(std::span<uint8_t> memory, uint32_t entries) : entries_(entries) {
    ASSERT(is_power_of_two(entries) && entries <= kMostEntries && memory.size() >= bytes_for(entries));
    ASSERT(is_aligned(address_of(memory.data()), kUsedAlignment));
    const size_t front = entries * (sizeof(Descriptor) + sizeof(uint16_t)) + kRingHeader + kRingTrailer;
    descriptors_ = reinterpret_cast<Descriptor*>(memory.data());
    available_ = reinterpret_cast<Available*>(memory.data() + entries * sizeof(Descriptor));
    used_ = reinterpret_cast<UsedRing*>(memory.data() + align_up(front, kUsedAlignment));
    available_->flags = Available::kNoInterrupt;  // disks are polled
}

void Virtqueue::describe(uint32_t head, std::span<const VirtioPiece> pieces) {
    ASSERT(!pieces.empty() && head < entries_ && pieces.size() <= entries_ - head);
    for (size_t i = 0; i < pieces.size(); ++i) {
        const bool last = i + 1 == pieces.size();
        const auto flags = static_cast<uint16_t>((last ? 0 : Descriptor::kNext) |
                                                 (pieces[i].device_writes ? Descriptor::kDeviceWrites : 0));
        const auto next = static_cast<uint16_t>(last ? 0 : head + i + 1);
        descriptors_[head + i] = {pieces[i].address, pieces[i].bytes, flags, next};
    }
}

void Virtqueue::offer(uint32_t head) {
    available_->ring[offered_ & (entries_ - 1)] = static_cast<uint16_t>(head);
    // The descriptors and the ring's element are there before the index says so (2.7.13.3).
    __atomic_store_n(&available_->index, ++offered_, __ATOMIC_RELEASE);
}

bool Virtqueue::wants_notice() const {
    // The index is out before the flag is looked at (2.7.13.4.1): else both sides could wait for each other.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return !(__atomic_load_n(&used_->flags, __ATOMIC_RELAXED) & UsedRing::kNoNotify);
}

Virtqueue::Answer Virtqueue::take(Used& used) {
    const uint16_t index = __atomic_load_n(&used_->index, __ATOMIC_ACQUIRE);
    if (index == taken_) return Answer::kNone;
    const auto in_flight = static_cast<uint16_t>(offered_ - taken_);
    if (static_cast<uint16_t>(index - taken_) > in_flight) return Answer::kBroken;
    const volatile UsedRing::Element& element = used_->ring[taken_ & (entries_ - 1)];
    used = {element.head, element.written};  // read once: the device may change it
    if (used.head >= entries_) return Answer::kBroken;
    ++taken_;
    return Answer::kUsed;
}

}  // namespace bareflow
