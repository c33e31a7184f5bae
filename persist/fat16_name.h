// Names of files: the eleven bytes of an 8.3 name, and long names, which stand in front of it in entries of their own
// (Microsoft "FAT: General Overview of On-Disk Format" 1.03, "Long Directory Entries").
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "arch/base/format.h"
#include "arch/base/result.h"

namespace bareflow {

inline constexpr size_t kShortNameBytes = 11;
inline constexpr size_t kLongNameUnits = 255;                     // of UTF-16
inline constexpr size_t kLongNameBytes = kLongNameUnits * 3 + 3;  // of UTF-8, at most

/// What a directory holds for each file, and in other clothes for each piece of a long name.
struct DirectoryEntry {
    uint8_t name[kShortNameBytes];
    uint8_t attributes;
    uint8_t case_bits;  ///< Windows NT: name or extension is to be shown in lower case
    uint8_t created_tenths;
    uint16_t created_time;
    uint16_t created_date;
    uint16_t accessed_date;
    uint16_t first_cluster_high;  ///< of FAT32; other systems keep other things here
    uint16_t time;
    uint16_t date;
    uint16_t first_cluster;
    uint32_t size;

    bool is_end() const { return name[0] == 0; }
    bool is_erased() const { return name[0] == 0xE5; }
    bool is_long_name() const { return (attributes & 0x3F) == kLongName; }
    bool is_label() const { return !is_long_name() && (attributes & kLabel) != 0; }
    bool is_directory() const { return (attributes & kDirectory) != 0; }
    bool is_dot() const { return name[0] == '.'; }

    enum : uint8_t {
        kReadOnly = 0x01,
        kHidden = 0x02,
        kSystem = 0x04,
        kLabel = 0x08,
        kDirectory = 0x10,
        kArchive = 0x20,
        kLongName = 0x0F,
    };
};
static_assert(sizeof(DirectoryEntry) == 32 && offsetof(DirectoryEntry, size) == 28);

/// The eleven bytes for `name`: letters in upper case, padded with spaces. kInvalid: not an 8.3 name; says why.
Result<void> pack_short_name(std::string_view name, uint8_t (&packed)[kShortNameBytes]);
/// NAME.EXT, with the case that `entry` asks for; bytes that are not ASCII show as '?', since their code page is not
/// known.
FixedString<12> unpack_short_name(const DirectoryEntry& entry);
/// What a long name's pieces carry to tell whose they are.
uint8_t short_name_checksum(const uint8_t* packed);

/// Whether two names are the same to FAT: letters in either case, of ASCII, Latin-1, Greek and Cyrillic. Both UTF-8.
bool same_name(std::string_view one, std::string_view other);

/// Puts a long name together from the entries in front of a file's own.
class LongName {
 public:
    /// The next entry of a directory, in order; one that does not fit makes the name worthless.
    void feed(const DirectoryEntry& piece);
    void reset() { pieces_ = left_ = 0; }
    /// How many entries, if they are the whole name of `owner`, which follows them; else 0.
    uint32_t pieces_for(const DirectoryEntry& owner) const;
    /// As UTF-8; what is no Unicode becomes U+FFFD.
    void text(FixedString<kLongNameBytes>& out) const;

 private:
    static constexpr uint32_t kUnitsInPiece = 13, kMostPieces = 20;
    uint16_t units_[kMostPieces * kUnitsInPiece] = {};
    uint32_t pieces_ = 0, left_ = 0;  // of the name; still to come. No name: both 0
    uint8_t checksum_ = 0;
};

}  // namespace bareflow
