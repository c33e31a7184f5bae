#include "persist/fat16_name.h"

#include <cstddef>

#include "arch/base/text.h"

namespace bareflow {
namespace {

constexpr size_t kBaseBytes = 8, kExtensionBytes = 3;
constexpr uint8_t kLowerBase = 0x08, kLowerExtension = 0x10;
constexpr uint8_t kInsteadOfE5 = 0x05;  // a name may begin with E5, which means "erased"
constexpr uint32_t kReplacement = 0xFFFD;

bool is_short_name_character(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && std::string_view("$%'-_@~`!(){}^#&").find(c) != std::string_view::npos);
}

char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool pack(std::string_view text, uint8_t* out, size_t room) {
    if (text.size() > room) return false;
    for (size_t i = 0; i < room; ++i) {
        const char c = i < text.size() ? upper(text[i]) : ' ';
        if (i < text.size() && !is_short_name_character(c)) return false;
        out[i] = static_cast<uint8_t>(c);
    }
    return true;
}

void append_part(FixedString<12>& out, const uint8_t* part, size_t room, bool in_lower_case) {
    while (room > 0 && part[room - 1] == ' ') --room;
    for (size_t i = 0; i < room; ++i) {
        char c = part[i] < ' ' || part[i] >= 0x7F ? '?' : static_cast<char>(part[i]);
        if (in_lower_case) c = lower(c);
        out.append({&c, 1});
    }
}

/// Takes one character off `text`; a byte that begins none is a character of its own, and unlike every real one.
uint32_t take_character(std::string_view& text) {
    const int length = utf8_length(text);
    const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(text[i])); };
    constexpr uint32_t kNoUnicode = 0x110000;
    uint32_t character = kNoUnicode + byte(0);
    if (length == 1) character = byte(0);
    if (length == 2) character = (byte(0) & 0x1F) << 6 | (byte(1) & 0x3F);
    if (length == 3) character = (byte(0) & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    if (length == 4) {
        character =
            (byte(0) & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
    }
    text.remove_prefix(length > 0 ? static_cast<size_t>(length) : 1);
    return character;
}

/// The capital of a letter, where the alphabet keeps a fixed distance (Unicode's simple case mapping).
uint32_t folded(uint32_t c) {
    if (c >= 'a' && c <= 'z') return c - 0x20;
    if (c >= 0xE0 && c <= 0xFE && c != 0xF7) return c - 0x20;  // Latin-1, without the division sign
    if (c >= 0x3B1 && c <= 0x3C9 && c != 0x3C2) return c - 0x20;
    if (c >= 0x430 && c <= 0x44F) return c - 0x20;
    if (c >= 0x450 && c <= 0x45F) return c - 0x50;
    return c;
}

void append_character(FixedString<kLongNameBytes>& out, uint32_t c) {
    char bytes[4];
    size_t size = 0;
    const auto tail = [&](unsigned shift) { bytes[size++] = static_cast<char>(0x80 | (c >> shift & 0x3F)); };
    if (c < 0x80) {
        bytes[size++] = static_cast<char>(c);
    } else if (c < 0x800) {
        bytes[size++] = static_cast<char>(0xC0 | c >> 6);
        tail(0);
    } else if (c < 0x10000) {
        bytes[size++] = static_cast<char>(0xE0 | c >> 12);
        tail(6);
        tail(0);
    } else {
        bytes[size++] = static_cast<char>(0xF0 | c >> 18);
        tail(12);
        tail(6);
        tail(0);
    }
    out.append({bytes, size});
}

// A piece of a long name: its number, 13 units in three places, and the checksum of the short name.
struct LongNamePiece {
    uint8_t number;
    uint8_t first[10];  // units of UTF-16, not at even addresses
    uint8_t attributes;
    uint8_t type;
    uint8_t checksum;
    uint8_t second[12];
    uint8_t zero[2];
    uint8_t third[4];
};
static_assert(sizeof(LongNamePiece) == sizeof(DirectoryEntry) && offsetof(LongNamePiece, third) == 28);

constexpr uint8_t kLastPiece = 0x40;  // the last piece of a name stands first

}  // namespace

Result<void> pack_short_name(std::string_view name, uint8_t (&packed)[kShortNameBytes]) {
    const size_t dot = name.rfind('.');
    const std::string_view base = name.substr(0, dot);
    const std::string_view extension =
        dot == std::string_view::npos ? std::string_view() : name.substr(dot + 1);
    const bool empty_extension = dot != std::string_view::npos && extension.empty();
    if (base.empty() || empty_extension || !pack(base, packed, kBaseBytes) ||
        !pack(extension, packed + kBaseBytes, kExtensionBytes)) {
        return invalid(
            "\"{}\" is no 8.3 name: up to 8 letters, digits or $%'-_@~`!(){{}}^#&, a dot, up to 3 more",
            name);
    }
    return {};
}

FixedString<12> unpack_short_name(const DirectoryEntry& entry) {
    FixedString<12> text;
    uint8_t name[kShortNameBytes];
    __builtin_memcpy(name, entry.name, sizeof(name));
    if (name[0] == kInsteadOfE5) name[0] = 0xE5;
    append_part(text, name, kBaseBytes, (entry.case_bits & kLowerBase) != 0);
    const size_t base = text.size();
    text.append(".");
    append_part(text, name + kBaseBytes, kExtensionBytes, (entry.case_bits & kLowerExtension) != 0);
    if (text.size() == base + 1) text.truncate(base);
    return text;
}

uint8_t short_name_checksum(const uint8_t* packed) {
    uint8_t sum = 0;
    for (size_t i = 0; i < kShortNameBytes; ++i)
        sum = static_cast<uint8_t>((sum << 7 | sum >> 1) + packed[i]);
    return sum;
}

bool same_name(std::string_view one, std::string_view other) {
    while (!one.empty() && !other.empty()) {
        if (folded(take_character(one)) != folded(take_character(other))) return false;
    }
    return one.empty() && other.empty();
}

void LongName::feed(const DirectoryEntry& entry) {
    LongNamePiece piece;
    __builtin_memcpy(&piece, &entry, sizeof(piece));
    const uint32_t number = piece.number & ~uint32_t{kLastPiece};
    if ((piece.number & kLastPiece) != 0) {
        pieces_ = left_ = number;
        checksum_ = piece.checksum;
    }
    if (number == 0 || number > kMostPieces || number != left_ || piece.checksum != checksum_) {
        reset();
        return;
    }
    uint16_t* units = units_ + (number - 1) * kUnitsInPiece;
    __builtin_memcpy(units, piece.first, sizeof(piece.first));
    __builtin_memcpy(units + 5, piece.second, sizeof(piece.second));
    __builtin_memcpy(units + 11, piece.third, sizeof(piece.third));
    --left_;
}

uint32_t LongName::pieces_for(const DirectoryEntry& owner) const {
    const bool whole = pieces_ > 0 && left_ == 0 && checksum_ == short_name_checksum(owner.name);
    return whole ? pieces_ : 0;
}

void LongName::text(FixedString<kLongNameBytes>& out) const {
    out.clear();
    const uint32_t most = pieces_ * kUnitsInPiece < kLongNameUnits ? pieces_ * kUnitsInPiece : kLongNameUnits;
    for (uint32_t i = 0; i < most && units_[i] != 0; ++i) {
        uint32_t character = units_[i];
        const bool high = character >= 0xD800 && character < 0xDC00;
        if (high && i + 1 < most && units_[i + 1] >= 0xDC00 && units_[i + 1] < 0xE000) {
            character = 0x10000 + ((character - 0xD800) << 10) + (units_[++i] - 0xDC00U);
        } else if (character >= 0xD800 && character < 0xE000) {
            character = kReplacement;
        }
        append_character(out, character);
    }
}

}  // namespace bareflow
