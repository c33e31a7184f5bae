// When a file was made or changed, as FAT keeps it: local time, from 1980 to 2107, two seconds apart.
#pragma once

#include <cstdint>

namespace bareflow {

/// A date and time that somebody read off a clock. What no calendar has becomes the nearest that FAT can keep.
struct FatTime {
    uint16_t year = 1980;
    uint8_t month = 1;  ///< 1 to 12
    uint8_t day = 1;    ///< 1 to 31
    uint8_t hour = 0;
    uint8_t minute = 0;
    uint8_t second = 0;

    static constexpr FatTime unpacked(uint16_t date, uint16_t time) {
        return {static_cast<uint16_t>(1980 + (date >> 9)), static_cast<uint8_t>(date >> 5 & 15),
                static_cast<uint8_t>(date & 31),           static_cast<uint8_t>(time >> 11),
                static_cast<uint8_t>(time >> 5 & 63),      static_cast<uint8_t>((time & 31) * 2)};
    }
    /// UTC of `seconds` since 1970-01-01 00:00:00.
    static constexpr FatTime of_unix(uint64_t seconds) {
        constexpr uint64_t kPerDay = 86400;
        // Years from March on, so that a leap day is the last one; eras of 400 years (Gregorian calendar).
        constexpr uint64_t kFromMarch0000 = 719468, kPerEra = 146097;
        const uint64_t day_number = seconds / kPerDay + kFromMarch0000, era = day_number / kPerEra;
        const auto day_of_era = static_cast<uint32_t>(day_number % kPerEra);
        const uint32_t year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
        const uint32_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        const uint32_t from_march = (5 * day_of_year + 2) / 153;  // months of 30.6 days
        const uint64_t year = era * 400 + year_of_era + (from_march >= 10 ? 1 : 0);
        const auto second = static_cast<uint32_t>(seconds % kPerDay);
        return {.year = static_cast<uint16_t>(year < UINT16_MAX ? year : UINT16_MAX),
                .month = static_cast<uint8_t>(from_march < 10 ? from_march + 3 : from_march - 9),
                .day = static_cast<uint8_t>(day_of_year - (153 * from_march + 2) / 5 + 1),
                .hour = static_cast<uint8_t>(second / 3600),
                .minute = static_cast<uint8_t>(second / 60 % 60),
                .second = static_cast<uint8_t>(second % 60)};
    }
    constexpr uint16_t packed_date() const {
        return static_cast<uint16_t>(within(year, 1980, 2107) - 1980) << 9 | within(month, 1, 12) << 5 |
               within(day, 1, 31);
    }
    constexpr uint16_t packed_time() const {
        return static_cast<uint16_t>(within(hour, 0, 23) << 11 | within(minute, 0, 59) << 5 |
                                     within(second, 0, 59) / 2);
    }
    bool operator==(const FatTime&) const = default;

 private:
    static constexpr unsigned within(unsigned value, unsigned least, unsigned most) {
        return value < least ? least : value > most ? most : value;
    }
};

}  // namespace bareflow
