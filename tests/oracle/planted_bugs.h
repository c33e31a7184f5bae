// Bugs that encoders have shipped (FIELD.md), to be planted in the tiny assembler one at a time: what does not find them
// is no test.
#pragma once

#include <string_view>

#include "emitter/encoding_rules.h"

namespace bareflow::x86 {

enum class PlantedBug : uint8_t {
    kNone,
    kBaseR12WithoutSib,
    kBaseRspWithoutSib,
    kBaseRbpWithoutDisplacement,
    kBaseR13WithoutDisplacement,
    kDisp8OffByOneAtMinus128,
    kDisp8UpTo255,
    kEvexDisp8Unscaled,
    kEvexDisp8ScaledByVectorUnderBroadcast,
    kEvexDisp8Unaligned,
    kTwoByteVexDropsB,
    kTwoByteVexDropsX,
    kTwoByteVexDropsW,
    kTwoByteVexInOtherMap,
    kEvexXOfRegisterLost,
    kEvexR2Lost,
    kEvexV2Lost,
    kEvexLengthLost,
    kBroadcastBitLost,
    kZeroingBitLost,
    kEvexWLost,
    kRexWLost,
    kByteRegisterWithoutRex,
    kRipIgnoresImmediate,
    kShortJumpReaches128,
    kShortJumpReachesMinus129,
    kImm8UpTo255,
    kBufferOverrunByOne,
    kCount
};
std::string_view name_of(PlantedBug bug);

/// EncodingRules with at most one of them wrong.
struct PlantedRules : EncodingRules {
    static inline PlantedBug bug = PlantedBug::kNone;
    static bool has(PlantedBug which) { return bug == which; }

    static bool base_needs_sib(unsigned base) {
        const unsigned id = base & 15;
        if (has(PlantedBug::kBaseR12WithoutSib) && id == 12) return false;
        if (has(PlantedBug::kBaseRspWithoutSib) && id == 4) return false;
        return EncodingRules::base_needs_sib(base);
    }
    static bool base_needs_displacement(unsigned base) {
        const unsigned id = base & 15;
        if (has(PlantedBug::kBaseRbpWithoutDisplacement) && id == 5) return false;
        if (has(PlantedBug::kBaseR13WithoutDisplacement) && id == 13) return false;
        return EncodingRules::base_needs_displacement(base);
    }
    static bool fits_disp8(int32_t displacement) {
        if (has(PlantedBug::kDisp8OffByOneAtMinus128)) return displacement > -128 && displacement <= 127;
        if (has(PlantedBug::kDisp8UpTo255)) return displacement >= -128 && displacement <= 255;
        return EncodingRules::fits_disp8(displacement);
    }
    static bool is_multiple(int32_t displacement, unsigned shift) {
        return has(PlantedBug::kEvexDisp8Unaligned) || EncodingRules::is_multiple(displacement, shift);
    }
    static unsigned evex_disp8_shift(Encoding encoding, unsigned length, bool broadcast) {
        if (has(PlantedBug::kEvexDisp8Unscaled)) return 0;
        if (has(PlantedBug::kEvexDisp8ScaledByVectorUnderBroadcast)) broadcast = false;
        return EncodingRules::evex_disp8_shift(encoding, length, broadcast);
    }
    static bool two_byte_vex(uint32_t word) {
        if (has(PlantedBug::kTwoByteVexDropsB)) word |= vex::kB;
        if (has(PlantedBug::kTwoByteVexDropsX)) word |= vex::kX;
        if (has(PlantedBug::kTwoByteVexDropsW)) word &= ~vex::kW;
        if (has(PlantedBug::kTwoByteVexInOtherMap)) word = (word & ~vex::kMap) | vex::kMap0F;
        return EncodingRules::two_byte_vex(word);
    }
    static unsigned evex_x_of_register(unsigned id) {
        return has(PlantedBug::kEvexXOfRegisterLost) ? 0 : EncodingRules::evex_x_of_register(id);
    }
    static unsigned evex_r2(unsigned id) {
        return has(PlantedBug::kEvexR2Lost) ? 0 : EncodingRules::evex_r2(id);
    }
    static unsigned evex_v2(unsigned id) {
        return has(PlantedBug::kEvexV2Lost) ? 0 : EncodingRules::evex_v2(id);
    }
    static unsigned evex_length(unsigned length) {
        return has(PlantedBug::kEvexLengthLost) && length == 1 ? 0 : EncodingRules::evex_length(length);
    }
    static unsigned evex_broadcast(bool broadcast) {
        return has(PlantedBug::kBroadcastBitLost) ? 0 : EncodingRules::evex_broadcast(broadcast);
    }
    static unsigned evex_zeroing(bool zeroing) {
        return has(PlantedBug::kZeroingBitLost) ? 0 : EncodingRules::evex_zeroing(zeroing);
    }
    static unsigned evex_w(Encoding encoding) {
        return has(PlantedBug::kEvexWLost) ? 0 : EncodingRules::evex_w(encoding);
    }
    static unsigned rex_w(Encoding encoding) {
        return has(PlantedBug::kRexWLost) ? 0 : EncodingRules::rex_w(encoding);
    }
    static bool byte_register_needs_rex(unsigned id) {
        return !has(PlantedBug::kByteRegisterWithoutRex) && EncodingRules::byte_register_needs_rex(id);
    }
    static int64_t relative(int64_t target, int64_t field, unsigned field_to_end) {
        if (has(PlantedBug::kRipIgnoresImmediate) && field_to_end > 4) field_to_end = 4;
        return EncodingRules::relative(target, field, field_to_end);
    }
    static bool short_jump_reaches(int64_t distance) {
        if (has(PlantedBug::kShortJumpReaches128) && distance == 128) return true;
        if (has(PlantedBug::kShortJumpReachesMinus129) && distance == -129) return true;
        return EncodingRules::short_jump_reaches(distance);
    }
    static bool fits_imm8(int32_t value) {
        if (has(PlantedBug::kImm8UpTo255)) return value >= -128 && value <= 255;
        return EncodingRules::fits_imm8(value);
    }
    static bool fits_buffer(uint64_t size, uint64_t room) {
        return EncodingRules::fits_buffer(size, room + (has(PlantedBug::kBufferOverrunByOne) ? 1 : 0));
    }
};

}  // namespace bareflow::x86
