#include "mm/frames.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <vector>

#include "tests/unit/mm/fake_memory.h"

namespace bareflow {
namespace {

using Ranges = std::vector<MemoryRange>;

FrameAllocator make(FakeMemory& memory, const Ranges& usable, const Ranges& reserved = {}) {
    auto frames = FrameAllocator::make(usable, reserved, memory);
    if (!frames.ok()) throw std::runtime_error(std::string(frames.error().message()));
    return frames.take();
}

TEST(Frames, CountWholeFramesOfUsableRamOnce) {
    FakeMemory memory(4 * kMiB);
    struct Case {
        const char* what;
        Ranges usable;
        uint64_t frames;
    };
    const Case cases[] = {
        {"one range", {{0x1000, 0x10000}}, 16},
        {"two that touch", {{0x1000, 0x4000}, {0x5000, 0x4000}}, 8},
        {"unsorted and overlapping", {{0x8000, 0x8000}, {0x1000, 0x9000}, {0x2000, 0x1000}}, 15},
        {"unaligned ends are cut off", {{0x1001, 0x3FFF}, {0x10800, 0x1000}}, 3},
        {"empty and tiny ranges", {{0x1000, 0}, {0x3000, 1}, {0x20000, 0x1000}, {0x40FFF, 2}}, 1},
        {"one that runs over the end of the address space is cut at 2^52",
         {{0x1000, 0x2000}, {UINT64_MAX, 9}},
         2},
    };
    for (const Case& c : cases)
        EXPECT_EQ(make(memory, c.usable).total_bytes(), c.frames * kFrameSize) << c.what;
}

TEST(Frames, NeverHandOutWhatIsReservedNorFrameZero) {
    FakeMemory memory(kMiB);
    // 16 frames; 3 and 4 touched by an unaligned reserved range, 8 reserved twice, 0 by itself, one for the
    // bitmaps.
    FrameAllocator frames = make(memory, {{0, 0x10000}},
                                 {{0x3FFF, 2}, {0x8000, 0x1000}, {0x8010, 0x10}, {0x9000, 0}, {kGiB, kGiB}});
    EXPECT_EQ(frames.total_bytes(), 16 * kFrameSize);
    EXPECT_EQ(frames.free_bytes(), 11 * kFrameSize);
    std::set<uint64_t> got;
    while (frames.free_bytes() > 0) got.insert(frames.allocate().take());
    EXPECT_EQ(frames.allocate().error().code(), ErrorCode::kOutOfMemory);
    EXPECT_EQ(got, (std::set<uint64_t>{0x2000, 0x5000, 0x6000, 0x7000, 0x9000, 0xA000, 0xB000, 0xC000, 0xD000,
                                       0xE000, 0xF000}));
}

TEST(Frames, ReachAcrossTheHoleBelowFourGigabytes) {
    FakeMemory memory(8 * kMiB);  // only the low part exists: the bitmaps must lie there
    FrameAllocator frames = make(memory, {{4 * kGiB, 2 * kGiB}, {kMiB, 7 * kMiB}});
    EXPECT_EQ(frames.end(), 6 * kGiB);
    EXPECT_EQ(frames.allocate(kGiB / kFrameSize, kGiB).take(), 4 * kGiB);
    EXPECT_EQ(frames.allocate(kGiB / kFrameSize, 2 * kMiB).take(), 5 * kGiB);
    EXPECT_LT(frames.allocate().take(), 8 * kMiB);
    EXPECT_EQ(frames.largest_free_run(), frames.free_bytes());
}

TEST(Frames, SayWhyTheyCannotBeMade) {
    FakeMemory memory(kMiB);
    EXPECT_EQ(FrameAllocator::make({}, {}, memory).error().code(), ErrorCode::kOutOfMemory);
    // The bitmaps for 1 TiB do not fit into three frames.
    const Ranges usable = {{0x1000, 0x3000}, {1024 * kGiB, kFrameSize}};
    EXPECT_EQ(FrameAllocator::make(usable, {}, memory).error().code(), ErrorCode::kOutOfMemory);
    const Ranges small = {{0x1000, 0x3000}};
    EXPECT_EQ(FrameAllocator::make(small, small, memory).error().code(), ErrorCode::kOutOfMemory);
}

TEST(Frames, RefuseSenselessRequests) {
    FakeMemory memory(kMiB);
    FrameAllocator frames = make(memory, {{0x1000, 0x10000}});
    const uint64_t free = frames.free_bytes();
    EXPECT_EQ(frames.allocate(0).error().code(), ErrorCode::kInvalid);
    EXPECT_EQ(frames.allocate(1, 0).error().code(), ErrorCode::kInvalid);
    EXPECT_EQ(frames.allocate(1, 0x800).error().code(), ErrorCode::kInvalid);
    EXPECT_EQ(frames.allocate(1, 0x3000).error().code(), ErrorCode::kInvalid);
    EXPECT_EQ(frames.allocate(SIZE_MAX).error().code(), ErrorCode::kOutOfMemory);
    EXPECT_EQ(frames.allocate(1, uint64_t{1} << 63).error().code(), ErrorCode::kOutOfMemory);
    EXPECT_EQ(frames.free_bytes(), free);
}

TEST(Frames, ReserveLaterAllOrNothing) {
    FakeMemory memory(kMiB);
    FrameAllocator frames = make(memory, {{0x1000, 0x10000}});
    const uint64_t mine = frames.allocate().take();
    const uint64_t free = frames.free_bytes();
    EXPECT_EQ(frames.reserve({mine - 1, 0x4000}).error().code(), ErrorCode::kInvalid);
    EXPECT_EQ(frames.free_bytes(), free);
    EXPECT_TRUE(frames.reserve({0xA001, 0x1000}).ok());  // touches two frames
    EXPECT_TRUE(frames.reserve({0xA000, 0x1000}).ok());  // again
    EXPECT_TRUE(frames.reserve({kGiB, kGiB}).ok());      // not RAM
    EXPECT_TRUE(frames.reserve({UINT64_MAX, UINT64_MAX}).ok());
    EXPECT_EQ(frames.free_bytes(), free - 2 * kFrameSize);
    EXPECT_DEATH(frames.release(0xA000, 1), "reserved");
}

TEST(FramesDeathTest, ReleasingWhatIsNotAllocatedIsAPanic) {
    FakeMemory memory(kMiB);
    FrameAllocator frames = make(memory, {{0x1000, 0x10000}, {0x20000, 0x1000}}, {{0x8000, 0x1000}});
    const uint64_t start = frames.allocate(2).take();
    EXPECT_DEATH(frames.release(start, 3), "free");
    EXPECT_DEATH(frames.release(start + 1, 1), "panic");
    EXPECT_DEATH(frames.release(0x8000, 1), "reserved");
    EXPECT_DEATH(frames.release(0x18000, 1), "reserved");  // a hole
    EXPECT_DEATH(frames.release(0x20000, 2), "panic");     // beyond the end
    EXPECT_DEATH(frames.release(start, SIZE_MAX / 2), "panic");
    frames.release(start, 1);
    EXPECT_DEATH(frames.release(start, 1), "free");
    frames.release(start + kFrameSize, 1);
}

/// What each frame is, kept the slow and obvious way.
struct Shadow {
    enum State : uint8_t { kHole, kReserved, kFree, kTaken };
    std::vector<State> states;

    Shadow(size_t count, const Ranges& usable, const Ranges& reserved) : states(count, kHole) {
        for (size_t f = 0; f < count; ++f) {
            const uint64_t start = f * kFrameSize, end = start + kFrameSize;
            // Byte by byte would be clearest; whole frames are inside a range exactly if both ends are.
            for (const MemoryRange& r : usable) {
                if (r.start <= start && end <= r.start + r.size) states[f] = kFree;
            }
            for (const MemoryRange& r : reserved) {
                if (states[f] == kFree && r.size > 0 && r.start < end && start < r.start + r.size)
                    states[f] = kReserved;
            }
        }
        if (states[0] == kFree) states[0] = kReserved;
    }
    size_t count(State state) const {
        return static_cast<size_t>(std::count(states.begin(), states.end(), state));
    }
    size_t find_run(size_t frames, size_t step) const {
        for (size_t first = 0; first + frames <= states.size(); first += step) {
            if (std::all_of(&states[first], &states[first] + frames, [](State s) { return s == kFree; }))
                return first;
        }
        return SIZE_MAX;
    }
    size_t largest_run() const {
        size_t largest = 0, run = 0;
        for (State s : states) largest = std::max(largest, run = s == kFree ? run + 1 : 0);
        return largest;
    }
};

TEST(Frames, BehaveLikeAListOfFramesInRandomUse) {
    std::mt19937_64 random(1);
    const auto below = [&](uint64_t limit) { return random() % limit; };
    constexpr size_t kFrames = 700;
    for (int round = 0; round < 60; ++round) {
        FakeMemory memory(4 * kMiB);
        Ranges usable, reserved;
        for (uint64_t i = 1 + below(6); i > 0; --i)
            usable.push_back({below(kFrames << 12), below(200 << 12)});
        for (uint64_t i = below(6); i > 0; --i) reserved.push_back({below(kFrames << 12), below(20 << 12)});
        for (MemoryRange& r : usable) r.size = std::min(r.size, (kFrames << 12) - r.start);
        usable.push_back({below(100) << 12, 50 << 12});

        Shadow shadow(kFrames, usable, reserved);
        auto made = FrameAllocator::make(usable, reserved, memory);
        const size_t bitmap_frame = shadow.find_run(1, 1);
        ASSERT_EQ(made.ok(), bitmap_frame != SIZE_MAX);
        if (!made.ok()) continue;
        FrameAllocator frames = made.take();
        ASSERT_EQ(frames.total_bytes(),
                  (shadow.count(Shadow::kFree) + shadow.count(Shadow::kReserved)) * kFrameSize);
        shadow.states[bitmap_frame] = Shadow::kReserved;

        std::map<uint64_t, size_t> live;
        for (int step = 0; step < 600; ++step) {
            if (below(2) == 0 || live.empty()) {
                const size_t count = below(8) == 0 ? 1 + below(80) : 1 + below(3);
                const size_t align = size_t{1} << (below(4) == 0 ? below(7) : 0);
                const size_t expected = shadow.find_run(count, align);
                auto got = frames.allocate(count, align * kFrameSize);
                ASSERT_EQ(got.ok(), expected != SIZE_MAX);
                if (!got.ok()) continue;
                ASSERT_EQ(got.value(), expected * kFrameSize);
                std::fill_n(&shadow.states[expected], count, Shadow::kTaken);
                live[got.value()] = count;
            } else {
                auto it = std::next(live.begin(), static_cast<long>(below(live.size())));
                const size_t part = 1 + below(it->second);  // give back from the start, maybe not all
                frames.release(it->first, part);
                std::fill_n(&shadow.states[it->first / kFrameSize], part, Shadow::kFree);
                if (part < it->second) live[it->first + part * kFrameSize] = it->second - part;
                live.erase(it);
            }
            ASSERT_EQ(frames.free_bytes(), shadow.count(Shadow::kFree) * kFrameSize);
            ASSERT_EQ(frames.largest_free_run(), shadow.largest_run() * kFrameSize);
        }
    }
}

}  // namespace
}  // namespace bareflow
