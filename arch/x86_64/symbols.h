// The kernel's own symbol table: which function an address lies in. Made by arch/x86_64/symbols.awk from `nm` after a
// first link and put in by a second one, into a segment behind everything else so that nothing moves.
#pragma once

#include <cstdint>
#include <string_view>

namespace bareflow {

struct Symbol {
    std::string_view name;  ///< "?" when the address is in no known function
    uint64_t offset = 0;    ///< of the address from the function's start
};

Symbol find_symbol(uint64_t address);

}  // namespace bareflow
