#include "arch/base/workers.h"

namespace bareflow {

static_assert(std::atomic<uint32_t>::is_always_lock_free);

/// Both sides write their own word and read the other's, so these four are sequentially consistent: either the waiting
/// side sees the change, or the changing side sees that somebody is parked.
void Workers::wait_for_change(unsigned worker, const std::atomic<uint32_t>& word, uint32_t unchanged,
                              std::atomic<uint32_t>& parked) {
    for (uint32_t i = 0; i < spins_; ++i) {
        if (word.load(std::memory_order_acquire) != unchanged) return;
        spin_pause();
    }
    parked.store(1, std::memory_order_seq_cst);
    while (word.load(std::memory_order_seq_cst) == unchanged) parking_->park(worker, word, unchanged);
    parked.store(0, std::memory_order_relaxed);
}

void Workers::serve(unsigned worker) {
    Line& line = lines_[worker];
    for (uint32_t last = 0;;) {
        wait_for_change(worker, line.go, last, line.parked);
        last = line.go.load(std::memory_order_acquire);
        parking_->before_job(worker);
        const bool stopping = line.function == nullptr;
        if (!stopping) line.function(line.context, worker, line.parts);
        line.done.store(last, std::memory_order_seq_cst);
        if (line.caller_parked.load(std::memory_order_seq_cst) != 0) parking_->wake(0, line.done);
        if (stopping) return;
    }
}

bool Workers::run(unsigned parts, Function function, void* context) {
    if (running_) return false;
    running_ = true;
    if (parts > count()) parts = count();
    for (unsigned worker = 1; worker < parts; ++worker) {
        Line& line = lines_[worker];
        line.parts = parts;
        line.function = function;
        line.context = context;
        line.go.store(line.go.load(std::memory_order_relaxed) + 1, std::memory_order_seq_cst);
        if (line.parked.load(std::memory_order_seq_cst) != 0) parking_->wake(worker, line.go);
    }
    if (function != nullptr) function(context, 0, parts);
    for (unsigned worker = 1; worker < parts; ++worker) {
        Line& line = lines_[worker];
        const uint32_t number = line.go.load(std::memory_order_relaxed);
        if (line.done.load(std::memory_order_acquire) != number)
            wait_for_change(0, line.done, number - 1, line.caller_parked);
    }
    running_ = false;
    return true;
}

void Workers::stop() {
    static_cast<void>(run(count(), nullptr, nullptr));
    others_ = 0;
}

}  // namespace bareflow
