#include "arch/base/crc32c.h"

#include <gtest/gtest.h>

#include <string_view>
#include <vector>

namespace bareflow {
namespace {

ByteSpan bytes_of(std::string_view text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

/// By tables, and by the instruction where the CPU has it.
class Crc32c : public testing::TestWithParam<bool> {
    void SetUp() override {
        if (GetParam() && !__builtin_cpu_supports("sse4.2")) GTEST_SKIP();
        crc32c_by_instruction(GetParam());
    }
    void TearDown() override { crc32c_by_instruction(false); }
};
INSTANTIATE_TEST_SUITE_P(Each, Crc32c, testing::Bool());

// RFC 3720 appendix B.4, and the catalogue's check value.
TEST_P(Crc32c, GivesThePublishedCheckValues) {
    EXPECT_EQ(crc32c(bytes_of("123456789")), 0xE3069283u);
    EXPECT_EQ(crc32c(std::vector<uint8_t>(32, 0x00)), 0x8A9136AAu);
    EXPECT_EQ(crc32c(std::vector<uint8_t>(32, 0xFF)), 0x62A8AB43u);
    EXPECT_EQ(crc32c({}), 0u);
}

/// Every second stretch of time between two looks is longer.
class LimpingClock final : public Clock {
 public:
    explicit LimpingClock(bool tables_first) : odd_(tables_first) {}
    uint64_t now_ns() override {
        if (looks_++ % 2 != 0) now_ += (looks_ / 2 % 2 != 0) == odd_ ? 100 : 900;
        return now_;
    }

 private:
    bool odd_;
    uint64_t looks_ = 0, now_ = 0;
};

TEST(Crc32cChoice, TakesWhatTheClockSaysIsQuicker) {
    if (!__builtin_cpu_supports("sse4.2")) GTEST_SKIP();
    for (bool tables_are_quicker : {false, true}) {
        LimpingClock clock(tables_are_quicker);
        crc32c_by_what_is_quicker(clock);
        EXPECT_EQ(crc32c_uses_instruction(), !tables_are_quicker);
    }
    crc32c_by_instruction(false);
}

TEST_P(Crc32c, OfTwoPiecesEqualsThatOfTheWhole) {
    std::vector<uint8_t> data(1000);
    for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<uint8_t>(i * 37);
    ByteSpan all(data);
    for (size_t split : {0, 1, 7, 8, 9, 500, 999, 1000}) {
        EXPECT_EQ(crc32c(all.subspan(split), crc32c(all.first(split))), crc32c(all)) << split;
    }
}

}  // namespace
}  // namespace bareflow
