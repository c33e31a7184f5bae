// EVEX encoding: 62 and three bytes of payload, then the opcode (Intel SDM 2A 2.7.1, figure 2-11).
#pragma once

#include "emitter/machine_code.h"

namespace bareflow::x86 {

namespace evex {
constexpr unsigned kEscape = 0x62;
constexpr unsigned kR = 7, kX = 6, kB = 5, kR2 = 4;  // P0, inverted; the map below
constexpr unsigned kW = 7, kVvvv = 3, kFixed = 2;    // P1, vvvv inverted, kFixed always 1; pp below
constexpr unsigned kZ = 7, kLength = 5, kBroadcast = 4, kV2 = 3;  // P2, V' inverted; the mask register below
}  // namespace evex

/// `reg` and `vvvv` below 32; `mask` the operand bits of the mask and zeroing (kMaskShift up).
template <typename Rules>
inline Bytes evex_prefix_and_opcode(Encoding encoding, HighBits high, uint32_t reg, RegMem rm, unsigned vvvv,
                                    unsigned length, uint32_t mask) {
    const bool is_memory = rm.is_memory();
    const unsigned x = is_memory ? high.x : Rules::evex_x_of_register(rm.id());
    const bool broadcast = is_memory && (rm.low() & operand_bits::kBroadcast) != 0;
    const bool zeroing = (mask & operand_bits::kZeroing) != 0;
    const unsigned p0 = ((high.r ^ 1) << evex::kR) | ((x ^ 1) << evex::kX) | ((high.b ^ 1) << evex::kB) |
                        ((Rules::evex_r2(reg) ^ 1) << evex::kR2) | encoding.map();
    const unsigned p1 = (Rules::evex_w(encoding) << evex::kW) | (((vvvv & 15) ^ 15) << evex::kVvvv) |
                        (1u << evex::kFixed) | encoding.pp();
    const unsigned p2 =
        (Rules::evex_zeroing(zeroing) << evex::kZ) | (Rules::evex_length(length) << evex::kLength) |
        (Rules::evex_broadcast(broadcast) << evex::kBroadcast) | ((Rules::evex_v2(vvvv) ^ 1) << evex::kV2) |
        ((mask & operand_bits::kMask) >> operand_bits::kMaskShift);
    return {evex::kEscape | (p0 << 8) | (p1 << 16) | (p2 << 24) |
                (static_cast<uint64_t>(encoding.opcode()) << 32),
            5};
}

}  // namespace bareflow::x86
