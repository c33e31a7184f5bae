#include "arch/x86_64/rtc.h"

#include <array>

#include "arch/x86_64/cpu.h"

namespace bareflow {
namespace {

constexpr uint16_t kIndexPort = 0x70, kDataPort = 0x71;

// Registers, and bits of those that control (MC146818A, "Address map").
enum Field : uint8_t { kSecond, kMinute, kHour, kDay, kMonth, kYear, kCentury, kFields };
constexpr uint8_t kRegisters[] = {0x00, 0x02, 0x04,
                                  0x07, 0x08, 0x09};  // of the fields; the century's is the FADT's
constexpr uint8_t kControlA = 0x0A, kControlB = 0x0B, kLastRegister = 0x7F;
constexpr uint8_t kUpdating = 0x80;  ///< of A: the time may change within 244 us, or changes now
constexpr uint8_t kBinary = 0x04, kHours24 = 0x02;  ///< of B
constexpr uint8_t kAfternoon = 0x80;                ///< of the hours, where there are 12

/// An update takes 2 ms at most, and a look at the port about a microsecond.
constexpr int kMostLooks = 20'000;
constexpr int kMostReadings = 10;
constexpr size_t kFadtCentury = 108;

class CmosPorts final : public CmosRegisters {
 public:
    uint8_t read(uint8_t index) override {
        cpu::out8(kIndexPort, index);
        return cpu::in8(kDataPort);
    }
};
constinit CmosPorts ports;

/// The registers as they stand.
using Reading = std::array<uint8_t, kFields>;

bool wait_for_update(CmosRegisters& registers) {
    for (int look = 0; look < kMostLooks; ++look) {
        if (!(registers.read(kControlA) & kUpdating)) return true;
    }
    return false;
}

Reading take_reading(CmosRegisters& registers, uint8_t century_register) {
    Reading reading{};
    for (size_t i = 0; i < std::size(kRegisters); ++i) reading[i] = registers.read(kRegisters[i]);
    if (century_register != 0) reading[kCentury] = registers.read(century_register);
    return reading;
}

/// Days since 1970-01-01 of a date in the Gregorian calendar. Years are counted from March, so that the leap day is their
/// last one, and a month's first day is a linear function of its number.
int64_t days_from_epoch(int64_t year, unsigned month, unsigned day) {
    constexpr int64_t kDaysTo1970 = 719'468;  // from 0000-03-01
    const int64_t y = month > 2 ? year : year - 1;
    const unsigned from_march = (month + 9) % 12;
    const int64_t day_of_year = (153 * from_march + 2) / 5 + day - 1;
    return 365 * y + y / 4 - y / 100 + y / 400 + day_of_year - kDaysTo1970;
}

unsigned days_in(unsigned year, unsigned month) {
    constexpr uint8_t kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return kDays[month - 1] + (month == 2 && leap ? 1 : 0);
}

}  // namespace

CmosRegisters& cmos_ports() { return ports; }

uint8_t rtc_century_register(ByteSpan fadt) {
    if (fadt.size() <= kFadtCentury || fadt[kFadtCentury] > kLastRegister) return 0;
    return fadt[kFadtCentury];
}

Result<uint64_t> read_rtc(CmosRegisters& registers, uint8_t century_register) {
    // Two readings that agree, neither taken while an update was near: no update came between their registers.
    Reading now{};
    bool steady = false;
    for (int i = 0; i < kMostReadings && !steady; ++i) {
        if (!wait_for_update(registers))
            return Error::make(ErrorCode::kDevice, "rtc: it never ends its update");
        const Reading first = take_reading(registers, century_register);
        if (!wait_for_update(registers))
            return Error::make(ErrorCode::kDevice, "rtc: it never ends its update");
        now = take_reading(registers, century_register);
        steady = first == now;
    }
    if (!steady) return Error::make(ErrorCode::kDevice, "rtc: its time changes with each look");

    const uint8_t control = registers.read(kControlB);
    const bool hours24 = control & kHours24;
    const bool afternoon = !hours24 && (now[kHour] & kAfternoon) != 0;
    bool fits = true;
    unsigned numbers[kFields];
    for (size_t i = 0; i < kFields; ++i) {
        const unsigned raw = i == kHour && !hours24 ? now[i] & ~kAfternoon & 0xFFu : now[i];
        const bool decimal = !(control & kBinary);
        numbers[i] = decimal ? (raw >> 4) * 10 + (raw & 0xF) : raw;
        fits = fits && (!decimal || ((raw >> 4) < 10 && (raw & 0xF) < 10));
    }
    unsigned hour = numbers[kHour];
    fits = fits && (hours24 ? hour < 24 : hour >= 1 && hour <= 12);
    if (!hours24) hour = hour % 12 + (afternoon ? 12 : 0);
    const unsigned second = numbers[kSecond], minute = numbers[kMinute], day = numbers[kDay],
                   month = numbers[kMonth], short_year = numbers[kYear], century = numbers[kCentury];
    constexpr unsigned kFirstCentury = 19, kPivot = 70;
    unsigned year = short_year + (short_year < kPivot ? 2000 : 1900);
    if (century_register != 0 && century >= kFirstCentury) year = century * 100 + short_year;
    fits = fits && second < 60 && minute < 60 && short_year < 100 && month >= 1 && month <= 12 && day >= 1 &&
           year >= 1970 && day <= days_in(year, month);
    if (!fits) {
        return Error::make(
            ErrorCode::kDevice,
            "rtc: {:02x}{:02x}-{:02x}-{:02x} {:02x}:{:02x}:{:02x} (raw) is no time; set the clock",
            now[kCentury], now[kYear], now[kMonth], now[kDay], now[kHour], now[kMinute], now[kSecond]);
    }
    constexpr uint64_t kSecondsOfDay = 86'400;
    return static_cast<uint64_t>(days_from_epoch(year, month, day)) * kSecondsOfDay + hour * 3600u +
           minute * 60u + second;
}

}  // namespace bareflow
