// The decisions that encoders have shipped wrong, each one named and standing alone (FIELD.md lists the bugs; SDM 2A
// chapters 2.1 to 2.7 the rules). The encoders take them as a template argument, so that tests can plant a wrong one
// and show that it would be found.
#pragma once

#include <cstdint>

#include "emitter/encoding.h"

namespace bareflow::x86 {

/// The VEX prefix (figure 2-9).
namespace vex {
constexpr uint32_t kThreeBytes = 0xC4, kTwoBytes = 0xC5;
// Places in the 3-byte prefix with its opcode, read as one little-endian word: C4, RXBmmmmm, WvvvvLpp, opcode.
constexpr uint32_t kR = 1u << 15, kX = 1u << 14, kB = 1u << 13;  // inverted
constexpr int kVvvvShift = 19;                                   // inverted
constexpr uint32_t kVvvv = 15u << kVvvvShift;
constexpr uint32_t kL = 1u << 18;
constexpr uint32_t kW = 1u << 23, kMap = 31u << 8, kMap0F = 1u << 8;
// The 2-byte form is C5, RvvvvLpp, opcode: R stays where it is, the rest moves down by a byte.
constexpr uint32_t kMovesDown = 0xFF7F00;
}  // namespace vex

struct EncodingRules {
    /// rsp and r12 as a base mean "SIB follows" in ModRM.rm, so they need one (table 2-2).
    static constexpr bool base_needs_sib(unsigned base) { return (base & 7) == 4; }
    /// rbp and r13 with mod 00 mean "no base": they always carry a displacement.
    static constexpr bool base_needs_displacement(unsigned base) { return (base & 7) == 5; }
    static constexpr bool fits_disp8(int32_t displacement) {
        return displacement == static_cast<int8_t>(displacement);
    }
    /// EVEX counts disp8 in multiples of 1 << shift: whether `displacement` is one (2.7.5).
    static constexpr bool is_multiple(int32_t displacement, unsigned shift) {
        return (displacement & ((1 << shift) - 1)) == 0;
    }
    static constexpr unsigned evex_disp8_shift(Encoding encoding, unsigned length, bool broadcast) {
        return broadcast ? encoding.broadcast_shift() : encoding.disp8_shift(length);
    }
    /// The 2-byte VEX prefix has neither X, B nor W and implies map 0F (2.3.5). `word` is the 3-byte form, whose X and
    /// B are inverted.
    static constexpr bool two_byte_vex(uint32_t word) {
        return (word & (vex::kX | vex::kB | vex::kW | vex::kMap)) == (vex::kX | vex::kB | vex::kMap0F);
    }
    /// Bit 4 of ModRM.rm as a register sits in EVEX.X; bit 4 of ModRM.reg in R'; of vvvv in V' (table 2-32).
    static constexpr unsigned evex_x_of_register(unsigned id) { return (id >> 4) & 1; }
    static constexpr unsigned evex_r2(unsigned id) { return (id >> 4) & 1; }
    static constexpr unsigned evex_v2(unsigned id) { return (id >> 4) & 1; }
    static constexpr unsigned evex_length(unsigned length) { return length; }
    static constexpr unsigned evex_broadcast(bool broadcast) { return broadcast ? 1 : 0; }
    static constexpr unsigned evex_zeroing(bool zeroing) { return zeroing ? 1 : 0; }
    static constexpr unsigned evex_w(Encoding encoding) { return encoding.evex_w(); }
    static constexpr unsigned rex_w(Encoding encoding) { return encoding.w(); }
    /// Without a REX prefix byte registers 4-7 are ah, ch, dh, bh instead of spl, bpl, sil, dil (table 2-5).
    static constexpr bool byte_register_needs_rex(unsigned id) { return id >= 4; }
    /// rip-relative displacements count from the end of the instruction, immediates included (2.2.1.6).
    static constexpr int64_t relative(int64_t target, int64_t field, unsigned field_to_end) {
        return target - field - field_to_end;
    }
    /// A jump's distance from its own end, in 8 bits.
    static constexpr bool short_jump_reaches(int64_t distance) { return distance >= -128 && distance <= 127; }
    static constexpr bool fits_imm8(int32_t value) { return value == static_cast<int8_t>(value); }
    static constexpr bool fits_buffer(uint64_t size, uint64_t room) { return size <= room; }
};

}  // namespace bareflow::x86
