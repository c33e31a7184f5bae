// What the tests of both disk drivers share: a clock that moves when it is looked at, and requests.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "arch/base/terminal.h"
#include "persist/block_device.h"

namespace bareflow {

struct SteppingClock final : Clock {
    uint64_t now = 1'000'000'000;
    uint64_t step = 1000;
    uint64_t now_ns() override { return now += step; }
};

constexpr uint64_t kSecond = 1'000'000'000;

struct TestRequest : BlockRequest {
    explicit TestRequest(Kind what, uint64_t first = 0, size_t sectors = 0, uint8_t value = 0)
        : bytes(sectors * kSectorBytes + 1, value) {
        kind = what;
        sector = first;
        // Even, whatever the vector's address.
        data = std::span<uint8_t>(bytes).subspan(reinterpret_cast<uintptr_t>(bytes.data()) % 2,
                                                 sectors * kSectorBytes);
    }
    TestRequest(const TestRequest&) = delete;
    std::vector<uint8_t> bytes;

    bool succeeded() const { return done && outcome.ok(); }
    ErrorCode code() const { return outcome.error().code(); }
    std::string error() const { return outcome.ok() ? "" : std::string(outcome.error().message()); }
};

}  // namespace bareflow
