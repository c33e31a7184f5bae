#include "arch/host/direct_file.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "arch/host/threads.h"

namespace bareflow {

Result<std::unique_ptr<DirectFile>> DirectFile::open(const std::string& path) {
    bool direct = true;
    int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
    if (fd < 0 && errno == EINVAL) {  // tmpfs, and others without it
        direct = false;
        fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0) {
        return Error::make(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kDevice,
                           "{}: cannot open it: {}", path, std::strerror(errno));
    }
    struct stat status;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size == 0) {
        ::close(fd);
        return Error::make(ErrorCode::kDevice, "{}: is no file with bytes in it; give a .wllm file", path);
    }
    std::unique_ptr<DirectFile> file(new DirectFile(fd, static_cast<uint64_t>(status.st_size), direct));
    if (file->thread_count_ == 0)
        return Error::make(ErrorCode::kDevice, "{}: there is no thread to be had that could read it", path);
    return file;
}

DirectFile::DirectFile(int fd, uint64_t size, bool direct) : fd_(fd), size_(size), direct_(direct) {
    const SignalsBlocked blocked;
    const auto serve_file = [](void* file) -> void* {
        static_cast<DirectFile*>(file)->serve();
        return nullptr;
    };
    while (thread_count_ < kThreads &&
           pthread_create(&threads_[thread_count_], nullptr, serve_file, this) == 0) {
        ++thread_count_;
    }
}

DirectFile::~DirectFile() {
    pthread_mutex_lock(&mutex_);
    stopping_ = true;
    pthread_cond_broadcast(&work_);
    pthread_mutex_unlock(&mutex_);
    for (size_t i = 0; i < thread_count_; ++i) pthread_join(threads_[i], nullptr);
    ::close(fd_);
}

/// 0, or what errno says.
int DirectFile::run(const Read& read) const {
    const uint64_t wanted = std::min<uint64_t>(read.out.size(), size_ - read.offset);
    for (uint64_t done = 0; done < wanted;) {
        const ssize_t got = pread(fd_, read.out.data() + done, read.out.size() - done,
                                  static_cast<off_t>(read.offset + done));
        if (got < 0 && errno == EINTR) continue;
        // What the file system asks of O_DIRECT beyond our alignment, it shall do without.
        if (got < 0 && errno == EINVAL && (fcntl(fd_, F_GETFL) & O_DIRECT) != 0 &&
            fcntl(fd_, F_SETFL, 0) == 0)
            continue;
        if (got < 0) return errno;
        if (got == 0) return EIO;  // the file has become shorter
        done += static_cast<uint64_t>(got);
    }
    return 0;
}

void DirectFile::serve() {
    pthread_mutex_lock(&mutex_);
    for (;;) {
        Slot* const slot = std::find_if(std::begin(slots_), std::end(slots_),
                                        [](const Slot& each) { return each.state == State::kWaiting; });
        if (slot == std::end(slots_)) {
            if (stopping_) break;
            pthread_cond_wait(&work_, &mutex_);
            continue;
        }
        slot->state = State::kRunning;
        const Read read = *slot->read;
        pthread_mutex_unlock(&mutex_);
        const int error = run(read);
        pthread_mutex_lock(&mutex_);
        slot->error = error;
        slot->state = State::kEnded;
    }
    pthread_mutex_unlock(&mutex_);
}

bool DirectFile::start(Read& read) {
    ASSERT(read.offset < size_);
    pthread_mutex_lock(&mutex_);
    Slot* const slot = std::find_if(std::begin(slots_), std::end(slots_),
                                    [](const Slot& each) { return each.state == State::kFree; });
    const bool taken = slot != std::end(slots_);
    if (taken) {
        read.done = false;
        read.out = read.out.first(std::min(read.out.size(), kRequestBytes));
        *slot = {State::kWaiting, &read, 0};
        pthread_cond_signal(&work_);
    }
    pthread_mutex_unlock(&mutex_);
    return taken;
}

void DirectFile::poll() {
    bool any = false;
    pthread_mutex_lock(&mutex_);
    for (Slot& slot : slots_) {
        if (slot.state != State::kEnded) continue;
        any = true;
        Read& read = *slot.read;
        read.outcome = {};
        if (slot.error != 0) {
            read.outcome = Error::make(ErrorCode::kDevice, "the model's file: cannot read {} bytes at {}: {}",
                                       read.out.size(), read.offset, std::strerror(slot.error));
        }
        read.done = true;
        slot = {};
    }
    pthread_mutex_unlock(&mutex_);
    if (!any) sched_yield();  // whoever asks again at once shall not keep the threads from their work
}

}  // namespace bareflow
