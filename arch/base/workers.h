// Fork and join: one function on several cores at once, back when all are done. The portable half; what a core is, and how
// it sleeps, is the platform's (Parking).
//
// A worker that has nothing to do watches its own cache line for a while, since the next operator follows within
// microseconds; then it parks. Nothing is locked: each line has one writer for each of its words.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace bareflow {

/// How one worker (0 is the caller of run()) sleeps until a word changes.
class Parking {
 public:
    /// Sleeps while `word` is `unchanged`; returning early is allowed. The check and the falling asleep are one: a wake()
    /// after the word changed is never missed. Called by `worker` itself.
    virtual void park(unsigned worker, const std::atomic<uint32_t>& word, uint32_t unchanged) = 0;
    /// Wakes `worker` if it is parked on `word`.
    virtual void wake(unsigned worker, std::atomic<uint32_t>& word) = 0;
    /// Called by `worker` before each job: for what a core must catch up with that others changed.
    virtual void before_job(unsigned worker) { static_cast<void>(worker); }

 protected:
    ~Parking() = default;
};

/// Hints to the processor that this is a waiting loop (Intel SDM 2B, PAUSE).
inline void spin_pause() { __builtin_ia32_pause(); }

class Workers {
 public:
    static constexpr unsigned kMaxWorkers = 64;
    /// Some 20 to 100 µs, depending on how long the processor pauses: longer than what lies between two operators.
    static constexpr uint32_t kSpins = 2000;

    /// A part of the job: worker `worker` of `count`. Must not throw, allocate or log.
    using Function = void (*)(void* context, unsigned worker, unsigned count);

    constexpr Workers() = default;
    Workers(const Workers&) = delete;
    Workers& operator=(const Workers&) = delete;

    /// Before anything else: where workers sleep, and after how many looks. 0 where there are more workers than cores.
    void initialise(Parking& parking, uint32_t spins = kSpins) {
        parking_ = &parking;
        spins_ = spins;
    }

    /// Worker `worker` (1, 2, …) serves: its core stays in here until stop(). Its line must be told to add().
    void serve(unsigned worker);
    /// The next worker, number count() before, is there (or on its way) and takes part from now on.
    void add() { ++others_; }
    /// Workers, the caller of run() included.
    unsigned count() const { return others_ + 1; }

    /// Calls function(context, w, parts) for each w below `parts` (at most count(), at least 1), w = 0 here, the others
    /// on cores of their own, and returns when all have returned; what they wrote is seen then. False, and nothing is
    /// done, from within a job. For one caller's core.
    [[nodiscard]] bool run(unsigned parts, Function function, void* context);

    /// Lets all workers return from serve(). The object can only be destroyed afterwards.
    void stop();

 private:
    // Two cache lines: processors fetch them in pairs.
    static constexpr size_t kLine = 128;

    /// What passes between the caller and one worker: the job lies beside the number that announces it, so that one
    /// transfer of a cache line brings both, and another one the answer.
    struct alignas(kLine) Line {
        std::atomic<uint32_t> go{0};  ///< written by the caller: the number of the job to do
        std::atomic<uint32_t> parked{0};
        unsigned parts = 0;
        Function function = nullptr;  ///< nullptr: leave serve()
        void* context = nullptr;
        alignas(kLine) std::atomic<uint32_t> done{
            0};  ///< written by the worker: the number of the last job done
        std::atomic<uint32_t> caller_parked{0};
    };

    void wait_for_change(unsigned worker, const std::atomic<uint32_t>& word, uint32_t unchanged,
                         std::atomic<uint32_t>& parked);

    // All zero to begin with: so a static one takes no room in an image.
    Line lines_[kMaxWorkers];
    Parking* parking_ = nullptr;
    uint32_t spins_ = 0;
    unsigned others_ = 0;  ///< beside the caller
    bool running_ = false;
};

}  // namespace bareflow
