#include "persist/grub_environment.h"

namespace bareflow {
namespace {

constexpr std::string_view kSignature = "# GRUB Environment Block\n";
constexpr char kFree = '#', kComment = '#', kEscape = '\\', kNewline = '\n';
constexpr size_t kNone = SIZE_MAX;

static_assert(GrubEnvironment::kBytes % GrubEnvironment::kWritableBytes == 0);

/// The newline that ends the line from `begin` on: one that is not escaped. kNone: there is none.
size_t end_of_line(std::string_view text, size_t begin) {
    for (size_t at = begin; at < text.size(); ++at) {
        if (text[at] == kNewline) return at;
        if (text[at] == kEscape) ++at;
    }
    return kNone;
}

bool is_control(char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7F'; }

Result<void> check_name(std::string_view name) {
    if (name.empty() || name[0] == kComment) return invalid("\"{}\" is no name of a GRUB variable", name);
    for (char c : name) {
        if (is_control(c) || c == '=' || c == kEscape) {
            return invalid("the name of a GRUB variable has the byte {} in it",
                           static_cast<unsigned char>(c));
        }
    }
    return {};
}

/// `value` as it stands in the block; false if it does not fit into `out`.
bool escape(std::string_view value, GrubEnvironment::Value& out) {
    for (char c : value) {
        const bool escaped = c == kEscape || c == kNewline;
        if (GrubEnvironment::kBytes - out.size() < 1 + size_t{escaped}) return false;
        const char bytes[] = {kEscape, c};
        out.append(escaped ? std::string_view(bytes, 2) : std::string_view(&c, 1));
    }
    return true;
}

}  // namespace

GrubEnvironment::GrubEnvironment() : used_(kSignature.size()) {
    __builtin_memcpy(text_, kSignature.data(), kSignature.size());
    __builtin_memset(text_ + used_, kFree, kBytes - used_);
}

Result<GrubEnvironment> GrubEnvironment::parse(ByteSpan block) {
    if (block.size() != kBytes) {
        return invalid("GRUB's environment block has {} bytes, and should have {}", block.size(), kBytes);
    }
    GrubEnvironment result;
    __builtin_memcpy(result.text_, block.data(), kBytes);
    if (result.text(0, kSignature.size()) != kSignature) {
        return invalid("no environment block of GRUB: it does not begin with \"# GRUB Environment Block\"");
    }
    size_t used = kBytes;
    while (result.text_[used - 1] == kFree) --used;  // ends at the signature's newline
    for (size_t begin = kSignature.size(); begin < used;) {
        const size_t end = end_of_line(result.text(0, used), begin);
        if (end == kNone) return invalid("GRUB's environment block: the line at byte {} has no end", begin);
        TRY(result.check_line(begin, end));
        // What was read so far is all that a later line could repeat.
        result.used_ = begin = end + 1;
    }
    result.used_ = used;
    return result;
}

/// A line behind those that are known to be good.
Result<void> GrubEnvironment::check_line(size_t begin, size_t end) const {
    const std::string_view line = text(begin, end);
    if (line.find('\0') != line.npos) return invalid("GRUB's environment block: a zero byte at {}", begin);
    if (line.starts_with(kComment)) return {};
    const size_t equals = line.find('=');
    if (equals == line.npos)
        return invalid("GRUB's environment block: the line at byte {} has no \"=\"", begin);
    const std::string_view name = line.substr(0, equals);
    TRY(check_name(name));
    Line earlier;
    if (find(name, earlier)) return invalid("GRUB's environment block: \"{}\" is set twice", name);
    return {};
}

bool GrubEnvironment::next_line(size_t& position, Line& line) const {
    if (position < kSignature.size()) position = kSignature.size();
    while (position < used_) {
        const size_t begin = position, end = end_of_line(text(0, used_), begin);
        position = end + 1;
        if (text_[begin] == kComment) continue;
        line = {begin, begin + text(begin, end).find('='), end};
        return true;
    }
    return false;
}

bool GrubEnvironment::next(size_t& position, std::string_view& name, Value& value) const {
    Line line;
    if (!next_line(position, line)) return false;
    name = text(line.begin, line.equals);
    value.clear();
    for (size_t at = line.equals + 1; at < line.end; ++at) {
        if (text_[at] == kEscape) ++at;
        value.append(text(at, at + 1));
    }
    return true;
}

bool GrubEnvironment::find(std::string_view name, Line& line) const {
    for (size_t position = 0; next_line(position, line);) {
        if (text(line.begin, line.equals) == name) return true;
    }
    return false;
}

Result<GrubEnvironment::Value> GrubEnvironment::get(std::string_view name) const {
    std::string_view found;
    Value value;
    for (size_t position = 0; next(position, found, value);) {
        if (found == name) return value;
    }
    return Error::make(ErrorCode::kNotFound, "GRUB's environment block does not set \"{}\"", name);
}

Result<void> GrubEnvironment::set(std::string_view name, std::string_view value) {
    TRY(check_name(name));
    if (value.find('\0') != value.npos) return invalid("the value of \"{}\" has a zero byte in it", name);
    Value escaped;
    const bool fits_block = escape(value, escaped);

    Line line;
    const bool exists = find(name, line);
    const size_t old_bytes = exists ? line.end - line.equals - 1 : 0;
    const size_t new_bytes = exists ? escaped.size() : name.size() + escaped.size() + 2;  // `=` and newline
    if (!fits_block || used_ > kWritableBytes || used_ - old_bytes + new_bytes > kWritableBytes) {
        return Error::make(
            ErrorCode::kOutOfRange,
            "\"{}\" does not fit: the variables of GRUB's environment block must stay in its first {} "
            "bytes; remove some with grub-editenv",
            name, kWritableBytes);
    }
    if (exists) {
        char* const place = text_ + line.equals + 1;
        __builtin_memmove(place + new_bytes, text_ + line.end, used_ - line.end);
        __builtin_memcpy(place, escaped.view().data(), new_bytes);
    } else {
        char* const place = text_ + used_;
        __builtin_memcpy(place, name.data(), name.size());
        place[name.size()] = '=';
        __builtin_memcpy(place + name.size() + 1, escaped.view().data(), escaped.size());
        place[new_bytes - 1] = kNewline;
    }
    used_ = used_ - old_bytes + new_bytes;
    __builtin_memset(text_ + used_, kFree, kBytes - used_);
    return {};
}

Result<GrubEnvironment> read_grub_environment(FixedFile& file) {
    if (file.size() != GrubEnvironment::kBytes) {
        return invalid("GRUB's environment block has {} bytes, and should have {}", file.size(),
                       GrubEnvironment::kBytes);
    }
    uint8_t block[GrubEnvironment::kBytes];
    TRY(file.read(0, block));
    return GrubEnvironment::parse(block);
}

Result<void> write_grub_environment(FixedFile& file, const GrubEnvironment& environment) {
    constexpr size_t kSector = GrubEnvironment::kWritableBytes;
    if (file.size() != GrubEnvironment::kBytes) {
        return invalid("the file for GRUB's environment block has {} bytes, and should have {}", file.size(),
                       GrubEnvironment::kBytes);
    }
    uint8_t block[GrubEnvironment::kBytes];
    TRY(file.read(0, block));
    // The sector with the signature last: where both differ, the file was no block before, and is one only then.
    for (size_t offset = GrubEnvironment::kBytes; offset > 0;) {
        offset -= kSector;
        const ByteSpan sector = environment.bytes().subspan(offset, kSector);
        if (__builtin_memcmp(sector.data(), block + offset, kSector) == 0) continue;
        TRY(file.write(offset, sector));
        TRY(file.flush());
    }
    return {};
}

}  // namespace bareflow
