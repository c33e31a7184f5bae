// Where memory comes from: handed to whoever needs some, so that rooms do not know mm and tests can count.
#pragma once

#include <cstddef>
#include <span>

#include "arch/base/result.h"

namespace bareflow {

class Allocator {
 public:
    /// `size` bytes aligned to `alignment` (a power of two), uninitialised; nullptr when they do not fit.
    virtual void* allocate(size_t size, size_t alignment) = 0;
    /// Gives back what allocate() returned. nullptr is allowed and does nothing.
    virtual void release(void* pointer) = 0;

 protected:
    ~Allocator() = default;
};

/// `count` zeroed items of `size` bytes each, aligned to `alignment`; `what` names them in the error. nullptr for none.
Result<void*> allocate_zeroed(Allocator& allocator, size_t count, size_t size, size_t alignment,
                              std::string_view what);

/// An owned array of trivially destructible T from an Allocator; frees itself, moves, does not copy.
template <typename T>
class Buffer {
 public:
    Buffer() = default;
    Buffer(Buffer&& other) noexcept : allocator_(other.allocator_), items_(other.items_) {
        other.items_ = {};
    }
    Buffer& operator=(Buffer&& other) noexcept {
        if (this != &other) {
            reset();
            allocator_ = other.allocator_;
            items_ = other.items_;
            other.items_ = {};
        }
        return *this;
    }
    ~Buffer() { reset(); }

    /// `count` zeroed items aligned to at least 64 bytes; `what` names them in the error.
    static Result<Buffer> make(Allocator& allocator, size_t count, std::string_view what) {
        static_assert(std::is_trivially_copyable_v<T>);
        void* const memory = TRY(allocate_zeroed(allocator, count, sizeof(T), kAlignment, what));
        Buffer buffer;
        if (memory == nullptr) return buffer;
        buffer.allocator_ = &allocator;
        buffer.items_ = {static_cast<T*>(memory), count};
        return buffer;
    }

    T* data() const { return items_.data(); }
    size_t size() const { return items_.size(); }
    T& operator[](size_t index) const { return items_[index]; }
    std::span<T> span() const { return items_; }
    T* begin() const { return items_.data(); }
    T* end() const { return items_.data() + items_.size(); }

 private:
    static constexpr size_t kAlignment = alignof(T) > 64 ? alignof(T) : 64;
    void reset() {
        if (items_.data() != nullptr) allocator_->release(items_.data());
        items_ = {};
    }
    Allocator* allocator_ = nullptr;
    std::span<T> items_;
};

}  // namespace bareflow
