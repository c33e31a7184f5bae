// A file of the host that is read ahead by threads, past the page cache where the file system lets one.
#pragma once

#include <pthread.h>

#include <memory>
#include <string>

#include "arch/base/async_file.h"

namespace bareflow {

class DirectFile final : public AsyncFile {
 public:
    /// kNotFound, kDevice: it cannot be opened, or has no size.
    static Result<std::unique_ptr<DirectFile>> open(const std::string& path);
    DirectFile(const DirectFile&) = delete;
    ~DirectFile();

    uint64_t size() const override { return size_; }
    /// Whether reads pass the page cache by (O_DIRECT).
    bool direct() const { return direct_; }
    bool start(Read& read) override;
    void poll() override;

 private:
    static constexpr size_t kThreads = 4, kSlots = 16;
    static constexpr size_t kRequestBytes = 2 << 20;
    enum class State : uint8_t { kFree, kWaiting, kRunning, kEnded };
    struct Slot {
        State state = State::kFree;
        Read* read = nullptr;
        int error = 0;
    };

    DirectFile(int fd, uint64_t size, bool direct);
    void serve();
    int run(const Read& read) const;

    int fd_;
    uint64_t size_;
    bool direct_;
    pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t work_ = PTHREAD_COND_INITIALIZER;
    bool stopping_ = false;
    Slot slots_[kSlots];
    size_t thread_count_ = 0;
    pthread_t threads_[kThreads];
};

}  // namespace bareflow
