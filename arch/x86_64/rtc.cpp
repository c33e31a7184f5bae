#include "arch/x86_64/rtc.h"

#include "arch/x86_64/cpu.h"

namespace bareflow {
namespace {

constexpr uint16_t kIndexPort = 0x70, kDataPort = 0x71;

// Registers, and bits of those that control (MC146818A, "Address map").
constexpr uint8_t kSeconds = 0x00, kMinutes = 0x02, kHours = 0x04, kDay = 0x07, kMonth = 0x08, kYear = 0x09,
                  kControlA = 0x0A, kControlB = 0x0B, kLastRegister = 0x7F;
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
struct Reading {
    uint8_t second, minute, hour, day, month, year, century;
    bool operator==(const Reading&) const = default;
};

bool wait_for_update(CmosRegisters& registers) {
    for (int look = 0; look < kMostLooks; ++look) {
        if (!(registers.read(kControlA) & kUpdating)) return true;
    }
    return false;
}

Reading take_reading(CmosRegisters& registers, uint8_t century_register) {
    return {.second = registers.read(kSeconds),
            .minute = registers.read(kMinutes),
            .hour = registers.read(kHours),
            .day = registers.read(kDay),
            .month = registers.read(kMonth),
            .year = registers.read(kYear),
            .century = century_register == 0 ? uint8_t{0} : registers.read(century_register)};
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
    bool digits_fit = true;
    auto number = [&](uint8_t raw) -> unsigned {
        if (control & kBinary) return raw;
        digits_fit = digits_fit && (raw >> 4) < 10 && (raw & 0xF) < 10;
        return (raw >> 4) * 10u + (raw & 0xF);
    };
    const bool hours24 = control & kHours24;
    unsigned hour = number(hours24 ? now.hour : now.hour & static_cast<uint8_t>(~kAfternoon));
    const bool hour_fits = hours24 ? hour < 24 : hour >= 1 && hour <= 12;
    if (!hours24) hour = hour % 12 + (now.hour & kAfternoon ? 12 : 0);
    const unsigned second = number(now.second), minute = number(now.minute), day = number(now.day),
                   month = number(now.month), short_year = number(now.year), century = number(now.century);
    constexpr unsigned kFirstCentury = 19, kPivot = 70;
    unsigned year = short_year + (short_year < kPivot ? 2000 : 1900);
    if (century_register != 0 && century >= kFirstCentury) year = century * 100 + short_year;
    const bool fits = digits_fit && hour_fits && second < 60 && minute < 60 && short_year < 100 &&
                      month >= 1 && month <= 12 && day >= 1 && year >= 1970 && day <= days_in(year, month);
    if (!fits) {
        return Error::make(
            ErrorCode::kDevice,
            "rtc: {:02x}{:02x}-{:02x}-{:02x} {:02x}:{:02x}:{:02x} (raw) is no time; set the clock",
            now.century, now.year, now.month, now.day, now.hour, now.minute, now.second);
    }
    constexpr uint64_t kSecondsOfDay = 86'400;
    return static_cast<uint64_t>(days_from_epoch(year, month, day)) * kSecondsOfDay + hour * 3600u +
           minute * 60u + second;
}

}  // namespace bareflow
