// Bounds-checked little-endian reading of untrusted bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

namespace bareflow {

using ByteSpan = std::span<const uint8_t>;

/// Whether [offset, offset + size) lies within `limit` bytes; no sum overflows.
constexpr bool fits(uint64_t offset, uint64_t size, uint64_t limit) {
    return offset <= limit && size <= limit - offset;
}

/// Reads values one after another. A read past the end yields zeroes and makes ok() false from then on, so a reader
/// may read a whole structure and check once.
class ByteReader {
 public:
    explicit ByteReader(ByteSpan bytes) : bytes_(bytes) {}

    template <typename T>
    requires std::is_trivially_copyable_v<T> T read() {
        T value{};
        ByteSpan source = take(sizeof(T));
        if (source.size() == sizeof(T)) __builtin_memcpy(&value, source.data(), sizeof(T));
        return value;
    }
    /// The next `size` bytes in place; empty, and ok() false, if fewer are left.
    ByteSpan take(uint64_t size) {
        if (!fits(position_, size, bytes_.size())) {
            ok_ = false;
            return {};
        }
        ByteSpan result = bytes_.subspan(position_, size);
        position_ += size;
        return result;
    }

    bool ok() const { return ok_; }
    uint64_t position() const { return position_; }
    uint64_t left() const { return bytes_.size() - position_; }

 private:
    ByteSpan bytes_;
    uint64_t position_ = 0;
    bool ok_ = true;
};

}  // namespace bareflow
