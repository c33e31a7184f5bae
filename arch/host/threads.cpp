#include "arch/host/threads.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

namespace bareflow {

// The kernel compares the word under its own lock before it lets the thread sleep: futex(2), FUTEX_WAIT.
void FutexParking::park(unsigned, const std::atomic<uint32_t>& word, uint32_t unchanged) {
    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, unchanged, nullptr, nullptr, 0);
}
void FutexParking::wake(unsigned, std::atomic<uint32_t>& word) {
    syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

SignalsBlocked::SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before_);
}
SignalsBlocked::~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

unsigned available_cores() {
    cpu_set_t cores;
    if (sched_getaffinity(0, sizeof cores, &cores) != 0) return 1;
    return static_cast<unsigned>(std::max(1, CPU_COUNT(&cores)));
}

Threads::~Threads() {
    const unsigned count = workers_.count();
    workers_.stop();
    for (unsigned worker = 1; worker < count; ++worker) pthread_join(threads_[worker], nullptr);
}

Workers& Threads::start(unsigned count) {
    count = std::min(count, Workers::kMaxWorkers);
    // Where threads share a core, one that spins only keeps another from what it waits for.
    workers_.initialise(parking_, count <= available_cores() ? Workers::kSpins : 0);
    const SignalsBlocked blocked;
    while (workers_.count() < count) {
        const unsigned worker = workers_.count();
        starts_[worker] = {&workers_, worker};
        auto serve = [](void* start) -> void* {
            static_cast<Start*>(start)->workers->serve(static_cast<Start*>(start)->worker);
            return nullptr;
        };
        if (pthread_create(&threads_[worker], nullptr, serve, &starts_[worker]) != 0) break;
        workers_.add();
    }
    return workers_;
}

}  // namespace bareflow
