// VEX encoding: C5 with one byte or C4 with two, then the opcode (Intel SDM 2A 2.3.5, figure 2-9).
#pragma once

#include "emitter/machine_code.h"

namespace bareflow::x86 {

/// `reg`: operand bits of ModRM.reg with the vector length; `vvvv`: operand bits, register 0 where it is not used.
template <typename Rules>
[[gnu::always_inline]] inline Bytes vex_prefix_and_opcode(Encoding encoding, uint32_t reg, RegMem rm,
                                                          uint32_t vvvv) {
    const auto move = [](uint32_t bits, int by) { return by >= 0 ? bits << by : bits >> -by; };
    const uint32_t extension =
        (move(reg, 15 - 3) & vex::kR) | (move(rm.low(), 14 - (operand_bits::kIndexShift + 3)) & vex::kX) |
        (move(rm.low(), 13 - 3) & vex::kB) | (move(vvvv, vex::kVvvvShift) & vex::kVvvv);
    const uint32_t length = move(reg, 18 - operand_bits::kLengthShift) & vex::kL;
    const uint32_t inverted = extension ^ (vex::kR | vex::kX | vex::kB | vex::kVvvv);
    const uint32_t word = encoding.vex_word() | vex::kThreeBytes | inverted | length;
    if (Rules::two_byte_vex(word))
        return {vex::kTwoBytes | (word & vex::kR) | ((word >> 8) & vex::kMovesDown), 3};
    return {word, 4};
}

}  // namespace bareflow::x86
