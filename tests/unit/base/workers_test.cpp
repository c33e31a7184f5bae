// Fork and join on real threads: every part runs once, what it wrote is seen, nobody sleeps through a call.
#include "arch/base/workers.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>

#include "arch/host/threads.h"

namespace bareflow {
namespace {

/// Plain counters, written by the workers and read behind the join: what is missing shows, and a sanitizer sees races.
struct Tally {
    struct alignas(64) Slot {
        uint64_t calls = 0;
        unsigned parts = 0;
    } slots[Workers::kMaxWorkers];

    static void count(void* self, unsigned worker, unsigned parts) {
        Slot& slot = static_cast<Tally*>(self)->slots[worker];
        ++slot.calls;
        slot.parts = parts;
    }
};

TEST(Workers, AloneTheCallerDoesItAll) {
    Workers workers;
    Tally tally;
    ASSERT_TRUE(workers.run(5, Tally::count, &tally));
    EXPECT_EQ(workers.count(), 1u);
    EXPECT_EQ(tally.slots[0].calls, 1u);
    EXPECT_EQ(tally.slots[0].parts, 1u);
    EXPECT_EQ(tally.slots[1].calls, 0u);
}

TEST(Workers, EachPartRunsOnceACallForAnyNumberOfWorkers) {
    for (unsigned count = 1; count <= 8; ++count) {
        Threads threads;
        Workers& workers = threads.start(count);
        ASSERT_EQ(workers.count(), count);
        Tally tally;
        constexpr uint64_t kCalls = 3000;
        for (uint64_t call = 1; call <= kCalls; ++call) {
            ASSERT_TRUE(workers.run(count, Tally::count, &tally));
            for (unsigned worker = 0; worker < count; ++worker) ASSERT_EQ(tally.slots[worker].calls, call);
        }
        EXPECT_EQ(tally.slots[count].calls, 0u);
    }
}

TEST(Workers, FewerPartsLeaveTheOtherWorkersAlone) {
    Threads threads;
    Workers& workers = threads.start(4);
    Tally tally;
    for (const unsigned parts : {1, 2, 3, 4, 2, 9}) ASSERT_TRUE(workers.run(parts, Tally::count, &tally));
    const uint64_t calls[] = {6, 5, 3, 2};
    for (unsigned worker = 0; worker < 4; ++worker) EXPECT_EQ(tally.slots[worker].calls, calls[worker]);
    EXPECT_EQ(tally.slots[0].parts, 4u);
}

TEST(Workers, ParkedWorkersWakeAndNoWakeUpIsLost) {
    // Without spinning all sleep at once, which makes each call a race between falling asleep and waking.
    FutexParking parking;
    Workers workers;
    workers.initialise(parking, 0);
    pthread_t thread;
    ASSERT_EQ(pthread_create(
                  &thread, nullptr,
                  [](void* self) -> void* {
                      static_cast<Workers*>(self)->serve(1);
                      return nullptr;
                  },
                  &workers),
              0);
    workers.add();
    Tally tally;
    constexpr uint64_t kCalls = 20'000;
    for (uint64_t call = 1; call <= kCalls; ++call) {
        if (call % 5000 == 0) usleep(2000);
        ASSERT_TRUE(workers.run(2, Tally::count, &tally));
        ASSERT_EQ(tally.slots[1].calls, call);
    }
    workers.stop();
    pthread_join(thread, nullptr);
}

TEST(Workers, AJobCannotStartAnother) {
    Threads threads;
    Workers& workers = threads.start(2);
    struct Nested {
        Workers& workers;
        bool refused = false;
    } nested{workers};
    const auto job = [](void* self, unsigned worker, unsigned) {
        auto* state = static_cast<Nested*>(self);
        if (worker == 0) state->refused = !state->workers.run(2, Tally::count, nullptr);
    };
    ASSERT_TRUE(workers.run(2, job, &nested));
    EXPECT_TRUE(nested.refused);
    Tally tally;
    EXPECT_TRUE(workers.run(2, Tally::count, &tally)) << "afterwards all is as before";
}

}  // namespace
}  // namespace bareflow
