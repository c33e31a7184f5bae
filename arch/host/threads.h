// The cores of a Linux process: threads that the scheduler places, parked on futexes.
#pragma once

#include <pthread.h>
#include <signal.h>

#include "arch/base/workers.h"

namespace bareflow {

class FutexParking final : public Parking {
 public:
    void park(unsigned worker, const std::atomic<uint32_t>& word, uint32_t unchanged) override;
    void wake(unsigned worker, std::atomic<uint32_t>& word) override;
};

/// While it lives, this thread gets no signals, nor do those that it starts, for a new thread inherits the mask: Ctrl-C and the
/// like shall interrupt the thread that reads the terminal.
class SignalsBlocked {
 public:
    SignalsBlocked();
    SignalsBlocked(const SignalsBlocked&) = delete;
    ~SignalsBlocked();

 private:
    sigset_t before_;
};

/// Cores that this process may run on.
unsigned available_cores();

/// A thread for each worker but the first, which is the caller. Signals go to the caller's thread alone.
class Threads {
 public:
    Threads() = default;
    Threads(const Threads&) = delete;
    Threads& operator=(const Threads&) = delete;
    /// Waits for the threads' end.
    ~Threads();

    /// `count` workers in all (at most Workers::kMaxWorkers); fewer where the system has no more threads. Once.
    Workers& start(unsigned count);
    Workers& workers() { return workers_; }

 private:
    struct Start {
        Workers* workers;
        unsigned worker;
    };

    FutexParking parking_;
    Workers workers_;
    pthread_t threads_[Workers::kMaxWorkers] = {};
    Start starts_[Workers::kMaxWorkers] = {};
};

}  // namespace bareflow
