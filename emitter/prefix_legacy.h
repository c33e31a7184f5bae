// Legacy encoding: mandatory prefix, REX, escape bytes, opcode (Intel SDM 2A 2.1, 2.2.1).
#pragma once

#include "emitter/machine_code.h"

namespace bareflow::x86 {

namespace rex {
constexpr unsigned kPrefix = 0x40;  // 0100 W R X B
constexpr unsigned kW = 3, kR = 2, kX = 1, kB = 0;
}  // namespace rex

/// `needs_rex`: a byte register that exists only with a REX prefix is among the operands.
template <typename Rules>
inline Bytes legacy_prefix_and_opcode(Encoding encoding, HighBits high, bool needs_rex) {
    constexpr uint8_t kMandatory[] = {0, 0x66, 0xF3, 0xF2};  // by MandatoryPrefix
    constexpr uint8_t kEscape = 0x0F;
    constexpr uint8_t kSecondEscape[] = {0, 0, 0x38, 0x3A};  // by OpcodeMap
    uint64_t bits = 0;
    unsigned size = 0;
    const auto append = [&](unsigned byte) {
        bits |= static_cast<uint64_t>(byte) << (8 * size);
        ++size;
    };
    if (encoding.pp() != 0) append(kMandatory[encoding.pp()]);
    const unsigned extension =
        (Rules::rex_w(encoding) << rex::kW) | (high.r << rex::kR) | (high.x << rex::kX) | (high.b << rex::kB);
    if (extension != 0 || needs_rex) append(rex::kPrefix | extension);
    const auto map = static_cast<OpcodeMap>(encoding.map());
    if (map != OpcodeMap::kOneByte) append(kEscape);
    if (map > OpcodeMap::k0F) append(kSecondEscape[encoding.map()]);
    append(encoding.opcode());
    return {bits, size};
}

}  // namespace bareflow::x86
