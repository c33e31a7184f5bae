// Where the heap's pages come from.
#pragma once

#include <cstddef>

namespace bareflow {

class PageSource {
 public:
    static constexpr size_t kPageSize = 4096;

    /// `bytes` (a multiple of kPageSize) aligned to `alignment` (a power of two, >= kPageSize),
    /// uninitialised; nullptr if there are none.
    virtual void* take(size_t bytes, size_t alignment) = 0;
    /// Gives back all of what one take() returned.
    virtual void give(void* pages, size_t bytes) = 0;

 protected:
    ~PageSource() = default;
};

/// A PageSource that counts what is out.
class CountedPages final : public PageSource {
 public:
    explicit CountedPages(PageSource& source) : source_(source) {}

    void* take(size_t bytes, size_t alignment) override {
        void* pages = source_.take(bytes, alignment);
        if (pages != nullptr) out_ += bytes;
        return pages;
    }
    void give(void* pages, size_t bytes) override {
        out_ -= bytes;
        source_.give(pages, bytes);
    }
    size_t out() const { return out_; }

 private:
    PageSource& source_;
    size_t out_ = 0;
};

}  // namespace bareflow
