#include "mm/code_arena.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <map>
#include <random>
#include <vector>

namespace bareflow {
namespace {

constexpr size_t kPage = CodePages::kPageSize;

class Malloc final : public Allocator {
 public:
    void* allocate(size_t size, size_t alignment) override {
        return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    }
    void release(void* pointer) override { std::free(pointer); }
};

/// mprotect, and a note of what each page is.
class RecordedPages final : public CodePages {
 public:
    Result<void> make_writable(void* start, size_t bytes) override {
        return set(start, bytes, PROT_READ | PROT_WRITE);
    }
    Result<void> make_executable(void* start, size_t bytes) override {
        return set(start, bytes, PROT_READ | PROT_EXEC);
    }
    Result<void> make_guard(void* start, size_t bytes) override { return set(start, bytes, PROT_NONE); }
    int rights_at(const void* address) const {
        return rights_.at(reinterpret_cast<uintptr_t>(address) / kPage);
    }
    bool fail_next_executable = false;

 private:
    Result<void> set(void* start, size_t bytes, int rights) {
        if (rights == (PROT_READ | PROT_EXEC) && fail_next_executable) {
            fail_next_executable = false;
            return invalid("planted");
        }
        EXPECT_EQ(mprotect(start, bytes, rights), 0);
        for (size_t i = 0; i < bytes / kPage; ++i)
            rights_[reinterpret_cast<uintptr_t>(start) / kPage + i] = rights;
        return {};
    }
    std::map<uintptr_t, int> rights_;
};

class Evictions final : public EvictionListener {
 public:
    void evicted(const void* entry) override { entries.push_back(entry); }
    std::vector<const void*> entries;
};

class CodeArenaTest : public testing::Test {
 protected:
    static constexpr size_t kPages = 10;  // 8 for code
    void SetUp() override {
        region_ = {static_cast<uint8_t*>(mmap(nullptr, kPages * kPage, PROT_READ | PROT_WRITE,
                                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)),
                   kPages * kPage};
        arena_.emplace(CodeArena::make(region_, pages_, evictions_, allocator_).take());
    }
    void TearDown() override {
        arena_.reset();
        munmap(region_.data(), region_.size());
    }
    /// A routine that returns `value` and takes `bytes`.
    const void* add(int value, size_t bytes = 6) {
        auto room = arena_->open(bytes).take();
        const uint8_t code[] = {0xB8, 0, 0, 0, 0, 0xC3};  // mov eax, value; ret
        std::memset(room.data(), 0x90, bytes);
        std::memcpy(room.data() + bytes - sizeof code, code, sizeof code);
        std::memcpy(room.data() + bytes - sizeof code + 1, &value, 4);
        return arena_->seal(room, bytes).take();
    }
    static int call(const void* entry) { return reinterpret_cast<int (*)()>(const_cast<void*>(entry))(); }

    std::span<uint8_t> region_;
    RecordedPages pages_;
    Evictions evictions_;
    Malloc allocator_;
    std::optional<CodeArena> arena_;
};

TEST_F(CodeArenaTest, SealedCodeRunsAndCannotBeWritten) {
    const void* entry = add(42);
    EXPECT_EQ(call(entry), 42);
    EXPECT_EQ(pages_.rights_at(entry), PROT_READ | PROT_EXEC);
    EXPECT_DEATH(*static_cast<volatile uint8_t*>(const_cast<void*>(entry)) = 0, "");
}

TEST_F(CodeArenaTest, OpenCodeCanBeWrittenAndDoesNotRun) {
    auto room = arena_->open(100).take();
    room[0] = 0xC3;
    EXPECT_EQ(pages_.rights_at(room.data()), PROT_READ | PROT_WRITE);
    EXPECT_DEATH(call(room.data()), "");
}

TEST_F(CodeArenaTest, HasGuardPagesAtBothEnds) {
    EXPECT_EQ(pages_.rights_at(region_.data()), PROT_NONE);
    EXPECT_EQ(pages_.rights_at(region_.data() + region_.size() - 1), PROT_NONE);
    EXPECT_EQ(arena_->capacity(), (kPages - 2) * kPage);
}

TEST_F(CodeArenaTest, GivesUnusedPagesBackAndFillsTheRestWithTraps) {
    auto room = arena_->open(4 * kPage).take();
    EXPECT_EQ(arena_->used(), 4 * kPage);
    room[0] = 0xC3;
    const auto* entry = static_cast<const uint8_t*>(arena_->seal(room, 1).take());
    EXPECT_EQ(arena_->used(), kPage);
    EXPECT_EQ(entry[1], 0xCC);
    EXPECT_EQ(entry[kPage - 1], 0xCC);
}

TEST_F(CodeArenaTest, ThrowsOutTheLeastValuableWhenFull) {
    std::vector<const void*> entries;
    for (int i = 0; i < 8; ++i) {
        entries.push_back(add(i));
        arena_->set_value(entries.back(), 100 + static_cast<uint64_t>((i * 5) % 8));  // least: i = 0, then 5
    }
    EXPECT_TRUE(evictions_.entries.empty());
    EXPECT_EQ(call(add(80)), 80);
    ASSERT_EQ(evictions_.entries, std::vector<const void*>{entries[0]});
    EXPECT_EQ(arena_->evictions(), 1u);
    EXPECT_EQ(call(add(81)), 81);
    EXPECT_EQ(evictions_.entries.back(), entries[5]);
    for (int i : {1, 2, 3, 4, 6, 7}) EXPECT_EQ(call(entries[static_cast<size_t>(i)]), i);
}

TEST_F(CodeArenaTest, NeverThrowsOutWhatIsBeingWritten) {
    auto room = arena_->open(8 * kPage);
    ASSERT_TRUE(room.ok());
    const auto refused = arena_->open(1);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code(), ErrorCode::kOutOfMemory);
    arena_->release(room.value().data());
    EXPECT_TRUE(arena_->open(1).ok());
}

TEST_F(CodeArenaTest, RefusesMoreThanItHolds) {
    EXPECT_FALSE(arena_->open(9 * kPage).ok());
    EXPECT_FALSE(arena_->open(0).ok());
}

TEST_F(CodeArenaTest, ARoutineThatCannotBeSealedLeavesItsPagesFree) {
    auto room = arena_->open(2 * kPage).take();
    pages_.fail_next_executable = true;
    EXPECT_FALSE(arena_->seal(room, 10).ok());
    EXPECT_EQ(arena_->used(), 0u);
}

TEST_F(CodeArenaTest, FindsTheRoutineThatAnAddressLiesIn) {
    const void* one = add(1, 2 * kPage + 6);
    const void* two = add(2);
    const auto address = reinterpret_cast<uintptr_t>(one);
    EXPECT_EQ(arena_->routine_at(address), one);
    EXPECT_EQ(arena_->routine_at(address + 2 * kPage + 5), one);
    EXPECT_EQ(arena_->routine_at(address + 3 * kPage), two);
    EXPECT_EQ(arena_->routine_at(address + 4 * kPage), nullptr) << "free";
    EXPECT_EQ(arena_->routine_at(address - 1), nullptr) << "guard";
}

TEST_F(CodeArenaTest, KeepsRightsAndCodeThroughRandomUse) {
    std::mt19937 random(1);
    std::map<const void*, int> live;
    for (int step = 0; step < 5000; ++step) {
        if (random() % 3 != 0 || live.empty()) {
            const size_t bytes = 6 + random() % (3 * kPage);
            const size_t seen = evictions_.entries.size();
            const void* entry = add(step, bytes);
            for (size_t i = seen; i < evictions_.entries.size(); ++i) live.erase(evictions_.entries[i]);
            live[entry] = step;
            arena_->set_value(entry, random());
        } else {
            auto victim = std::next(live.begin(), static_cast<long>(random() % live.size()));
            arena_->release(victim->first);
            EXPECT_EQ(pages_.rights_at(victim->first), PROT_READ | PROT_WRITE);
            live.erase(victim);
        }
        for (const auto& [entry, value] : live) {
            ASSERT_EQ(call(entry), value);
            ASSERT_EQ(pages_.rights_at(entry), PROT_READ | PROT_EXEC);
        }
    }
    for (const auto& [entry, value] : live) arena_->release(entry);
    EXPECT_EQ(arena_->used(), 0u);
}

}  // namespace
}  // namespace bareflow
