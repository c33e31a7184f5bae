#include "mm/page_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

#include "tests/unit/mm/fake_memory.h"
#include "tests/unit/mm/software_mmu.h"

namespace bareflow {

std::ostream& operator<<(std::ostream& out, const Mapping& run) { return out << describe(run).view(); }

namespace {

constexpr uint64_t k4K = 4 * kKiB, k2M = 2 * kMiB, k1G = kGiB;
constexpr uint64_t kUpperHalf = 0xFFFF800000000000;

/// A machine with `ram` bytes, whose page tables are read by a software MMU with a TLB.
struct Machine {
    explicit Machine(bool nx = true, bool page_1g = true, uint64_t ram = 4 * kMiB)
        : memory(ram),
          frames(make_frames(memory, ram)),
          mmu(memory, nx),
          space(AddressSpace::make(frames, memory, mmu, nx, page_1g).take()) {
        mmu.root = space.root();
        free_when_empty = frames.free_bytes();
    }
    static FrameAllocator make_frames(FakeMemory& memory, uint64_t ram) {
        const MemoryRange usable[] = {{0, ram}};
        return FrameAllocator::make(usable, {}, memory).take();
    }
    std::vector<Mapping> runs() const {
        std::vector<Mapping> result;
        space.walk([&](const Mapping& run) { result.push_back(run); });
        return result;
    }
    /// lookup() and the MMU agree about `address`.
    void check_address(uint64_t address) {
        const std::optional<Mapping> mine = space.lookup(address);
        const std::optional<Mapping> cpu = mmu.translate(address);
        ASSERT_EQ(mine, cpu) << std::hex << address;
    }
    uint64_t table_bytes() const { return free_when_empty - frames.free_bytes(); }

    FakeMemory memory;
    FrameAllocator frames;
    SoftwareMmu mmu;
    AddressSpace space;
    uint64_t free_when_empty = 0;
};

using Runs = std::vector<Mapping>;

TEST(PageTable, MapsWithTheLargestPagesThatFit) {
    Machine machine;
    // All of 3 GiB and a bit but page 0, as the kernel's identity map has it.
    ASSERT_TRUE(machine.space.map(k4K, k4K, 3 * k1G + k2M - k4K, kReadWrite).ok());
    EXPECT_EQ(machine.runs(), (Runs{{k4K, k4K, k2M - k4K, kReadWrite, k4K},
                                    {k2M, k2M, k1G - k2M, kReadWrite, k2M},
                                    {k1G, k1G, 2 * k1G, kReadWrite, k1G},
                                    {3 * k1G, 3 * k1G, k2M, kReadWrite, k2M}}));
    EXPECT_EQ(machine.table_bytes(), 4 * kFrameSize);  // PDPT, two PDs, one PT
    for (uint64_t address :
         {uint64_t{0}, k4K - 1, k4K, k2M - 1, k2M, k1G - 1, k1G, 3 * k1G, 3 * k1G + k2M - 1, 3 * k1G + k2M}) {
        machine.check_address(address);
    }
}

TEST(PageTable, WithoutGigabytePagesUsesTwoMegabytes) {
    Machine machine(true, false);
    ASSERT_TRUE(machine.space.map(0, 0, 2 * k1G, kReadWrite).ok());
    EXPECT_EQ(machine.runs(), (Runs{{0, 0, 2 * k1G, kReadWrite, k2M}}));
}

TEST(PageTable, UsesSmallPagesWherePhysicalAndVirtualAddressesDisagree) {
    Machine machine;
    ASSERT_TRUE(machine.space.map(k1G, k2M, k1G, kReadOnly).ok());
    ASSERT_TRUE(machine.space.map(4 * k1G, k4K, k2M, kReadOnly).ok());
    EXPECT_EQ(machine.runs(), (Runs{{k1G, k2M, k1G, kReadOnly, k2M}, {4 * k1G, k4K, k2M, kReadOnly, k4K}}));
}

TEST(PageTable, UnmappingOnePageSplitsAGigabyteAndFreesNothingElse) {
    Machine machine;
    ASSERT_TRUE(machine.space.map(0, 0, 2 * k1G, kReadExecute).ok());
    const uint64_t hole = k1G + 5 * k2M + 7 * k4K;
    ASSERT_TRUE(machine.space.unmap(hole, k4K).ok());
    EXPECT_EQ(machine.runs(), (Runs{{0, 0, k1G, kReadExecute, k1G},
                                    {k1G, k1G, 5 * k2M, kReadExecute, k2M},
                                    {k1G + 5 * k2M, k1G + 5 * k2M, 7 * k4K, kReadExecute, k4K},
                                    {hole + k4K, hole + k4K, 504 * k4K, kReadExecute, k4K},
                                    {k1G + 6 * k2M, k1G + 6 * k2M, 506 * k2M, kReadExecute, k2M}}));
    EXPECT_FALSE(machine.space.lookup(hole));
    for (uint64_t address : {hole - 1, hole, hole + k4K - 1, hole + k4K}) machine.check_address(address);
}

TEST(PageTable, ProtectGivesAKernelItsSectionsInsideTheIdentityMap) {
    Machine machine;
    ASSERT_TRUE(machine.space.map(0, 0, k1G, kReadWrite).ok());
    const uint64_t kernel = 16 * kMiB;
    ASSERT_TRUE(machine.space.unmap(0, k4K).ok());
    ASSERT_TRUE(machine.space.protect(kernel, 300 * kKiB, kReadExecute).ok());
    ASSERT_TRUE(machine.space.protect(kernel + 300 * kKiB, 100 * kKiB, kReadOnly).ok());
    ASSERT_TRUE(machine.space.protect(0xB8000, 32 * kKiB, kDevice).ok());
    EXPECT_EQ(machine.space.lookup(kernel)->rights, kReadExecute);
    EXPECT_EQ(machine.space.lookup(kernel + 299 * kKiB)->rights, kReadExecute);
    EXPECT_EQ(machine.space.lookup(kernel + 300 * kKiB)->rights, kReadOnly);
    EXPECT_EQ(machine.space.lookup(kernel + 400 * kKiB)->rights, kReadWrite);
    EXPECT_EQ(machine.space.lookup(0xB8000)->rights, kDevice);
    for (uint64_t address = 0; address < k1G; address += 37 * k4K) machine.check_address(address);
}

TEST(PageTable, ProtectingToTheSameRightsSplitsNothing) {
    Machine machine;
    ASSERT_TRUE(machine.space.map(0, 0, k1G, kReadWrite).ok());
    machine.mmu.flushes.clear();
    ASSERT_TRUE(machine.space.protect(k4K, k4K, kReadWrite).ok());
    EXPECT_EQ(machine.runs(), (Runs{{0, 0, k1G, kReadWrite, k1G}}));
    EXPECT_TRUE(machine.mmu.flushes.empty());
}

TEST(PageTable, UnmappingEverythingFreesAllTablesButTheRoot) {
    Machine machine;
    ASSERT_TRUE(machine.space.map(k4K, k4K, 2 * k1G, kReadWrite).ok());
    ASSERT_TRUE(machine.space.map(kUpperHalf, 0, 3 * k4K, kReadOnly).ok());
    ASSERT_TRUE(machine.space.unmap(k1G + k4K, k4K).ok());
    ASSERT_TRUE(machine.space.unmap(k4K, k1G).ok());
    ASSERT_TRUE(machine.space.unmap(k1G + 2 * k4K, k1G - k4K).ok());
    ASSERT_TRUE(machine.space.unmap(kUpperHalf, 3 * k4K).ok());
    EXPECT_EQ(machine.runs(), Runs{});
    EXPECT_EQ(machine.table_bytes(), 0u);
}

TEST(PageTable, DestroyGivesBackEveryTable) {
    Machine machine;
    ASSERT_TRUE(machine.space.map(k4K, k4K, 2 * k1G, kReadWrite).ok());
    machine.space.destroy();
    EXPECT_EQ(machine.frames.free_bytes(), machine.free_when_empty + kFrameSize);
}

TEST(PageTable, WithoutNxNoEntryHasTheBit) {
    Machine machine(false);
    ASSERT_TRUE(machine.space.map(0, 0, k1G + k2M + k4K, kReadWrite).ok());
    ASSERT_TRUE(machine.space.protect(k2M, k4K, kReadOnly).ok());
    ASSERT_TRUE(machine.space.protect(k1G, k4K, kDevice).ok());
    EXPECT_EQ(machine.mmu.or_of_all_entries() >> 63,
              0u);  // the MMU also throws if it is set without EFER.NXE
    EXPECT_TRUE(machine.space.lookup(k2M)->rights.execute);
    machine.check_address(k2M);
    machine.check_address(k1G);
}

TEST(PageTable, ReachesTheEdgesOfBothHalves) {
    Machine machine;
    const uint64_t last_low = 0x00007FFFFFFFF000, last_high = 0xFFFFFFFFFFFFF000;
    ASSERT_TRUE(machine.space.map(last_low, k4K, k4K, kReadOnly).ok());
    ASSERT_TRUE(machine.space.map(kUpperHalf, 2 * k4K, k4K, kReadWrite).ok());
    ASSERT_TRUE(machine.space.map(last_high, 3 * k4K, k4K, kReadExecute).ok());
    EXPECT_EQ(machine.runs(), (Runs{{last_low, k4K, k4K, kReadOnly, k4K},
                                    {kUpperHalf, 2 * k4K, k4K, kReadWrite, k4K},
                                    {last_high, 3 * k4K, k4K, kReadExecute, k4K}}));
    for (uint64_t address : {last_low, last_low + 0xFFF, last_low + k4K, kUpperHalf - 1, kUpperHalf,
                             last_high, UINT64_MAX, uint64_t{1} << 63}) {
        machine.check_address(address);
    }
    ASSERT_TRUE(machine.space.unmap(last_high, k4K).ok());
    EXPECT_FALSE(machine.space.lookup(last_high));
}

TEST(PageTable, RefusesRangesThatMakeNoSense) {
    Machine machine;
    ASSERT_TRUE(machine.space.map(k1G, k1G, k1G, kReadWrite).ok());
    const Runs before = machine.runs();
    struct Case {
        uint64_t start, size;
    };
    const Case cases[] = {
        {k1G, 0},
        {k1G + 1, k4K},
        {k1G, k4K + 8},
        {0x00007FFFFFFFF000, 2 * k4K},             // over the edge of the lower half
        {0x0000800000000000, k4K},                 // not canonical
        {0xFFFF7FFFFFFFF000, k4K},                 // not canonical
        {0x00007FFFFFFFF000, 0xFFFF000000002000},  // from half to half
        {0xFFFFFFFFFFFFF000, 2 * k4K},             // wraps around
        {k4K, 0 - k4K},
    };
    for (const Case& c : cases) {
        EXPECT_EQ(machine.space.map(c.start, 0, c.size, kReadOnly).error().code(), ErrorCode::kInvalid)
            << c.start;
        EXPECT_EQ(machine.space.unmap(c.start, c.size).error().code(), ErrorCode::kInvalid) << c.start;
        EXPECT_EQ(machine.space.protect(c.start, c.size, kReadOnly).error().code(), ErrorCode::kInvalid)
            << c.start;
    }
    EXPECT_FALSE(machine.space.map(4 * k1G, 1, k4K, kReadOnly).ok());  // unaligned frame
    EXPECT_FALSE(
        machine.space.map(4 * k1G, kPhysicalLimit - k4K, 2 * k4K, kReadOnly).ok());  // beyond 52 bits
    EXPECT_FALSE(machine.space.map(4 * k1G, UINT64_MAX - 0xFFF, 2 * k4K, kReadOnly).ok());
    EXPECT_EQ(machine.runs(), before);
}

TEST(PageTable, RefusesToMapTwiceAndToChangeHolesAndLeavesAllAsItWas) {
    Machine machine;
    ASSERT_TRUE(machine.space.map(k2M + k4K, k2M + k4K, k2M, kReadWrite).ok());  // 4 KiB pages around 4 MiB
    ASSERT_TRUE(machine.space.map(k1G, k1G, k1G, kReadWrite).ok());
    const Runs before = machine.runs();
    const uint64_t tables = machine.table_bytes();
    EXPECT_FALSE(machine.space.map(0, 0, k2M + 2 * k4K, kReadOnly).ok());    // runs into small pages
    EXPECT_FALSE(machine.space.map(k2M, k2M, k2M, kReadOnly).ok());          // a large page over small ones
    EXPECT_FALSE(machine.space.map(k1G + k2M, 0, k4K, kReadOnly).ok());      // inside a 1 GiB page
    EXPECT_FALSE(machine.space.map(k1G - k4K, 0, 2 * k4K, kReadOnly).ok());  // its second page is mapped
    EXPECT_FALSE(machine.space.unmap(k2M, k2M).ok());                        // begins in a hole
    EXPECT_FALSE(machine.space.unmap(k1G, k1G + k4K).ok());                  // ends in a hole
    EXPECT_FALSE(machine.space.protect(k2M + k4K, k1G, kReadOnly).ok());     // a hole in the middle
    EXPECT_EQ(machine.runs(), before);
    EXPECT_EQ(machine.table_bytes(), tables);
    EXPECT_TRUE(machine.mmu.flushes.empty());
}

/// Runs `change` with 0, 1, 2, … frames left until it succeeds; each failure must leave everything as it was.
template <typename Change>
void expect_all_or_nothing(uint64_t frames_needed, Change change) {
    for (uint64_t left = 0;; ++left) {
        Machine machine;
        ASSERT_TRUE(machine.space.map(0, 0, 2 * k1G, kReadWrite).ok());
        while (machine.frames.free_bytes() > left * kFrameSize) ASSERT_TRUE(machine.frames.allocate().ok());
        const Runs before = machine.runs();
        machine.mmu.flushes.clear();
        const Result<void> result = change(machine.space);
        if (result.ok()) {
            EXPECT_EQ(left, frames_needed);
            return;
        }
        ASSERT_LT(left, frames_needed);
        EXPECT_EQ(result.error().code(), ErrorCode::kOutOfMemory);
        EXPECT_EQ(machine.runs(), before);
        EXPECT_EQ(machine.frames.free_bytes(), left * kFrameSize);
        EXPECT_TRUE(machine.mmu.flushes.empty());
    }
}

TEST(PageTable, OutOfFramesAtAnyStepLeavesItAsItWas) {
    {
        SCOPED_TRACE("a map that needs PDPT, two PDs and two PTs");
        expect_all_or_nothing(5, [](AddressSpace& space) {
            return space.map(kUpperHalf + k1G - k4K, k1G - k4K, 2 * k4K, kReadWrite);
        });
    }
    {
        SCOPED_TRACE("an unmap that splits two 1 GiB pages to the bottom");
        expect_all_or_nothing(4, [](AddressSpace& space) { return space.unmap(k1G - k4K, 2 * k4K); });
    }
    {
        SCOPED_TRACE("an unmap within one 2 MiB piece");
        expect_all_or_nothing(2, [](AddressSpace& space) { return space.unmap(k2M + k4K, 4 * k4K); });
    }
    {
        SCOPED_TRACE("a protect with both edges in one 1 GiB page");
        expect_all_or_nothing(
            3, [](AddressSpace& space) { return space.protect(k2M + k4K, 7 * k2M, kReadOnly); });
    }
    FakeMemory memory(kMiB);
    FrameAllocator frames = Machine::make_frames(memory, kMiB);
    while (frames.allocate().ok()) {
    }
    SoftwareMmu mmu(memory, true);
    EXPECT_EQ(AddressSpace::make(frames, memory, mmu, true, true).error().code(), ErrorCode::kOutOfMemory);
}

TEST(PageTable, FlushesEachOfAFewPagesAndAllForMany) {
    Machine machine;
    ASSERT_TRUE(machine.space.map(0, 0, 4 * k2M, kReadWrite).ok());
    EXPECT_TRUE(machine.mmu.flushes.empty());  // new mappings need none
    ASSERT_TRUE(machine.space.protect(k2M, 2 * k2M, kReadOnly).ok());
    EXPECT_EQ(machine.mmu.flushes, (std::vector<uint64_t>{k2M, 2 * k2M}));
    EXPECT_EQ(machine.mmu.full_flushes, 0);
    ASSERT_TRUE(machine.space.protect(k4K, 100 * k4K, kReadOnly).ok());
    EXPECT_EQ(machine.mmu.full_flushes, 1);
}

TEST(PageTable, FlushesTheWayThroughATableThatGoes) {
    Machine machine;
    ASSERT_TRUE(machine.space.map(0, 0, 3 * k4K, kReadWrite).ok());
    ASSERT_TRUE(machine.space.map(k2M, k2M, k4K, kReadWrite).ok());
    for (uint64_t address : {uint64_t{0}, k4K, 2 * k4K, k2M}) machine.mmu.access(address);
    ASSERT_TRUE(machine.space.unmap(0, 3 * k4K).ok());
    machine.mmu.check_tlb();
    ASSERT_TRUE(machine.space.unmap(k2M, k4K).ok());
    machine.mmu.check_tlb();
}

TEST(PageTable, PrintsOneReadableLineARun) {
    Machine machine;
    ASSERT_TRUE(machine.space.map(k4K, k4K, k2M - k4K, kReadWrite).ok());
    ASSERT_TRUE(machine.space.map(16 * kMiB, 16 * kMiB, k2M, kReadExecute).ok());
    ASSERT_TRUE(machine.space.map(k1G, k1G, k1G, kReadOnly).ok());
    ASSERT_TRUE(machine.space.map(0xFFFFFFFFFFFFF000, 0xFEE00000, k4K, kDevice).ok());
    ASSERT_TRUE(machine.space.map(0xFFFFFFFFC0000000, 0xFD000000, k2M, kVideo).ok());
    std::string text;
    print_mappings(machine.space, [&](std::string_view line) { text += line; });
    EXPECT_EQ(
        text,
        "0000000000001000-00000000001fffff        2044 KiB  rw-  4K  -> 0000000000001000\n"
        "0000000001000000-00000000011fffff        2048 KiB  r-x  2M  -> 0000000001000000\n"
        "0000000040000000-000000007fffffff     1048576 KiB  r--  1G  -> 0000000040000000\n"
        "ffffffffc0000000-ffffffffc01fffff        2048 KiB  rw-  2M  -> 00000000fd000000 write-combining\n"
        "fffffffffffff000-ffffffffffffffff           4 KiB  rw-  4K  -> 00000000fee00000 uncached\n");
}

/// What should be mapped, as pieces by start address: the slow and obvious way.
class Shadow {
 public:
    struct Piece {
        uint64_t size, physical;
        Rights rights;
    };
    bool all_mapped(uint64_t start, uint64_t size) { return mapped_bytes(start, size) == size; }
    bool none_mapped(uint64_t start, uint64_t size) { return mapped_bytes(start, size) == 0; }
    void map(uint64_t start, uint64_t physical, uint64_t size, Rights rights) {
        pieces_[start] = {size, physical, rights};
    }
    void unmap(uint64_t start, uint64_t size) {
        cut(start);
        cut(start + size);
        pieces_.erase(pieces_.lower_bound(start), end_of(start + size));
    }
    void protect(uint64_t start, uint64_t size, Rights rights) {
        cut(start);
        cut(start + size);
        for (auto it = pieces_.lower_bound(start); it != end_of(start + size); ++it)
            it->second.rights = rights;
    }
    /// Runs without regard to page sizes.
    Runs runs() const {
        Runs result;
        for (const auto& [start, piece] : pieces_)
            append(result, {start, piece.physical, piece.size, piece.rights, 0});
        return result;
    }
    static void append(Runs& runs, Mapping next) {
        next.page_size = 0;
        if (!runs.empty()) {
            Mapping& last = runs.back();
            if (last.virtual_start + last.size == next.virtual_start &&
                last.physical_start + last.size == next.physical_start && last.rights == next.rights) {
                last.size += next.size;
                return;
            }
        }
        runs.push_back(next);
    }

 private:
    using Pieces = std::map<uint64_t, Piece>;
    /// The first piece at or after `end`, which is 0 at the top of the address space.
    Pieces::iterator end_of(uint64_t end) { return end == 0 ? pieces_.end() : pieces_.lower_bound(end); }
    uint64_t mapped_bytes(uint64_t start, uint64_t size) {
        cut(start);
        cut(start + size);
        uint64_t bytes = 0;
        for (auto it = pieces_.lower_bound(start); it != end_of(start + size); ++it) bytes += it->second.size;
        return bytes;
    }
    /// Makes `at` a border between pieces.
    void cut(uint64_t at) {
        auto it = pieces_.upper_bound(at);
        if (it == pieces_.begin()) return;
        auto& [start, piece] = *--it;
        if (start == at || at - start >= piece.size) return;
        const uint64_t head = at - start;
        pieces_[at] = {piece.size - head, piece.physical + head, piece.rights};
        piece.size = head;
    }
    Pieces pieces_;
};

void random_changes_against_a_shadow(bool nx, bool page_1g, uint64_t seed) {
    std::mt19937_64 random(seed);
    const auto below = [&](uint64_t limit) { return random() % limit; };
    Machine machine(nx, page_1g, 400 * kKiB);  // few frames: it must run out of them too
    Shadow shadow;
    const uint64_t windows[] = {0, 510 * k1G, 0x00007FFF00000000, kUpperHalf, 0xFFFFFFFF00000000};
    constexpr uint64_t kWindow = 4 * k1G;
    const Rights all_rights[] = {kReadOnly, kReadWrite, kReadExecute, kDevice, kVideo, {true, true}};
    Runs runs;
    int changed = 0, refused = 0, exhausted = 0;
    for (int step = 0; step < 1500; ++step) {
        const uint64_t unit = below(3) == 0 ? k4K : below(2) == 0 ? k2M : k1G;
        const uint64_t offset = below(kWindow / unit) * unit + (below(4) == 0 ? below(3) * k4K : 0);
        uint64_t size = (1 + below(unit == k1G ? 2 : 40)) * unit + (below(4) == 0 ? below(3) * k4K : 0);
        if (offset >= kWindow) continue;
        size = std::min(size, kWindow - offset);
        uint64_t start = windows[below(std::size(windows))] + offset;
        if (!runs.empty() && below(2) == 0) {  // something that is mapped: all of it, or a part
            const Mapping& run = runs[below(runs.size())];
            const uint64_t skipped = below(2) == 0 ? below(run.size / k4K) * k4K : 0;
            start = run.virtual_start + skipped;
            size = below(2) == 0 ? run.size - skipped : std::min(size, run.size - skipped);
        }
        const Rights rights = all_rights[below(std::size(all_rights))];

        const uint64_t free_before = machine.frames.free_bytes();
        const uint64_t what = below(3);
        const bool allowed = what == 0 ? shadow.none_mapped(start, size) : shadow.all_mapped(start, size);
        Result<void> result;
        const Rights seen{rights.write, rights.execute || !nx, rights.uncached, rights.combining};
        if (what == 0) {
            const uint64_t physical = below(2) == 0 ? start % kWindow : below(64) * unit + below(2) * k2M;
            if (size / k4K > 4096 && (start ^ physical) % k2M != 0)
                continue;  // too many small pages for the RAM
            result = machine.space.map(start, physical, size, rights);
            if (result.ok()) shadow.map(start, physical, size, seen);
        } else if (what == 1) {
            result = machine.space.unmap(start, size);
            if (result.ok()) shadow.unmap(start, size);
        } else {
            result = machine.space.protect(start, size, rights);
            if (result.ok()) shadow.protect(start, size, seen);
        }
        ASSERT_TRUE(allowed || (!result.ok() && result.error().code() == ErrorCode::kInvalid));
        ASSERT_TRUE(!allowed || result.ok() || result.error().code() == ErrorCode::kOutOfMemory);
        if (!result.ok()) {
            (result.error().code() == ErrorCode::kOutOfMemory ? exhausted : refused)++;
            ASSERT_EQ(machine.frames.free_bytes(), free_before);
            ASSERT_EQ(machine.runs(), runs);
        } else {
            ++changed;
            runs = machine.runs();
            Runs merged;
            for (const Mapping& run : runs) Shadow::append(merged, run);
            ASSERT_EQ(merged, shadow.runs()) << "step " << step;
        }
        machine.mmu.check_tlb();
        for (uint64_t address : {start, start - 1, start + size - 1, start + size, start + below(size),
                                 windows[below(std::size(windows))] + below(kWindow)}) {
            machine.check_address(address);
            machine.mmu.access(address);
        }
    }
    // The mix must have tried everything.
    EXPECT_GT(changed, 100);
    EXPECT_GT(refused, 100);
    EXPECT_GT(exhausted, 0);
    EXPECT_EQ(machine.mmu.or_of_all_entries() & SoftwareMmu::kUser, 0u);
    for (const Mapping& run : shadow.runs())
        ASSERT_TRUE(machine.space.unmap(run.virtual_start, run.size).ok());
    EXPECT_EQ(machine.table_bytes(), 0u);
}

TEST(PageTable, RandomChangesAgreeWithAShadowAndTheCpu) { random_changes_against_a_shadow(true, true, 1); }
TEST(PageTable, RandomChangesAgreeWithAShadowWithoutNx) { random_changes_against_a_shadow(false, true, 2); }
TEST(PageTable, RandomChangesAgreeWithAShadowWithoutGigabytePages) {
    random_changes_against_a_shadow(true, false, 3);
}

}  // namespace
}  // namespace bareflow
