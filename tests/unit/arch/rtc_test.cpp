// The real-time clock in all its encodings, in the middle of an update, and broken.
#include "arch/x86_64/rtc.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace bareflow {
namespace {

constexpr uint8_t kCentury = 0x32;

class FakeCmos final : public CmosRegisters {
 public:
    std::array<uint8_t, 128> bytes{};
    unsigned updating_for = 0;  ///< looks at register A until the update is over
    unsigned reads = 0;
    bool ticks = false;  ///< each reading of the seconds gives another one
    std::vector<std::pair<unsigned, std::array<uint8_t, 128>>> later;  ///< from that many reads on

    uint8_t read(uint8_t index) override {
        ++reads;
        if (!later.empty() && reads >= later.front().first) {
            bytes = later.front().second;
            later.erase(later.begin());
        }
        if (index == 0x0A && updating_for > 0) {
            --updating_for;
            return 0x80 | 0x26;
        }
        if (index < 0x0A && updating_for > 0)
            return 0xFF;  // whatever stands there in the middle of an update
        if (index == 0x00 && ticks) bytes[0] ^= 1;
        return bytes.at(index);
    }
    FakeCmos& set(uint8_t century, uint8_t year, uint8_t month, uint8_t day, uint8_t hour, uint8_t minute,
                  uint8_t second, uint8_t control) {
        bytes[0x00] = second, bytes[0x02] = minute, bytes[0x04] = hour, bytes[0x07] = day,
        bytes[0x08] = month, bytes[0x09] = year, bytes[kCentury] = century, bytes[0x0A] = 0x26,
        bytes[0x0B] = control;
        return *this;
    }
};
constexpr uint8_t kBcd24 = 0x02, kBcd12 = 0x00, kBinary24 = 0x06, kBinary12 = 0x04;

uint64_t seconds(FakeCmos& cmos, uint8_t century = kCentury) {
    Result<uint64_t> result = read_rtc(cmos, century);
    return result.ok() ? result.value() : 0;
}

TEST(Rtc, ReadsEveryEncoding) {
    constexpr uint64_t kEvening = 1'925'067'906;  // 2031-01-01 21:05:06 UTC
    FakeCmos cmos;
    EXPECT_EQ(seconds(cmos.set(0x20, 0x31, 0x01, 0x01, 0x21, 0x05, 0x06, kBcd24)), kEvening);
    EXPECT_EQ(seconds(cmos.set(0x20, 0x31, 0x01, 0x01, 0x89, 0x05, 0x06, kBcd12)), kEvening);
    EXPECT_EQ(seconds(cmos.set(20, 31, 1, 1, 21, 5, 6, kBinary24)), kEvening);
    EXPECT_EQ(seconds(cmos.set(20, 31, 1, 1, 0x80 | 9, 5, 6, kBinary12)), kEvening);
}

TEST(Rtc, NoonAndMidnightOf12Hours) {
    FakeCmos cmos;
    constexpr uint64_t kDay = 946'684'800;  // 2000-01-01
    EXPECT_EQ(seconds(cmos.set(0x20, 0x00, 0x01, 0x01, 0x12, 0x00, 0x00, kBcd12)), kDay);
    EXPECT_EQ(seconds(cmos.set(0x20, 0x00, 0x01, 0x01, 0x92, 0x00, 0x00, kBcd12)), kDay + 43'200);
    EXPECT_EQ(seconds(cmos.set(0x20, 0x00, 0x01, 0x01, 0x91, 0x00, 0x00, kBcd12)), kDay + 39'600 + 43'200);
}

TEST(Rtc, DatesAtTheEdgesOfMonthsYearsAndCenturies) {
    FakeCmos cmos;
    EXPECT_EQ(seconds(cmos.set(0x19, 0x70, 0x01, 0x01, 0x00, 0x00, 0x01, kBcd24)), 1u);
    EXPECT_EQ(seconds(cmos.set(0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x59, kBcd24)), 946'684'799u);
    EXPECT_EQ(seconds(cmos.set(0x20, 0x00, 0x02, 0x29, 0x00, 0x00, 0x00, kBcd24)), 951'782'400u);
    EXPECT_EQ(seconds(cmos.set(0x20, 0x24, 0x02, 0x29, 0x23, 0x59, 0x59, kBcd24)), 1'709'251'199u);
    EXPECT_EQ(seconds(cmos.set(0x20, 0x24, 0x03, 0x01, 0x00, 0x00, 0x00, kBcd24)), 1'709'251'200u);
    EXPECT_EQ(seconds(cmos.set(0x21, 0x00, 0x03, 0x01, 0x00, 0x00, 0x00, kBcd24)), 4'107'542'400u);
}

TEST(Rtc, WithoutACenturyYearsUpTo69AreOfThisOne) {
    FakeCmos cmos;
    EXPECT_EQ(seconds(cmos.set(0xFF, 0x24, 0x03, 0x01, 0x00, 0x00, 0x00, kBcd24), 0), 1'709'251'200u);
    EXPECT_EQ(seconds(cmos.set(0xFF, 0x99, 0x12, 0x31, 0x23, 0x59, 0x59, kBcd24), 0), 946'684'799u);
    EXPECT_EQ(seconds(cmos.set(0x00, 0x24, 0x03, 0x01, 0x00, 0x00, 0x00, kBcd24)), 1'709'251'200u)
        << "a century that was never set";
}

TEST(Rtc, WaitsForAnUpdateAndReadsAgainIfOneCameBetween) {
    FakeCmos cmos;
    cmos.set(0x20, 0x24, 0x02, 0x29, 0x23, 0x59, 0x59, kBcd24);
    cmos.updating_for = 500;
    EXPECT_EQ(seconds(cmos), 1'709'251'199u);

    FakeCmos turning, after;
    after.set(0x20, 0x24, 0x03, 0x01, 0x00, 0x00, 0x00, kBcd24);
    for (unsigned read = 1; read < 20; ++read) {  // the new day begins between any two reads
        turning.set(0x20, 0x24, 0x02, 0x29, 0x23, 0x59, 0x59, kBcd24);
        turning.reads = 0;
        turning.later = {{read, after.bytes}};
        const uint64_t got = seconds(turning);
        EXPECT_TRUE(got == 1'709'251'199u || got == 1'709'251'200u) << read << ": " << got;
    }
}

TEST(Rtc, ADeadClockIsAnErrorAndNoEndlessLoop) {
    FakeCmos stuck, racing, absent;
    stuck.updating_for = UINT32_MAX;
    EXPECT_FALSE(read_rtc(stuck, kCentury).ok());
    racing.set(0x20, 0x24, 0x03, 0x01, 0x00, 0x00, 0x00, kBcd24);
    racing.ticks = true;
    EXPECT_FALSE(read_rtc(racing, kCentury).ok());
    absent.bytes.fill(0xFF);
    EXPECT_FALSE(read_rtc(absent, kCentury).ok());
    absent.bytes.fill(0);
    EXPECT_FALSE(read_rtc(absent, kCentury).ok()) << "month 0";
}

TEST(Rtc, WhatIsNoTimeIsAnError) {
    FakeCmos cmos;
    EXPECT_EQ(seconds(cmos.set(0x20, 0x23, 0x02, 0x29, 0x00, 0x00, 0x00, kBcd24)), 0u) << "no leap year";
    EXPECT_EQ(seconds(cmos.set(0x21, 0x00, 0x02, 0x29, 0x00, 0x00, 0x00, kBcd24)), 0u) << "2100 is none";
    EXPECT_EQ(seconds(cmos.set(0x20, 0x24, 0x04, 0x31, 0x00, 0x00, 0x00, kBcd24)), 0u);
    EXPECT_EQ(seconds(cmos.set(0x20, 0x24, 0x13, 0x01, 0x00, 0x00, 0x00, kBcd24)), 0u);
    EXPECT_EQ(seconds(cmos.set(0x20, 0x24, 0x01, 0x01, 0x24, 0x00, 0x00, kBcd24)), 0u);
    EXPECT_EQ(seconds(cmos.set(0x20, 0x24, 0x01, 0x01, 0x13, 0x00, 0x00, kBcd12)), 0u) << "13 of 12 hours";
    EXPECT_EQ(seconds(cmos.set(0x20, 0x24, 0x01, 0x01, 0x00, 0x00, 0x00, kBcd12)), 0u) << "0 of 12 hours";
    EXPECT_EQ(seconds(cmos.set(0x20, 0x24, 0x01, 0x01, 0x00, 0x60, 0x00, kBcd24)), 0u);
    EXPECT_EQ(seconds(cmos.set(0x20, 0x24, 0x01, 0x1A, 0x00, 0x00, 0x00, kBcd24)), 0u) << "no decimal digits";
}

TEST(Rtc, TheFadtSaysWhereTheCenturyIs) {
    std::vector<uint8_t> fadt(276);
    EXPECT_EQ(rtc_century_register(fadt), 0);
    fadt[108] = 0x32;
    EXPECT_EQ(rtc_century_register(fadt), 0x32);
    fadt[108] = 0x80;
    EXPECT_EQ(rtc_century_register(fadt), 0) << "no register";
    EXPECT_EQ(rtc_century_register({fadt.data(), 108}), 0) << "a table that ends before";
    EXPECT_EQ(rtc_century_register({}), 0);
}

}  // namespace
}  // namespace bareflow
