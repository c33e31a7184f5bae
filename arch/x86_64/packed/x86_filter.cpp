#include "arch/x86_64/packed/x86_filter.h"

namespace bareflow {
namespace {

constexpr unsigned kInstructionBytes = 5;  // CALL rel32 (E8) and JMP rel32 (E9): Intel SDM 2A

/// Operands are filtered whose highest byte is the sign of a number of 25 bits.
bool is_sign(uint32_t byte) { return byte == 0 || byte == 0xFF; }

uint32_t load(const uint8_t* bytes) {
    uint32_t value;
    __builtin_memcpy(&value, bytes, sizeof value);
    return value;
}

}  // namespace

void undo_x86_filter(uint8_t* data, size_t size) {
    // Which of the 3 bytes before (bit 0: the last one) looks like such an opcode and was left alone; and of those, whose
    // operand's highest byte is a sign. Our operand's bytes are theirs too: where theirs could have been filtered, or there are
    // two of them, ours was not; with one, ours was changed so that theirs still looks as if it could not be filtered.
    unsigned opcodes = 0, with_sign = 0;
    size_t at = 0;
    while (size - at >= kInstructionBytes && at < size) {
        const bool is_opcode = (data[at] & 0xFE) == 0xE8;
        const bool has_sign = is_opcode && is_sign(data[at + 4]);
        const bool at_most_one = (opcodes & (opcodes - 1)) == 0;
        if (has_sign && with_sign == 0 && at_most_one) {
            const unsigned back = opcodes == 4 ? 3 : opcodes;
            const uint32_t next = static_cast<uint32_t>(at + kInstructionBytes);
            uint32_t operand = load(data + at + 1) - next;
            if (opcodes != 0 && is_sign(operand >> (24 - 8 * back) & 0xFF))
                operand = (operand ^ ((1u << (32 - 8 * back)) - 1)) - next;
            constexpr uint32_t kSignBit = 1u << 24;
            operand = (operand & (kSignBit - 1)) | (0 - (operand >> 24 & 1)) << 24;
            __builtin_memcpy(data + at + 1, &operand, sizeof operand);
            at += kInstructionBytes;
            opcodes = with_sign = 0;
            continue;
        }
        opcodes = (opcodes << 1 | is_opcode) & 7;
        with_sign = (with_sign << 1 | has_sign) & 7;
        ++at;
    }
}

}  // namespace bareflow
