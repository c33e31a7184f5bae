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
