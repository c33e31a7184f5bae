// Emitted code for people: instructions with their bytes, what each register is at that point, labels at the places that
// jumps go to, constants as the numbers that they are.
#pragma once

#include <ostream>

#include "emitter/tools/emit.h"

namespace bareflow {

void print_listing(const EmittedRoutine& routine, std::string_view assembler, std::ostream& out);

/// The instruction that holds byte `place` of the code: its offset and its text, for a message.
struct InstructionAt {
    size_t offset = 0;
    std::string bytes, text;
};
InstructionAt instruction_at(ByteSpan code, size_t place);

}  // namespace bareflow
