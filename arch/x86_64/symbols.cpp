#include "arch/x86_64/symbols.h"

#include "arch/x86_64/image.h"

namespace bareflow {

// As symbols.awk writes it, by address: how far each function is from the one before (ULEB128; the first one from
// __image_start), and its name with a NUL.
Symbol find_symbol(uint64_t address) {
    const uint8_t* next = __symbols_start;
    Symbol found{"?", address};
    if (address < address_of(__text_start) || address >= address_of(__text_end)) return found;
    uint64_t start = address_of(__image_start);
    while (next < __symbols_end) {
        for (unsigned shift = 0;; shift += 7) {
            start += uint64_t{*next & 0x7Fu} << shift;
            if ((*next++ & 0x80) == 0) break;
        }
        if (start > address) break;
        const std::string_view name = reinterpret_cast<const char*>(next);
        found = {name, address - start};
        next += name.size() + 1;
    }
    return found;
}

}  // namespace bareflow
