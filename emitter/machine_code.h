// A few bytes of an instruction on their way into the buffer, and the part that all prefixes share: ModRM, SIB and
// displacement (Intel SDM 2A 2.1.3 to 2.1.5).
#pragma once

#include <cstdint>

#include "emitter/encoding_rules.h"
#include "emitter/operands.h"

namespace bareflow::x86 {

/// Up to 8 bytes, the first one lowest; bytes from `size` on mean nothing.
struct Bytes {
    uint64_t bits;
    unsigned size;
};

/// Writes all 8 bytes (so 8 must be there) and returns the end of those that count.
inline uint8_t* put(uint8_t* out, Bytes bytes) {
    __builtin_memcpy(out, &bytes.bits, sizeof(bytes.bits));
    return out + bytes.size;
}

namespace modrm {
constexpr unsigned kRegShift = 3, kModShift = 6;
constexpr unsigned kModNone = 0, kModDisp8 = 1, kModDisp32 = 2, kModRegister = 3;
constexpr unsigned kRmSib = 4;        // ModRM.rm: a SIB byte follows
constexpr unsigned kRmRipOrNone = 5;  // with mod 00: rip + disp32; in SIB.base: no base, disp32
constexpr unsigned kSibNoIndex = 4;
constexpr unsigned kSibIndexShift = 3, kSibScaleShift = 6;
}  // namespace modrm

/// A displacement and the ModRM.mod that announces it.
struct Displacement {
    uint64_t field;  // bits beyond `size` bytes mean nothing
    unsigned size, mod;
};

template <typename Rules>
[[gnu::always_inline]] inline Displacement displacement_of(RegMem rm, unsigned disp8_shift) {
    using namespace modrm;
    const int32_t value = rm.displacement();
    if (value == 0 && !Rules::base_needs_displacement(rm.id())) return {0, 0, kModNone << kModShift};
    const int32_t counted = value >> disp8_shift;
    if (Rules::fits_disp8(counted) && Rules::is_multiple(value, disp8_shift)) {
        return {static_cast<uint32_t>(counted), 1, kModDisp8 << kModShift};
    }
    return {static_cast<uint32_t>(value), 4, kModDisp32 << kModShift};
}

/// ModRM with SIB, or relative to rip.
template <typename Rules>
inline Bytes address_beyond_base(unsigned reg_field, RegMem rm, unsigned disp8_shift) {
    using namespace modrm;
    const uint32_t low = rm.low();
    const uint64_t displacement = static_cast<uint32_t>(rm.displacement());
    if ((low & operand_bits::kIsLabel) != 0) return {kRmRipOrNone | reg_field | (displacement << 8), 5};

    const unsigned index = (low >> operand_bits::kIndexShift) & operand_bits::kId;
    const unsigned index_field = (index == operand_bits::kNoRegister ? kSibNoIndex : index & 7)
                                 << kSibIndexShift;
    const unsigned scale_field = ((low >> operand_bits::kScaleShift) & 3) << kSibScaleShift;
    if (rm.id() == operand_bits::kNoRegister) {
        const unsigned sib = scale_field | index_field | kRmRipOrNone;
        return {kRmSib | reg_field | (sib << 8) | (displacement << 16), 6};
    }
    const unsigned sib = scale_field | index_field | (low & 7);
    const Displacement disp = displacement_of<Rules>(rm, disp8_shift);
    return {disp.mod | reg_field | kRmSib | (sib << 8) | (disp.field << 16), 2 + disp.size};
}

/// ModRM with what follows it, but no immediate. `disp8_shift` is log2 of what disp8 counts in: 0 without EVEX. For a
/// label the displacement is left as it is in `rm`, to be made relative by the assembler: it starts at byte 1.
template <typename Rules>
[[gnu::always_inline]] inline Bytes address(uint32_t reg, RegMem rm, unsigned disp8_shift) {
    using namespace modrm;
    const uint32_t low = rm.low();
    const unsigned reg_field = (reg & 7) << kRegShift;
    if (!rm.is_memory()) return {(kModRegister << kModShift) | reg_field | (low & 7), 1};

    constexpr uint32_t kNoIndex = operand_bits::kNoRegister << operand_bits::kIndexShift;
    const uint32_t beyond = (low ^ kNoIndex) & (kNoIndex | operand_bits::kIsLabel | operand_bits::kHighId);
    if (beyond != 0 || Rules::base_needs_sib(low))
        return address_beyond_base<Rules>(reg_field, rm, disp8_shift);
    const Displacement disp = displacement_of<Rules>(rm, disp8_shift);
    return {disp.mod | reg_field | (low & 7) | (disp.field << 8), 1 + disp.size};
}

/// The same, not inlined, where size counts more than speed.
template <typename Rules>
[[gnu::noinline]] Bytes address_by_call(uint32_t reg, RegMem rm, unsigned disp8_shift) {
    return address<Rules>(reg, rm, disp8_shift);
}

/// The bits that extend register numbers to 16, as all prefixes carry them.
struct HighBits {
    unsigned r, x, b;
    HighBits(uint32_t reg, RegMem rm)
        : r((reg >> 3) & 1), x((rm.low() >> (operand_bits::kIndexShift + 3)) & 1), b((rm.low() >> 3) & 1) {}
};

}  // namespace bareflow::x86
