#include "arch/x86_64/symbols.h"

#include <algorithm>
#include <span>

#include "arch/x86_64/image.h"

namespace bareflow {
namespace {

/// As symbols.awk writes it: a count, that many entries sorted by address, then NUL-terminated names.
struct Entry {
    uint32_t offset;  ///< of the function from __text_start
    uint32_t name;    ///< offset of its name among the names
};
struct Header {
    uint32_t count;
    uint32_t names_size;
};

}  // namespace

Symbol find_symbol(uint64_t address) {
    const uint8_t* table = __symbols_start;
    const size_t size = static_cast<size_t>(__symbols_end - __symbols_start);
    const uint64_t text = address_of(__text_start);
    if (size < sizeof(Header) || address < text || address >= address_of(__text_end)) return {"?", address};
    Header header;
    __builtin_memcpy(&header, table, sizeof header);
    const std::span entries(reinterpret_cast<const Entry*>(table + sizeof header), header.count);
    const char* names = reinterpret_cast<const char*>(entries.data() + entries.size());
    const uint32_t offset = static_cast<uint32_t>(address - text);
    auto after = std::upper_bound(entries.begin(), entries.end(), offset,
                                  [](uint32_t value, const Entry& entry) { return value < entry.offset; });
    if (after == entries.begin()) return {"?", address};
    const Entry& entry = *(after - 1);
    return {std::string_view(names + entry.name), offset - entry.offset};
}

}  // namespace bareflow
