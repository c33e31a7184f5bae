// Physical memory for tests: frames [0, size) are bytes of this process, aligned as their addresses say.
#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>

#include "mm/align.h"
#include "mm/frames.h"

namespace bareflow {

constexpr uint64_t kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB;

class FakeMemory final : public PhysicalMemory {
 public:
    explicit FakeMemory(uint64_t size)
        : size_(size),
          bytes_(static_cast<uint8_t*>(std::aligned_alloc(2 * kMiB, align_up(size, 2 * kMiB))), &std::free) {
        std::memset(bytes_.get(), 0xA5, size);  // RAM is not zero
    }
    void* at(PhysicalAddress address) override {
        if (address >= size_) throw std::out_of_range("no such physical memory");
        return bytes_.get() + address;
    }
    uint64_t read64(PhysicalAddress address) {
        uint64_t value;
        std::memcpy(&value, at(address), sizeof(value));
        return value;
    }

 private:
    uint64_t size_;
    std::unique_ptr<uint8_t, decltype(&std::free)> bytes_;
};

}  // namespace bareflow
