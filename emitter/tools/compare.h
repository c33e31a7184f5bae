// The same routine by all assemblers, side by side.
#pragma once

#include <ostream>

#include "emitter/tools/emit.h"

namespace bareflow {

/// What one assembler made; an error where it made nothing.
struct Made {
    std::string_view assembler;
    std::vector<uint8_t> code;
    std::string error;
};

/// Prints the sizes, then "identical" or the first difference with the instruction that each has there. True if all are
/// the same.
bool print_comparison(std::span<const Made> made, std::ostream& out);
/// Emits by all assemblers and prints that.
bool compare_assemblers(const RoutineKey& key, const Plan& plan, std::ostream& out);

}  // namespace bareflow
