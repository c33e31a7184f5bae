#include "mm/heap.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <random>
#include <vector>

#include "mm/frame_pages.h"
#include "tests/unit/mm/fake_memory.h"
#include "tests/unit/mm/fake_pages.h"

namespace bareflow {
namespace {

struct FaultLog final : HeapFaultHandler {
    struct Entry {
        HeapFault fault;
        const void* pointer;
        size_t size;
    };
    void heap_fault(HeapFault fault, const void* pointer, size_t size) override {
        entries.push_back({fault, pointer, size});
    }
    std::vector<Entry> entries;
};

bool is_aligned_to(const void* pointer, size_t alignment) {
    return reinterpret_cast<uintptr_t>(pointer) % alignment == 0;
}

class HeapTest : public testing::TestWithParam<HeapChecks> {
 protected:
    void TearDown() override {
        EXPECT_TRUE(log.entries.empty());
        EXPECT_EQ(heap.verify(), 0u);
    }
    /// After everything was freed.
    void expect_all_returned() {
        EXPECT_EQ(heap.stats().in_use, 0u);
        EXPECT_EQ(heap.stats().allocations, 0u);
        EXPECT_LE(pages.pieces(), 2u);  // one spare slab, one spare arena
        EXPECT_EQ(heap.stats().reserved, pages.out());
        heap.trim();
        EXPECT_EQ(pages.out(), 0u);
    }
    FakePages pages;
    FaultLog log;
    Heap heap{pages, GetParam(), &log};
};
INSTANTIATE_TEST_SUITE_P(, HeapTest, testing::Values(HeapChecks::kOn, HeapChecks::kOff),
                         [](const auto& suite) {
                             return suite.param == HeapChecks::kOn ? "Checked" : "Unchecked";
                         });

TEST_P(HeapTest, GivesOneKilobyteOneMegabyteTenMegabytesAndAGigabyte) {
    for (size_t size : {kKiB, kMiB, 10 * kMiB, kGiB}) {
        auto* bytes = static_cast<uint8_t*>(heap.malloc(size));
        ASSERT_NE(bytes, nullptr) << size;
        bytes[0] = 1;
        bytes[size - 1] = 2;
        EXPECT_GE(heap.stats().in_use, size);
        heap.free(bytes);
    }
    EXPECT_GE(heap.stats().peak, kGiB);
    expect_all_returned();
}

TEST_P(HeapTest, AlignsToAnyPowerOfTwoUpToTwoMegabytesAndBeyond) {
    std::vector<void*> blocks;
    for (size_t alignment = 1; alignment <= 4 * kMiB; alignment *= 2) {
        for (size_t size : {size_t{0}, size_t{1}, size_t{24}, size_t{100}, size_t{1000}, size_t{5000},
                            300 * kKiB, 3 * kMiB}) {
            auto* bytes = static_cast<uint8_t*>(heap.aligned_alloc(alignment, size));
            ASSERT_NE(bytes, nullptr) << alignment << " " << size;
            EXPECT_TRUE(is_aligned_to(bytes, std::max<size_t>(alignment, 16))) << alignment << " " << size;
            std::memset(bytes, 0x5A, size);
            blocks.push_back(bytes);
        }
    }
    EXPECT_EQ(heap.verify(), 0u);
    for (void* block : blocks) heap.free(block);
    expect_all_returned();
}

TEST_P(HeapTest, HugeBlocksAreAlignedToTheirPages) {
    void* huge = heap.malloc(3 * kMiB);
    EXPECT_TRUE(is_aligned_to(huge, 2 * kMiB));
    pages.refuse_alignment = true;  // where that cannot be had, without
    void* other = heap.malloc(3 * kMiB);
    EXPECT_NE(other, nullptr);
    heap.free(huge);
    heap.free(other);
}

TEST_P(HeapTest, RefusesWhatCannotBe) {
    EXPECT_EQ(heap.malloc(SIZE_MAX), nullptr);
    EXPECT_EQ(heap.malloc(SIZE_MAX - 8), nullptr);
    EXPECT_EQ(heap.malloc(SIZE_MAX / 2), nullptr);
    EXPECT_EQ(heap.malloc(SIZE_MAX / 4), nullptr);
    EXPECT_EQ(heap.aligned_alloc(0, 8), nullptr);
    EXPECT_EQ(heap.aligned_alloc(24, 8), nullptr);
    void* block = heap.malloc(100);
    EXPECT_EQ(heap.realloc(block, SIZE_MAX), nullptr);
    EXPECT_EQ(heap.realloc(block, SIZE_MAX / 4), nullptr);
    heap.free(block);
    heap.free(nullptr);
    expect_all_returned();
}

TEST_P(HeapTest, EmptyBlocksAreBlocksOfTheirOwn) {
    void* a = heap.malloc(0);
    void* b = heap.malloc(0);
    EXPECT_NE(a, nullptr);
    EXPECT_NE(a, b);
    a = heap.realloc(a, 0);
    EXPECT_NE(a, nullptr);
    heap.free(a);
    heap.free(b);
    expect_all_returned();
}

TEST_P(HeapTest, JoinsFreeNeighboursInWhateverOrderTheyAreFreed) {
    std::array<int, 5> order = {0, 1, 2, 3, 4};
    do {
        std::array<void*, 5> blocks;
        for (void*& block : blocks) block = heap.malloc(300 * kKiB);
        const size_t reserved = heap.stats().reserved;
        for (int i : order) heap.free(blocks[static_cast<size_t>(i)]);
        const HeapStats stats = heap.stats();
        ASSERT_EQ(stats.largest_free, stats.free_bytes);
        ASSERT_EQ(stats.fragmentation(), 0.0);
        ASSERT_EQ(stats.reserved, reserved);  // all five were in the one arena that is the spare now
    } while (std::next_permutation(order.begin(), order.end()));
    expect_all_returned();
}

TEST_P(HeapTest, ReportsFragmentation) {
    std::vector<void*> blocks;
    for (int i = 0; i < 20; ++i) blocks.push_back(heap.malloc(100 * kKiB));
    for (size_t i = 0; i < blocks.size(); i += 2) heap.free(blocks[i]);
    const HeapStats stats = heap.stats();
    EXPECT_NEAR(stats.fragmentation(), 0.9, 0.03);  // ten equal holes and a rest
    EXPECT_EQ(stats.allocations, 10u);
    EXPECT_EQ(stats.total_allocations, 20u);
    EXPECT_NEAR(static_cast<double>(stats.peak), 2.0 * static_cast<double>(stats.in_use), 100.0);
    // The holes are used before new pages are.
    for (size_t i = 0; i < blocks.size(); i += 2) blocks[i] = heap.malloc(100 * kKiB);
    EXPECT_EQ(heap.stats().reserved, stats.reserved);
    for (void* block : blocks) heap.free(block);
    expect_all_returned();
}

TEST_P(HeapTest, ReallocStaysInPlaceWhereItCan) {
    auto* middle = static_cast<uint8_t*>(heap.malloc(10'000));
    std::memset(middle, 0x11, 10'000);
    EXPECT_EQ(heap.realloc(middle, 400'000), middle);  // nothing behind it
    EXPECT_EQ(heap.realloc(middle, 20'000), middle);
    void* behind = heap.malloc(5'000);
    EXPECT_LT(static_cast<void*>(middle), behind);
    auto* moved = static_cast<uint8_t*>(heap.realloc(middle, 100'000));
    EXPECT_NE(moved, middle);
    EXPECT_TRUE(std::all_of(moved, moved + 10'000, [](uint8_t byte) { return byte == 0x11; }));

    void* small = heap.malloc(70);
    EXPECT_EQ(heap.realloc(small, 60), small);
    void* big = heap.malloc(2 * kMiB - 100);
    EXPECT_EQ(heap.realloc(big, 2 * kMiB - 50), big);
    EXPECT_EQ(heap.realloc(big, kMiB + kMiB / 2), big);
    void* shrunk = heap.realloc(big, 100);
    EXPECT_NE(shrunk, big);  // two megabytes are not kept for 100 bytes
    for (void* block : {static_cast<void*>(moved), behind, small, shrunk}) heap.free(block);
    expect_all_returned();
}

TEST_P(HeapTest, ReallocKeepsContentsAcrossAllKindsOfBlocks) {
    const size_t sizes[] = {1, 16, 17, 500, 1016, 1024, 1025, 40'000, 900'000, kMiB - 1, kMiB, 5 * kMiB};
    for (size_t from : sizes) {
        for (size_t to : sizes) {
            auto* bytes = static_cast<uint8_t*>(heap.malloc(from));
            for (size_t i = 0; i < from; ++i) bytes[i] = static_cast<uint8_t>(i * 131 >> 3);
            bytes = static_cast<uint8_t*>(heap.realloc(bytes, to));
            ASSERT_NE(bytes, nullptr);
            for (size_t i = 0; i < std::min(from, to); ++i)
                ASSERT_EQ(bytes[i], static_cast<uint8_t>(i * 131 >> 3));
            std::memset(bytes, 0, to);
            heap.free(bytes);
        }
    }
    expect_all_returned();
}

TEST_P(HeapTest, OutOfMemoryIsANullPointerAndNothingBreaks) {
    pages.limit = 5 * kMiB;
    EXPECT_EQ(heap.malloc(6 * kMiB), nullptr);
    std::vector<void*> blocks;
    while (void* block = heap.malloc(50'000)) blocks.push_back(block);
    EXPECT_GE(blocks.size() * 50'000, 4 * kMiB);  // also the last megabyte, where no arena fits
    auto* last = static_cast<uint8_t*>(blocks.back());
    std::memset(last, 0x77, 50'000);
    EXPECT_EQ(heap.realloc(last, 2 * kMiB), nullptr);
    EXPECT_TRUE(std::all_of(last, last + 50'000, [](uint8_t byte) { return byte == 0x77; }));
    blocks.back() = heap.realloc(last, 2'000);
    ASSERT_NE(blocks.back(), nullptr);  // smaller always works
    std::vector<void*> small;
    while (void* block = heap.malloc(100)) small.push_back(block);
    EXPECT_EQ(heap.verify(), 0u);
    for (void* block : small) heap.free(block);
    for (void* block : blocks) heap.free(block);
    // What is kept as spare does not stand in the way of a big block.
    void* big = heap.malloc(4 * kMiB + kMiB / 2);
    EXPECT_NE(big, nullptr);
    heap.free(big);
    expect_all_returned();
}

TEST_P(HeapTest, KeepsAtMostOneSpareArena) {
    std::vector<void*> blocks;
    for (int i = 0; i < 50; ++i) blocks.push_back(heap.malloc(500 * kKiB));
    EXPECT_GT(pages.out(), 20 * kMiB);
    for (void* block : blocks) heap.free(block);
    EXPECT_LE(pages.out(), 2 * kMiB);
    // Going to and fro at the border does not take and give each time.
    const size_t out = pages.out();
    for (int i = 0; i < 10; ++i) {
        void* block = heap.malloc(500 * kKiB);
        EXPECT_EQ(pages.out(), out);
        heap.free(block);
        EXPECT_EQ(pages.out(), out);
    }
    expect_all_returned();
}

TEST_P(HeapTest, RandomUseMatchesAShadow) {
    struct Live {
        uint8_t* bytes;
        size_t size;
        uint64_t pattern;
    };
    std::mt19937_64 random(7);
    const auto below = [&](uint64_t limit) { return random() % limit; };
    const auto random_size = [&]() -> size_t {
        switch (below(32)) {
            case 0:
                return below(4 * kMiB);
            case 1:
                return kMiB - 16 + below(32);
            case 2:
            case 3:
            case 4:
                return below(100'000);
            case 5:
            case 6:
            case 7:
            case 8:
                return below(5'000);
            default:
                return below(1'100);
        }
    };
    const auto byte_at = [](const Live& live, size_t i) {
        return static_cast<uint8_t>(live.pattern >> (i % 7) ^ i);
    };
    // Contents: the ends and a sample between, so that megabytes cost little.
    const auto step_of = [](const Live& live) { return live.size / 500 + 1; };
    const auto fill = [&](const Live& live) {
        for (size_t i = 0; i < live.size; i += step_of(live)) live.bytes[i] = byte_at(live, i);
        if (live.size > 0) live.bytes[live.size - 1] = byte_at(live, live.size - 1);
    };
    const auto check = [&](const Live& live) {
        for (size_t i = 0; i < live.size; i += step_of(live)) ASSERT_EQ(live.bytes[i], byte_at(live, i));
        if (live.size > 0) {
            ASSERT_EQ(live.bytes[live.size - 1], byte_at(live, live.size - 1));
        }
    };

    constexpr int kOperations = 120'000;
    pages.limit = 96 * kMiB;
    std::vector<Live> live;
    std::map<uint8_t*, size_t> extents;  // no two blocks overlap
    const auto add = [&](const Live& block) {
        auto [it, fresh] = extents.emplace(block.bytes, block.size);
        ASSERT_TRUE(fresh);
        const bool after_one = it != extents.begin(), before_one = std::next(it) != extents.end();
        ASSERT_TRUE(!after_one || std::prev(it)->first + std::prev(it)->second <= block.bytes);
        ASSERT_TRUE(!before_one || block.bytes + block.size <= std::next(it)->first);
    };
    int exhausted = 0;
    for (int operation = 0; operation < kOperations; ++operation) {
        // Waves of growing and shrinking, so that slabs and arenas come and go.
        const bool grow = operation / 10'000 % 2 == 0;
        const uint64_t dice = below(10);
        if (live.empty() || dice < (grow ? 6u : 3u)) {
            const size_t size = random_size();
            const size_t alignment = below(8) == 0 ? size_t{1} << below(22) : 16;
            Live block{static_cast<uint8_t*>(heap.allocate(size, alignment)), size, random()};
            if (block.bytes == nullptr) {
                ++exhausted;
                continue;
            }
            ASSERT_TRUE(is_aligned_to(block.bytes, alignment));
            ASSERT_NO_FATAL_FAILURE(add(block));
            fill(block);
            live.push_back(block);
        } else {
            Live& block = live[below(live.size())];
            ASSERT_NO_FATAL_FAILURE(check(block));
            if (dice >= 8) {
                const size_t size = below(2) == 0 ? random_size() : block.size + below(64);
                auto* bytes = static_cast<uint8_t*>(heap.realloc(block.bytes, size));
                if (bytes == nullptr) {
                    ++exhausted;
                    continue;
                }
                extents.erase(block.bytes);
                Live resized{bytes, std::min(size, block.size), block.pattern};
                for (size_t i = 0; i < resized.size; i += step_of(block))
                    ASSERT_EQ(bytes[i], byte_at(block, i));
                resized.size = size;
                ASSERT_NO_FATAL_FAILURE(add(resized));
                fill(resized);
                block = resized;
            } else {
                extents.erase(block.bytes);
                heap.free(block.bytes);
                block = live.back();
                live.pop_back();
            }
        }
        ASSERT_TRUE(operation % 1'000 != 0 || heap.verify() == 0);
        ASSERT_EQ(heap.stats().allocations, live.size());
        ASSERT_EQ(heap.stats().reserved, pages.out());
        ASSERT_LE(heap.stats().in_use, heap.stats().reserved);
    }
    EXPECT_GT(exhausted, 0);
    for (const Live& block : live) {
        ASSERT_NO_FATAL_FAILURE(check(block));
        heap.free(block.bytes);
    }
    expect_all_returned();
}

TEST_P(HeapTest, RunsOnPhysicalFramesAndGivesThemAllBack) {
    FakeMemory memory(16 * kMiB);
    const MemoryRange usable[] = {{0, 16 * kMiB}};
    FrameAllocator frames = FrameAllocator::make(usable, {}, memory).take();
    const uint64_t free = frames.free_bytes();
    FramePages source(frames, memory);
    Heap on_frames(source, GetParam());
    std::vector<void*> blocks;
    for (size_t size : {size_t{30}, size_t{3000}, 3 * kMiB, size_t{60}, size_t{200'000}, 2 * kMiB}) {
        blocks.push_back(on_frames.malloc(size));
        ASSERT_NE(blocks.back(), nullptr);
        std::memset(blocks.back(), 0x33, size);
    }
    EXPECT_EQ(on_frames.malloc(16 * kMiB), nullptr);
    EXPECT_EQ(frames.free_bytes(), free - on_frames.stats().reserved);
    for (void* block : blocks) on_frames.free(block);
    on_frames.trim();
    EXPECT_EQ(frames.free_bytes(), free);
}

// ---------------------------------------------------------------- misuse

class HeapMisuse : public testing::Test {
 protected:
    void expect_fault(HeapFault fault, const void* pointer) {
        ASSERT_EQ(log.entries.size(), 1u);
        EXPECT_EQ(log.entries[0].fault, fault);
        EXPECT_EQ(log.entries[0].pointer, pointer);
        log.entries.clear();
    }
    FakePages pages;
    FaultLog log;
    Heap heap{pages, HeapChecks::kOn, &log};
};
constexpr size_t kOneOfEachKind[] = {1, 24, 500, 1016, 2'000, 70'000, kMiB - 1, kMiB, 3 * kMiB};

TEST_F(HeapMisuse, NoticesADoubleFree) {
    for (size_t size : kOneOfEachKind) {
        SCOPED_TRACE(size);
        void* before = heap.malloc(size);
        void* block = heap.malloc(size);
        void* after = heap.malloc(size);
        heap.free(block);
        EXPECT_TRUE(log.entries.empty());
        heap.free(block);
        // A big block's pages are gone, and with them the knowledge that there was one.
        expect_fault(size < kMiB ? HeapFault::kDoubleFree : HeapFault::kForeignPointer, block);
        heap.free(before);  // now joined with its neighbours: still noticed
        heap.free(block);
        expect_fault(size < kMiB ? HeapFault::kDoubleFree : HeapFault::kForeignPointer, block);
        EXPECT_EQ(heap.realloc(block, 10), nullptr);
        expect_fault(size < kMiB ? HeapFault::kDoubleFree : HeapFault::kForeignPointer, block);
        heap.free(after);
        EXPECT_EQ(heap.stats().allocations, 0u);
    }
    heap.trim();
    EXPECT_EQ(pages.out(), 0u);
}

TEST_F(HeapMisuse, NoticesAnOverrunOfOneByte) {
    for (size_t size : kOneOfEachKind) {
        for (size_t beyond = 0; beyond < 8; ++beyond) {
            SCOPED_TRACE(testing::Message() << size << " + " << beyond);
            auto* block = static_cast<uint8_t*>(heap.malloc(size));
            const uint8_t good = block[size + beyond];
            block[size + beyond] ^= 0x20;
            EXPECT_EQ(heap.verify(), 1u);
            expect_fault(HeapFault::kOverrun, block);
            heap.free(block);
            expect_fault(HeapFault::kOverrun, block);
            EXPECT_EQ(heap.realloc(block, size), nullptr);
            expect_fault(HeapFault::kOverrun, block);
            EXPECT_EQ(heap.stats().allocations, 1u);  // left alone
            block[size + beyond] = good;
            heap.free(block);
            EXPECT_TRUE(log.entries.empty());
        }
    }
}

TEST_F(HeapMisuse, NoticesALongOverrunAndKeepsItsOwnHead) {
    for (size_t size : {size_t{24}, size_t{2'000}, size_t{70'000}}) {
        SCOPED_TRACE(size);
        auto* block = static_cast<uint8_t*>(heap.malloc(size));
        auto* next = static_cast<uint8_t*>(heap.malloc(size));
        ASSERT_EQ(heap.malloc(size) == nullptr, false);
        std::memset(block + size, 0x41,
                    static_cast<size_t>(next - block) - size);  // up to the next block's bytes
        heap.free(block);
        expect_fault(HeapFault::kOverrun, block);
        EXPECT_GE(heap.verify(), 1u);
        log.entries.clear();
        EXPECT_NE(heap.malloc(size), nullptr);  // goes on
    }
}

TEST_F(HeapMisuse, NoticesForeignPointers) {
    alignas(16) uint8_t on_stack[64] = {};
    heap.free(on_stack + 16);
    expect_fault(HeapFault::kForeignPointer, on_stack + 16);
    heap.free(reinterpret_cast<void*>(8));
    expect_fault(HeapFault::kForeignPointer, reinterpret_cast<void*>(8));
    for (size_t size : kOneOfEachKind) {
        SCOPED_TRACE(size);
        auto* block = static_cast<uint8_t*>(heap.malloc(size));
        std::memset(block, 0, size);
        for (size_t inside : {size_t{1}, size_t{8}, size_t{16}, size_t{4096}, size / 2}) {
            if (inside == 0 || inside >= size) continue;
            heap.free(block + inside);
            expect_fault(HeapFault::kForeignPointer, block + inside);
        }
        heap.free(block);
        EXPECT_TRUE(log.entries.empty());
    }
    // The headers of slab and arena are nobody's blocks.
    void* small = heap.malloc(24);
    void* middle = heap.malloc(2'000);
    for (void* block : {small, middle}) {
        void* header = reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(block) & ~uintptr_t{4095});
        heap.free(header);
        expect_fault(HeapFault::kForeignPointer, header);
    }
    heap.free(small);
    heap.free(middle);
}

TEST_F(HeapMisuse, WithoutAHandlerIsAPanicThatNamesIt) {
    Heap bare(pages);
    void* block = bare.malloc(24);
    void* other = bare.malloc(24);
    bare.free(block);
    EXPECT_DEATH(bare.free(block), "double free");
    EXPECT_DEATH(bare.free(&bare), "no live block");
    static_cast<uint8_t*>(other)[24] = 0;
    EXPECT_DEATH(bare.free(other), "overrun");
}

/// `unit-tests --gtest_filter='HeapCost*' --gtest_also_run_disabled_tests`
TEST(HeapCost, DISABLED_OfAnAllocationAndItsRelease) {
    for (size_t size : {size_t{24}, size_t{500}, size_t{5'000}, size_t{100'000}, 2 * kMiB}) {
        double nanoseconds[2] = {};
        for (HeapChecks checks : {HeapChecks::kOff, HeapChecks::kOn}) {
            FakeMemory memory(64 * kMiB);
            const MemoryRange usable[] = {{0, 64 * kMiB}};
            FrameAllocator frames = FrameAllocator::make(usable, {}, memory).take();
            FramePages source(frames, memory);
            Heap heap(source, checks);
            std::array<void*, 16> blocks;
            double best = 1e9;  // of many rounds: whatever else the machine does only makes some slower
            for (int round = 0; round < 20'000; ++round) {
                const auto start = std::chrono::steady_clock::now();
                for (void*& block : blocks) block = heap.malloc(size);
                for (void* block : blocks) heap.free(block);
                const std::chrono::duration<double, std::nano> time =
                    std::chrono::steady_clock::now() - start;
                best = std::min(best, time.count());
            }
            nanoseconds[checks == HeapChecks::kOn] = best / static_cast<double>(blocks.size());
        }
        std::printf("malloc+free %8zu bytes: %6.0f ns, checked %6.0f ns\n", size, nanoseconds[0],
                    nanoseconds[1]);
    }
}

}  // namespace
}  // namespace bareflow
