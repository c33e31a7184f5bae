// A PageSource for tests: each take() is an allocation of its own that ASan watches, within a limit.
#pragma once

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <stdexcept>

#include "mm/page_source.h"

namespace bareflow {

class FakePages final : public PageSource {
 public:
    explicit FakePages(size_t most = SIZE_MAX) : limit(most) {}
    ~FakePages() {
        while (!taken_.empty()) give(taken_.begin()->first, taken_.begin()->second);
    }

    void* take(size_t bytes, size_t alignment) override {
        if (bytes == 0 || bytes % kPageSize != 0 || alignment < kPageSize)
            throw std::logic_error("senseless take");
        if (bytes > limit - out_ || (refuse_alignment && alignment > kPageSize)) return nullptr;
        void* pages = nullptr;
        if (bytes >= kMapped) {
            pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                         -1, 0);
            if (pages == MAP_FAILED) return nullptr;
        } else {
            pages = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
            std::memset(pages, 0xEE, bytes);
        }
        taken_[pages] = bytes;
        out_ += bytes;
        return pages;
    }
    void give(void* pages, size_t bytes) override {
        auto it = taken_.find(pages);
        if (it == taken_.end() || it->second != bytes) throw std::logic_error("gave what was not taken");
        bytes >= kMapped ? static_cast<void>(munmap(pages, bytes)) : std::free(pages);
        out_ -= bytes;
        taken_.erase(it);
    }
    size_t out() const { return out_; }
    size_t pieces() const { return taken_.size(); }

    size_t limit;
    bool refuse_alignment = false;

 private:
    static constexpr size_t kMapped = size_t{64} << 20;  ///< from here on without touching the memory
    std::map<void*, size_t> taken_;
    size_t out_ = 0;
};

}  // namespace bareflow
