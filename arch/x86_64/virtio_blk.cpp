#include "arch/x86_64/virtio_blk.h"

#include <algorithm>

#include "mm/align.h"

namespace bareflow {
namespace {

// Device status (2.1).
enum Status : uint8_t {
    kAcknowledge = 1,
    kDriver = 2,
    kDriverOk = 4,
    kFeaturesOk = 8,
    kNeedsReset = 64,
    kFailed = 128,
};
constexpr uint8_t kGone = 0xFF;  ///< what a bus reads where nobody answers
constexpr uint64_t kStatusCheckNs = 10'000'000;
constexpr uint64_t kResetTimeoutNs = 100'000'000;

// Feature bits (5.2.3, 6).
constexpr uint64_t kSizeMax = 1 << 1, kSegMax = 1 << 2, kReadOnly = 1 << 5, kBlockSize = 1 << 6,
                   kFlush = 1 << 9, kVersion1 = uint64_t{1} << 32;
constexpr uint64_t kWanted = kSizeMax | kSegMax | kReadOnly | kBlockSize | kFlush | kVersion1;

// Configuration (5.2.4), byte offsets of 32-bit halves.
constexpr unsigned kCapacityLow = 0, kCapacityHigh = 4, kSizeMaxAt = 8, kSegMaxAt = 12, kBlockSizeAt = 20;

// Requests (5.2.6).
constexpr uint32_t kTypeIn = 0, kTypeOut = 1, kTypeFlush = 4;
constexpr uint8_t kStatusOk = 0, kStatusIoError = 1, kStatusUnsupported = 2, kStatusUnset = 0xEE;
constexpr uint32_t kHeaderBytes = 16, kStatusBytes = 1;
/// So many requests are wanted in flight before a request may have several segments.
constexpr unsigned kWantedInFlight = 16;

}  // namespace

Result<VirtioBlock*> VirtioBlock::start_device(std::string_view name, VirtioTransport& transport,
                                               Clock& clock, Allocator& allocator) {
    void* place = allocator.allocate(sizeof(VirtioBlock), 64);
    if (place == nullptr) return out_of_memory("{}: no memory for its driver", name);
    auto* disk = new (place) VirtioBlock(name, transport, clock);
    auto bring_up = [&]() -> Result<void> {
        TRY(disk->negotiate());
        TRY(disk->read_limits());
        TRY(disk->make_queue(allocator));
        TRY(transport.start_queue(disk->queue_));
        transport.set_status(transport.status() | kDriverOk);
        return {};
    };
    if (Result<void> up = bring_up(); !up) {
        transport.set_status(transport.status() | kFailed);
        transport.stop_dma();
        disk->memory_ = {};
        allocator.release(place);
        return up.error();
    }
    return disk;
}

/// 3.1.1, steps 1 to 6.
Result<void> VirtioBlock::negotiate() {
    transport_.set_status(0);
    const uint64_t begin = clock_.now_ns();
    while (transport_.status() != 0) {
        if (clock_.now_ns() - begin > kResetTimeoutNs)
            return Error::make(ErrorCode::kDevice, "{}: it does not reset", name_);
    }
    transport_.set_status(kAcknowledge);
    transport_.set_status(kAcknowledge | kDriver);
    features_ = transport_.device_features() & kWanted;
    transport_.accept_features(features_);
    if (!transport_.modern()) return {};
    if (!(features_ & kVersion1))
        return Error::make(ErrorCode::kUnsupported, "{}: a modern device without VIRTIO_F_VERSION_1", name_);
    transport_.set_status(kAcknowledge | kDriver | kFeaturesOk);
    if (!(transport_.status() & kFeaturesOk)) {
        return Error::make(ErrorCode::kUnsupported,
                           "{}: it does not accept features {:x}; start QEMU without iommu_platform for it",
                           name_, features_);
    }
    return {};
}

Result<void> VirtioBlock::read_limits() {
    uint32_t size_max = 0, seg_max = 1, block_size = kSectorBytes;
    for (uint8_t generation = transport_.config_generation();;) {  // 2.5.3: until it did not change meanwhile
        limits_.sectors = uint64_t{config32(kCapacityHigh)} << 32 | config32(kCapacityLow);
        if (features_ & kSizeMax) size_max = config32(kSizeMaxAt);
        if (features_ & kSegMax) seg_max = std::max(config32(kSegMaxAt), uint32_t{1});
        if (features_ & kBlockSize) block_size = config32(kBlockSizeAt);
        const uint8_t now = transport_.config_generation();
        if (now == generation) break;
        generation = now;
    }
    if (block_size != kSectorBytes) {
        return Error::make(ErrorCode::kUnsupported, "{}: it has sectors of {} bytes; only {} are supported",
                           name_, block_size, kSectorBytes);
    }
    segment_bytes_ = kRequestBytes;
    if (features_ & kSizeMax)
        segment_bytes_ = std::min<size_t>(align_down(size_max, kSectorBytes), kRequestBytes);
    if (segment_bytes_ == 0) {
        return Error::make(ErrorCode::kUnsupported,
                           "{}: it takes {} bytes in a piece; at least {} are needed", name_, size_max,
                           kSectorBytes);
    }
    const size_t wanted = kRequestBytes / segment_bytes_;
    segments_ = static_cast<unsigned>(std::min<size_t>({wanted, seg_max, kMostSegments}));
    limits_.read_only = features_ & kReadOnly;
    return {};
}

Result<void> VirtioBlock::make_queue(Allocator& allocator) {
    uint32_t entries = transport_.queue_entries();
    if (transport_.modern()) entries = std::min(entries, kMostEntries);
    if (!is_power_of_two(entries) || entries > Virtqueue::kMostEntries || entries < 3) {
        return Error::make(ErrorCode::kUnsupported, "{}: a queue of {} entries cannot be used", name_,
                           entries);
    }
    const unsigned room =
        std::max(entries / kWantedInFlight, 3u) - 2;  // segments, if enough are to be in flight
    segments_ = std::min(segments_, room);
    limits_.request_bytes = segments_ * segment_bytes_;
    limits_.in_flight = std::min(entries / chain_length(), kMostInFlight);

    const size_t ring_bytes = Virtqueue::bytes_for(entries);
    static_assert(sizeof(Envelope) == 32 && offsetof(Envelope, status) == kHeaderBytes);
    static_assert(kMostInFlight * sizeof(Envelope) <= sizeof(DmaPage));
    memory_ = TRY(Buffer<DmaPage>::make(allocator, ring_bytes / sizeof(DmaPage) + 1, name_));
    queue_ = Virtqueue({memory_.data()->bytes, ring_bytes}, entries);
    envelopes_ = reinterpret_cast<Envelope*>(memory_[ring_bytes / sizeof(DmaPage)].bytes);
    return {};
}

void VirtioBlock::start(BlockRequest& request) {
    if (!broken_.empty()) return fail_request(name_, request, broken_);
    if (!accept_request(name_, limits_, request)) return;
    const bool flush = request.kind == BlockRequest::Kind::kFlush;
    // Without the feature the device writes through: what was done is on the medium.
    if (flush && !(features_ & kFlush)) return end_request(request, {});

    unsigned slot = 0;
    while (slot < limits_.in_flight && requests_[slot] != nullptr) ++slot;
    ASSERT(slot < limits_.in_flight);  // the caller keeps to in_flight

    const bool read = request.kind == BlockRequest::Kind::kRead;
    Envelope& envelope = envelopes_[slot];
    envelope = {.type = flush  ? kTypeFlush
                        : read ? kTypeIn
                               : kTypeOut,
                .reserved = 0,
                .sector = request.sector,
                .status = kStatusUnset,
                .unused = {}};
    const uint64_t envelope_at = reinterpret_cast<uintptr_t>(&envelope);
    VirtioPiece pieces[kMostSegments + 2];
    size_t count = 0;
    pieces[count++] = {envelope_at, kHeaderBytes, false};
    for (std::span<uint8_t> left = request.data; !left.empty();) {
        const size_t bytes = std::min(left.size(), segment_bytes_);
        pieces[count++] = {reinterpret_cast<uintptr_t>(left.data()), static_cast<uint32_t>(bytes), read};
        left = left.subspan(bytes);
    }
    pieces[count++] = {envelope_at + offsetof(Envelope, status), kStatusBytes, true};

    if (in_flight_++ == 0) progress_ns_ = status_check_ns_ = clock_.now_ns();
    requests_[slot] = &request;
    queue_.describe(slot * chain_length(), {pieces, count});
    queue_.offer(slot * chain_length());
    if (queue_.wants_notice()) transport_.notify();
}

void VirtioBlock::poll() {
    if (in_flight_ == 0) return;
    Virtqueue::Used used;
    for (bool finished = false;; finished = true) {
        const Virtqueue::Answer answer = queue_.take(used);
        if (answer == Virtqueue::Answer::kBroken) return give_up("the device wrote nonsense into its queue");
        if (answer == Virtqueue::Answer::kNone) {
            if (finished) progress_ns_ = clock_.now_ns();
            break;
        }
        const unsigned slot = used.head / chain_length();
        if (used.head % chain_length() != 0 || slot >= limits_.in_flight || requests_[slot] == nullptr)
            return give_up("the device gave back a request that it did not have");
        finish(slot, used.written);
    }
    if (in_flight_ == 0) return;
    const uint64_t now = clock_.now_ns();
    if (now - progress_ns_ > kDiskTimeoutNs) return give_up("the device did not answer in time");
    if (now - status_check_ns_ < kStatusCheckNs) return;  // each look is an exit of the virtual machine
    status_check_ns_ = now;
    const uint8_t status = transport_.status();
    if (status == kGone) return give_up("the device is gone");
    if (status & (kNeedsReset | kFailed)) give_up("the device says that it failed");
}

void VirtioBlock::finish(unsigned slot, uint32_t written) {
    BlockRequest& request = *requests_[slot];
    requests_[slot] = nullptr;
    --in_flight_;
    const volatile uint8_t& answer = envelopes_[slot].status;
    const uint8_t status = answer;
    const bool read = request.kind == BlockRequest::Kind::kRead;
    // Legacy devices often say a wrong length (2.7.8.1).
    const bool is_short = read && transport_.modern() && written < request.data.size() + kStatusBytes;
    if (status == kStatusOk && !is_short) return end_request(request, {});
    fail_request(name_, request,
                 status == kStatusOk            ? "the disk read less than that"
                 : status == kStatusIoError     ? "the disk reported an I/O error"
                 : status == kStatusUnsupported ? "the disk does not support that"
                                                : "the disk gave no valid status");
}

void VirtioBlock::give_up(std::string_view reason) {
    broken_ = FixedString<80>::formatted("{}; it is turned off", reason);
    // Buffers go back to their owner: the device must have let go of them, or be unable to reach memory.
    transport_.set_status(0);
    const uint64_t begin = clock_.now_ns();
    while (transport_.status() != 0 && clock_.now_ns() - begin < kResetTimeoutNs) {
    }
    transport_.stop_dma();
    for (BlockRequest*& request : requests_) {
        if (request == nullptr) continue;
        fail_request(name_, *request, broken_);
        request = nullptr;
    }
    in_flight_ = 0;
}

}  // namespace bareflow
