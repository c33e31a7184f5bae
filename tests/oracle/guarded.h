// Memory that ends right before a page without access, or begins right behind one. What is left of its own pages on the
// other side is filled with a pattern, which must stay as it is.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace bareflow {

class Guarded {
 public:
    enum class Guard : uint8_t { kBehind, kBefore };

    explicit Guarded(size_t bytes, Guard guard = Guard::kBehind)
        : bytes_(bytes), room_(std::max<size_t>((bytes + kPage - 1) / kPage, 1) * kPage) {
        base_ = static_cast<uint8_t*>(
            mmap(nullptr, room_ + 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        mprotect(inside(), room_, PROT_READ | PROT_WRITE);
        data_ = guard == Guard::kBehind ? inside() + room_ - bytes : inside();
        std::memset(slack(), kCanary, room_ - bytes_);
    }
    Guarded(const Guarded&) = delete;
    Guarded& operator=(const Guarded&) = delete;
    ~Guarded() { munmap(base_, room_ + 2 * kPage); }

    uint8_t* data() { return data_; }
    size_t bytes() const { return bytes_; }
    bool canaries_live() const {
        return std::all_of(slack(), slack() + (room_ - bytes_), [](uint8_t byte) { return byte == kCanary; });
    }

 private:
    static constexpr size_t kPage = 4096;
    static constexpr uint8_t kCanary = 0xA5;
    uint8_t* inside() const { return base_ + kPage; }
    uint8_t* slack() const { return data_ == inside() ? inside() + bytes_ : inside(); }

    size_t bytes_, room_;
    uint8_t *base_, *data_;
};

}  // namespace bareflow
