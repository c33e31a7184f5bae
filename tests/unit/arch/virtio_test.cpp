// The virtqueue and the virtio block driver against a device in memory, well-behaved and malicious.
#include "arch/x86_64/virtio_blk.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <memory>

#include "tests/unit/arch/disk_fakes.h"
#include "tests/unit/base/test_allocator.h"

namespace bareflow {
namespace {

using testing::HasSubstr;
using Kind = BlockRequest::Kind;

constexpr uint64_t kSizeMax = 1 << 1, kSegMax = 1 << 2, kReadOnly = 1 << 5, kBlockSize = 1 << 6,
                   kFlush = 1 << 9, kIndirect = 1 << 28, kVersion1 = uint64_t{1} << 32,
                   kPacked = uint64_t{1} << 34;

/// The layout that the specification gives (2.7), for the device's side.
struct Descriptor {
    uint64_t address;
    uint32_t bytes;
    uint16_t flags, next;
};
struct UsedElement {
    uint32_t id, length;
};

/// A device: takes chains when asked to, and answers them as the test wants.
class FakeDevice final : public VirtioTransport {
 public:
    // What the driver is told.
    bool is_modern = true;
    uint64_t features = kVersion1 | kSegMax | kFlush | kIndirect | kPacked;
    uint32_t entries = 64;
    uint64_t capacity = 4096;
    uint32_t size_max = 0, seg_max = 126, block_size = 512;
    bool accepts_features = true, resets = true;
    // What it did.
    uint64_t accepted = 0;
    uint8_t state = 0;
    unsigned notices = 0, resets_seen = 0;
    bool dma_stopped = false;
    std::vector<uint8_t> medium = std::vector<uint8_t>(4096 * kSectorBytes);

    bool modern() const override { return is_modern; }
    uint8_t status() override { return state; }
    void set_status(uint8_t value) override {
        if (value == 0) ++resets_seen;
        if (value == 0 && !resets) return;
        state = value;
        if (!accepts_features) state &= static_cast<uint8_t>(~8);
    }
    uint64_t device_features() override { return is_modern ? features : features & UINT32_MAX; }
    void accept_features(uint64_t value) override { accepted = value; }
    uint32_t queue_entries() override { return entries; }
    Result<void> start_queue(const Virtqueue& queue) override {
        queue_entries_ = queue.entries();
        descriptors_ = reinterpret_cast<Descriptor*>(queue.descriptors());
        available_ = reinterpret_cast<uint16_t*>(queue.available());
        used_ = reinterpret_cast<uint16_t*>(queue.used());
        return {};
    }
    void notify() override { ++notices; }
    uint8_t config_generation() override { return generation_reads++ < changes ? generation_reads : 0; }
    uint32_t read_config32(unsigned offset) override {
        switch (offset) {
            case 0:
                return static_cast<uint32_t>(capacity);
            case 4:
                return static_cast<uint32_t>(capacity >> 32);
            case 8:
                return size_max;
            case 12:
                return seg_max;
            case 20:
                return block_size;
            default:
                ADD_FAILURE() << "nobody asked for " << offset;
                return 0;
        }
    }
    void stop_dma() override { dma_stopped = true; }
    uint8_t generation_reads = 0, changes = 0;

    /// The chains that were offered and not taken.
    void take_offers() {
        const uint16_t index = available_[1];
        for (; seen_ != index; ++seen_) heads.push_back(available_[2 + seen_ % queue_entries_]);
    }
    std::deque<uint16_t> heads;

    std::vector<Descriptor> chain(uint16_t head) const {
        std::vector<Descriptor> pieces;
        for (uint16_t at = head;; at = descriptors_[at].next) {
            EXPECT_LT(at, queue_entries_);
            pieces.push_back(descriptors_[at]);
            if (!(descriptors_[at].flags & 1) || pieces.size() > queue_entries_) return pieces;
        }
    }
    /// Does what the chain says, to the medium, and returns what is to be written into the used ring.
    UsedElement serve(uint16_t head, uint8_t status = 0) {
        const std::vector<Descriptor> pieces = chain(head);
        EXPECT_GE(pieces.size(), 2u);
        EXPECT_EQ(pieces.front().bytes, 16u);
        EXPECT_EQ(pieces.back().bytes, 1u);
        EXPECT_TRUE(pieces.back().flags & 2);
        uint32_t type;
        uint64_t sector;
        std::memcpy(&type, reinterpret_cast<void*>(pieces[0].address), 4);
        std::memcpy(&sector, reinterpret_cast<void*>(pieces[0].address + 8), 8);
        uint32_t written = 1;
        uint8_t* place = medium.data() + sector * kSectorBytes;
        for (size_t i = 1; i + 1 < pieces.size(); ++i) {
            auto* data = reinterpret_cast<uint8_t*>(pieces[i].address);
            EXPECT_EQ(bool(pieces[i].flags & 2), type == 0) << "who writes the data";
            if (size_max != 0) {
                EXPECT_LE(pieces[i].bytes, size_max);
            }
            if (status == 0 && type == 0) std::memcpy(data, place, pieces[i].bytes);
            if (status == 0 && type == 1) std::memcpy(place, data, pieces[i].bytes);
            if (type == 0) written += pieces[i].bytes;
            place += pieces[i].bytes;
        }
        types.push_back(type);
        *reinterpret_cast<uint8_t*>(pieces.back().address) = status;
        return {head, written};
    }
    std::vector<uint32_t> types;

    void put_used(UsedElement element) {
        auto* ring = reinterpret_cast<UsedElement*>(used_ + 2);
        ring[used_[1] % queue_entries_] = element;
        ++used_[1];
    }
    /// Overwrites all descriptors and the available ring's elements.
    void scribble() {
        std::memset(descriptors_, 0xFF, queue_entries_ * sizeof(Descriptor));
        std::memset(available_ + 2, 0xFF, queue_entries_ * sizeof(uint16_t));
    }
    void set_used_index(uint16_t index) { used_[1] = index; }
    void want_no_notices() { used_[0] = 1; }
    uint16_t driver_flags() const { return available_[0]; }
    void serve_all() {
        take_offers();
        for (; !heads.empty(); heads.pop_front()) put_used(serve(heads.front()));
    }

 private:
    uint32_t queue_entries_ = 0;
    Descriptor* descriptors_ = nullptr;
    uint16_t* available_ = nullptr;  // flags, index, ring
    uint16_t* used_ = nullptr;
    uint16_t seen_ = 0;
};

struct Virtio : testing::Test {
    FakeDevice device;
    SteppingClock clock;
    TestAllocator allocator;
    VirtioBlock* disk = nullptr;

    VirtioBlock& up() {
        Result<VirtioBlock*> started = VirtioBlock::start_device("virtio0", device, clock, allocator);
        if (!started) throw std::runtime_error(std::string(started.error().message()));
        disk = started.value();
        return *disk;
    }
    std::string refusal() {
        Result<VirtioBlock*> started = VirtioBlock::start_device("virtio0", device, clock, allocator);
        EXPECT_FALSE(started.ok());
        EXPECT_EQ(allocator.live, 0u) << "what is refused keeps no memory";
        EXPECT_TRUE(device.dma_stopped);
        return started.ok() ? "" : std::string(started.error().message());
    }
    ~Virtio() override {
        if (disk == nullptr) return;
        disk->~VirtioBlock();
        allocator.release(disk);
        EXPECT_EQ(allocator.live, 0u);
    }
};

TEST_F(Virtio, StartsADeviceAsTheSpecificationSays) {
    const BlockDevice::Limits limits = up().limits();
    EXPECT_EQ(limits.sectors, 4096u);
    EXPECT_FALSE(limits.read_only);
    EXPECT_EQ(limits.in_flight, 64u / 3);
    EXPECT_EQ(limits.request_bytes, VirtioBlock::kRequestBytes);
    EXPECT_EQ(device.state, 1 | 2 | 4 | 8);
    EXPECT_EQ(device.accepted, kVersion1 | kSegMax | kFlush) << "nothing that is not understood";
    EXPECT_EQ(device.driver_flags(), 1) << "no interrupts";
}

TEST_F(Virtio, ALegacyDeviceHasNoVersionAndNoFeaturesOk) {
    device.is_modern = false;
    up();
    EXPECT_EQ(device.state, 1 | 2 | 4);
    EXPECT_EQ(device.accepted, kSegMax | kFlush);
}

TEST_F(Virtio, RefusesWhatItCannotUseAndSaysWhy) {
    device.features &= ~kVersion1;
    EXPECT_THAT(refusal(), HasSubstr("VIRTIO_F_VERSION_1"));
    EXPECT_TRUE(device.state & 128) << "failed";
    device.features |= kVersion1;
    device.accepts_features = false;
    EXPECT_THAT(refusal(), HasSubstr("does not accept"));
    device.accepts_features = true;
    device.features |= kBlockSize;
    device.block_size = 4096;
    EXPECT_THAT(refusal(), HasSubstr("sectors of 4096 bytes"));
    device.block_size = 512;
    for (const uint32_t entries : {0u, 1u, 2u, 48u, 65536u}) {
        device.is_modern = false;
        device.entries = entries;
        EXPECT_THAT(refusal(), HasSubstr("a queue of")) << entries;
    }
    device.is_modern = true;
    device.entries = 64;
    device.features |= kSizeMax;
    device.size_max = 511;
    EXPECT_THAT(refusal(), HasSubstr("511 bytes in a piece"));
    device.features &= ~kSizeMax;
    device.resets = false;
    device.state = 7;
    EXPECT_THAT(refusal(), HasSubstr("does not reset"));
    device.resets = true;
    allocator.fail_after = allocator.made + 1;
    EXPECT_THAT(refusal(), HasSubstr("do not fit"));
}

TEST_F(Virtio, KeepsToTheSegmentsThatTheDeviceTakes) {
    device.features |= kSizeMax;
    device.size_max = 4096 + 100;
    device.seg_max = 3;
    device.entries = 256;
    const BlockDevice::Limits limits = up().limits();
    EXPECT_EQ(limits.request_bytes, 3u * 4096);
    EXPECT_EQ(limits.in_flight, 256u / 5);
    TestRequest write(Kind::kWrite, 10, 24, 0x5A), read(Kind::kRead, 10, 24);
    disk->start(write);
    device.serve_all();
    disk->start(read);
    device.serve_all();
    disk->poll();
    EXPECT_TRUE(write.succeeded() && read.succeeded());
    EXPECT_EQ(read.bytes[1], 0x5A);
    EXPECT_TRUE(std::equal(read.data.begin(), read.data.end(), write.data.begin()));
}

TEST_F(Virtio, SmallQueuesTakeFewerSegmentsAndAsManyRequestsAsFit) {
    device.features |= kSizeMax;
    device.size_max = 512;
    device.entries = 16;
    const BlockDevice::Limits limits = up().limits();
    EXPECT_EQ(limits.request_bytes, 512u);
    EXPECT_EQ(limits.in_flight, 5u);
}

TEST_F(Virtio, TheConfigurationIsReadAgainIfItChangedMeanwhile) {
    device.changes = 5;
    EXPECT_EQ(up().limits().sectors, 4096u);
    EXPECT_GE(device.generation_reads, 6);
}

TEST_F(Virtio, ReadsWritesAndFlushesWithManyInFlightInAnyOrder) {
    up();
    const unsigned depth = disk->limits().in_flight;
    for (int round = 0; round < 40;
         ++round) {  // more than 2^16 / depth would be slow; the ring wraps many times
        std::vector<std::unique_ptr<TestRequest>> requests;
        for (unsigned i = 0; i < depth; ++i) {
            requests.push_back(std::make_unique<TestRequest>(Kind::kWrite, i * 8, 8, uint8_t(round + i)));
            disk->start(*requests.back());
        }
        device.take_offers();
        ASSERT_EQ(device.heads.size(), depth);
        std::rotate(device.heads.begin(), device.heads.begin() + round % depth, device.heads.end());
        std::reverse(device.heads.begin(), device.heads.end());
        for (const uint16_t head : device.heads) device.put_used(device.serve(head));
        device.heads.clear();
        disk->poll();
        for (const auto& request : requests) EXPECT_TRUE(request->succeeded());
        for (unsigned i = 0; i < depth; ++i)
            EXPECT_EQ(device.medium[i * 8 * kSectorBytes + 7], uint8_t(round + i));
    }
    TestRequest flush(Kind::kFlush);
    disk->start(flush);
    EXPECT_FALSE(flush.done);
    device.serve_all();
    disk->poll();
    EXPECT_TRUE(flush.succeeded());
    EXPECT_EQ(device.types.back(), 4u);
}

TEST_F(Virtio, TheRingsIndexWrapsAt65536) {
    up();
    TestRequest read(Kind::kRead, 3, 1);
    for (int i = 0; i < 70'000; ++i) {
        disk->start(read);
        device.serve_all();
        device.types.clear();
        disk->poll();
        ASSERT_TRUE(read.succeeded()) << i;
    }
}

TEST_F(Virtio, NotifiesUnlessTheDeviceIsLookingAnyway) {
    up();
    TestRequest first(Kind::kRead, 0, 1), second(Kind::kRead, 0, 1);
    disk->start(first);
    EXPECT_EQ(device.notices, 1u);
    device.want_no_notices();
    disk->start(second);
    EXPECT_EQ(device.notices, 1u);
    device.serve_all();
    disk->poll();
    EXPECT_TRUE(first.succeeded() && second.succeeded());
}

TEST_F(Virtio, WithoutTheFeatureAFlushIsDoneAtOnce) {
    device.features &= ~kFlush;
    up();
    TestRequest flush(Kind::kFlush);
    disk->start(flush);
    EXPECT_TRUE(flush.succeeded());
    EXPECT_EQ(device.notices, 0u);
}

TEST_F(Virtio, AReadOnlyDiskRefusesWrites) {
    device.features |= kReadOnly;
    EXPECT_TRUE(up().limits().read_only);
    TestRequest write(Kind::kWrite, 0, 1);
    disk->start(write);
    ASSERT_TRUE(write.done);
    EXPECT_EQ(write.code(), ErrorCode::kUnsupported);
}

TEST_F(Virtio, RequestsThatCannotBeAreRefusedBeforeTheDeviceSeesThem) {
    up();
    TestRequest beyond(Kind::kRead, 4095, 2), far(Kind::kRead, UINT64_MAX, 1), empty(Kind::kRead, 0, 0),
        large(Kind::kRead, 0, 2049), odd(Kind::kRead, 0, 2), part(Kind::kRead, 0, 1);
    odd.data = std::span<uint8_t>(odd.data.data() + 1, kSectorBytes);
    part.data = part.data.first(300);
    for (TestRequest* request : {&beyond, &far, &empty, &large, &odd, &part}) {
        disk->start(*request);
        ASSERT_TRUE(request->done);
        EXPECT_NE(request->code(), ErrorCode::kDevice) << request->error();
    }
    EXPECT_EQ(beyond.code(), ErrorCode::kOutOfRange);
    EXPECT_EQ(far.code(), ErrorCode::kOutOfRange);
    EXPECT_THAT(odd.error(), HasSubstr("even address"));
    device.take_offers();
    EXPECT_TRUE(device.heads.empty());
}

TEST_F(Virtio, ErrorsOfTheDeviceAreTheRequestsAndTheNextOneWorks) {
    up();
    const std::pair<uint8_t, std::string> cases[] = {
        {1, "I/O error"}, {2, "does not support"}, {77, "no valid status"}};
    for (const auto& [status, message] : cases) {
        TestRequest bad(Kind::kWrite, 17, 8);
        disk->start(bad);
        device.take_offers();
        device.put_used(device.serve(device.heads.front(), status));
        device.heads.clear();
        disk->poll();
        ASSERT_TRUE(bad.done);
        EXPECT_EQ(bad.code(), ErrorCode::kDevice);
        EXPECT_THAT(bad.error(), HasSubstr("virtio0: cannot write 4096 bytes at sector 17: "));
        EXPECT_THAT(bad.error(), HasSubstr(message));
        TestRequest good(Kind::kRead, 17, 8);
        disk->start(good);
        device.serve_all();
        disk->poll();
        EXPECT_TRUE(good.succeeded());
    }
}

TEST_F(Virtio, AShortReadIsAnErrorUnlessALegacyDeviceSaysIt) {
    for (const bool modern : {true, false}) {
        device.is_modern = modern;
        up();
        TestRequest read(Kind::kRead, 0, 8);
        disk->start(read);
        device.take_offers();
        UsedElement used = device.serve(device.heads.front());
        used.length = 2048;
        device.put_used(used);
        device.heads.clear();
        disk->poll();
        ASSERT_TRUE(read.done);
        EXPECT_EQ(read.outcome.ok(), !modern);
        if (!modern) continue;
        EXPECT_THAT(read.error(), HasSubstr("read less"));
        disk->~VirtioBlock();
        allocator.release(disk);
        disk = nullptr;
        device = FakeDevice();
    }
}

// ---- a device that does not keep to the rules

struct MaliciousVirtio : Virtio {
    TestRequest first{Kind::kRead, 0, 8}, second{Kind::kWrite, 8, 8}, later{Kind::kRead, 0, 1};

    void start_two() {
        up();
        disk->start(first);
        disk->start(second);
        device.take_offers();
        ASSERT_EQ(device.heads.size(), 2u);
    }
    /// The device is cut off, each request is done once and failed, and no later one reaches it.
    void expect_given_up(const std::string& reason) {
        disk->poll();
        for (const TestRequest* request : {&first, &second}) {
            ASSERT_TRUE(request->done);
            ASSERT_FALSE(request->outcome.ok());
            EXPECT_EQ(request->code(), ErrorCode::kDevice);
            EXPECT_THAT(request->error(), HasSubstr(reason));
        }
        EXPECT_EQ(device.resets_seen, 2u) << "at the start, and now";
        EXPECT_TRUE(device.dma_stopped);
        disk->poll();
        const unsigned notices = device.notices;
        disk->start(later);
        ASSERT_TRUE(later.done);
        EXPECT_EQ(later.code(), ErrorCode::kDevice);
        EXPECT_THAT(later.error(), HasSubstr("turned off"));
        EXPECT_EQ(device.notices, notices);
    }
};

TEST_F(MaliciousVirtio, AnIdBeyondTheQueueTurnsItOff) {
    start_two();
    device.put_used({64, 100});
    expect_given_up("nonsense");
}
TEST_F(MaliciousVirtio, AHugeIdTurnsItOff) {
    start_two();
    device.put_used({UINT32_MAX, UINT32_MAX});
    expect_given_up("nonsense");
}
TEST_F(MaliciousVirtio, TheMiddleOfAChainTurnsItOff) {
    start_two();
    device.put_used({static_cast<uint32_t>(device.heads.front() + 1), 1});
    expect_given_up("did not have");
}
TEST_F(MaliciousVirtio, ARequestThatNobodyMadeTurnsItOff) {
    start_two();
    device.put_used({9, 1});
    expect_given_up("did not have");
}
TEST_F(MaliciousVirtio, AnIdInTheRestBehindTheLastChainTurnsItOff) {
    start_two();
    device.put_used({63, 1});  // 21 chains of 3 use descriptors 0 to 62
    expect_given_up("did not have");
}
TEST_F(MaliciousVirtio, MoreThanIsInFlightTurnsItOff) {
    start_two();
    device.set_used_index(3);
    expect_given_up("nonsense");
}
TEST_F(MaliciousVirtio, AnIndexThatGoesBackTurnsItOff) {
    start_two();
    device.set_used_index(UINT16_MAX);
    expect_given_up("nonsense");
}
TEST_F(MaliciousVirtio, AnAnswerGivenTwiceTurnsItOff) {
    up();
    TestRequest done(Kind::kRead, 100, 1);
    disk->start(done);
    device.take_offers();
    const uint16_t head = device.heads.front();
    device.serve_all();
    device.heads.clear();
    disk->poll();
    EXPECT_TRUE(done.succeeded());
    disk->start(first);  // takes the slot that is free again
    disk->start(second);
    device.put_used(device.serve(head));
    disk->poll();
    EXPECT_TRUE(first.succeeded());
    device.put_used({head, 1});
    disk->poll();
    ASSERT_TRUE(second.done);
    EXPECT_THAT(second.error(), HasSubstr("did not have"));
    EXPECT_TRUE(device.dma_stopped);
}
TEST_F(MaliciousVirtio, AChangedDescriptorTableChangesNothing) {
    start_two();
    std::vector<UsedElement> answers;
    for (const uint16_t head : device.heads) answers.push_back(device.serve(head));
    device.scribble();
    for (const UsedElement& answer : answers) device.put_used(answer);
    disk->poll();
    EXPECT_TRUE(first.succeeded() && second.succeeded()) << "the driver goes by its own record";
    device.heads.clear();
    disk->start(later);
    device.serve_all();
    disk->poll();
    EXPECT_TRUE(later.succeeded());
}
TEST_F(MaliciousVirtio, NeedingAResetTurnsItOff) {
    start_two();
    device.state |= 64;
    disk->poll();
    EXPECT_FALSE(first.done) << "the status is not looked at with each poll";
    clock.now += kSecond;
    expect_given_up("says that it failed");
}
TEST_F(MaliciousVirtio, ADeviceThatIsGoneIsTurnedOff) {
    start_two();
    device.resets = false;
    device.state = 0xFF;
    clock.now += kSecond;
    expect_given_up("is gone");
}
TEST_F(MaliciousVirtio, SilenceForTenSecondsTurnsItOff) {
    start_two();
    clock.now += 9 * kSecond;
    disk->poll();
    EXPECT_FALSE(first.done);
    clock.now += 2 * kSecond;
    expect_given_up("in time");
}
TEST_F(MaliciousVirtio, ASlowDeviceThatGoesOnIsNotTurnedOff) {
    start_two();
    clock.now += 9 * kSecond;
    device.put_used(device.serve(device.heads[0]));
    disk->poll();
    EXPECT_TRUE(first.succeeded());
    clock.now += 9 * kSecond;
    disk->poll();
    EXPECT_FALSE(second.done) << "it had 18 s, but the device finished something 9 s ago";
    device.put_used(device.serve(device.heads[1]));
    disk->poll();
    EXPECT_TRUE(second.succeeded());
    clock.now += 60 * kSecond;
    disk->poll();
    TestRequest after(Kind::kRead, 0, 1);
    disk->start(after);
    disk->poll();
    EXPECT_FALSE(after.done) << "time without work does not count";
    device.heads.clear();
    device.serve_all();
    disk->poll();
    EXPECT_TRUE(after.succeeded());
}

TEST(Virtqueue, LaysTheTablesOutAsALegacyDeviceWantsThem) {
    // 2.7.2: for 256 entries the descriptors take 4096, the available ring 518, and the used ring starts at 8192.
    EXPECT_EQ(Virtqueue::bytes_for(256), 4096u * 3);
    EXPECT_EQ(Virtqueue::bytes_for(8), 4096u * 2);
    std::vector<uint8_t> memory(4096 * 4);
    auto* page =
        reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(memory.data()) + 4095) & ~uintptr_t{4095});
    const Virtqueue queue({page, 4096 * 3}, 256);
    EXPECT_EQ(queue.available() - queue.descriptors(), 4096u);
    EXPECT_EQ(queue.used() - queue.descriptors(), 8192u);
}

}  // namespace
}  // namespace bareflow
