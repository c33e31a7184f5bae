// A source of choices: a random generator, or a fuzzer's bytes.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace bareflow::x86 {

class Chooser {
 public:
    virtual ~Chooser() = default;
    /// 0 to limit - 1.
    virtual uint32_t below(uint32_t limit) = 0;
    bool one_in(uint32_t n) { return below(n) == 0; }
    template <typename T>
    const T& pick(const std::vector<T>& from) {
        return from[below(static_cast<uint32_t>(from.size()))];
    }
};

class RandomChooser : public Chooser {
 public:
    explicit RandomChooser(uint32_t seed) : engine_(seed) {}
    uint32_t below(uint32_t limit) override { return static_cast<uint32_t>(engine_() % limit); }

 private:
    std::mt19937 engine_;
};

/// Choices from a fuzzer's bytes; zero when they are used up.
class ByteChooser : public Chooser {
 public:
    explicit ByteChooser(std::span<const uint8_t> bytes) : bytes_(bytes) {}
    uint32_t below(uint32_t limit) override {
        uint32_t value = 0;
        for (uint64_t reach = 1; reach < limit && !bytes_.empty(); reach <<= 8) {
            value = (value << 8) | bytes_.front();
            bytes_ = bytes_.subspan(1);
        }
        return value % limit;
    }
    bool empty() const { return bytes_.empty(); }

 private:
    std::span<const uint8_t> bytes_;
};

}  // namespace bareflow::x86
