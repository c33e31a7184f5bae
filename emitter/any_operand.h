// An operand of any type in one type, for assemblers that look at operands one by one, and for tests.
#pragma once

#include <cstdint>
#include <type_traits>

#include "emitter/operands.h"

namespace bareflow::x86 {

class AnyOperand {
 public:
    enum class Kind : uint8_t { kNone, kVec, kGp, kMask, kMemory, kImmediate, kLabel };

    constexpr AnyOperand() = default;
    constexpr AnyOperand(Vec reg) : kind_(Kind::kVec), bits_(reg.bits()) {}
    constexpr AnyOperand(Gp reg) : kind_(Kind::kGp), bits_(reg.bits()) {}
    constexpr AnyOperand(KMask reg) : kind_(Kind::kMask), bits_(reg.bits()) {}
    constexpr AnyOperand(Mem memory) : kind_(Kind::kMemory), bits_(memory.bits()) {}
    constexpr AnyOperand(Label label)
        : kind_(Kind::kLabel), bits_(label.id | (label.in_short_reach ? 1u << 8 : 0u)) {}
    constexpr AnyOperand(uint8_t value) : kind_(Kind::kImmediate), bits_(value) {}
    constexpr AnyOperand(int32_t value)
        : kind_(Kind::kImmediate), bits_(static_cast<uint64_t>(int64_t{value})) {}
    constexpr AnyOperand(GpMem rm) : AnyOperand(rm, Kind::kGp) {}
    constexpr AnyOperand(KMem rm) : AnyOperand(rm, Kind::kMask) {}
    /// Of a vector or general register, or memory, from the bits that tell which it is.
    static constexpr AnyOperand from_bits(uint64_t bits) {
        AnyOperand operand;
        operand.bits_ = bits;
        operand.kind_ = (bits & operand_bits::kIsMemory) != 0 ? Kind::kMemory
                        : (bits & operand_bits::kIsGp) != 0   ? Kind::kGp
                                                              : Kind::kVec;
        return operand;
    }
    template <typename Register>
    requires std::is_base_of_v<Vec, Register>
    constexpr AnyOperand(RegMemOf<Register> rm) : AnyOperand(rm, Kind::kVec) {}

    constexpr Kind kind() const { return kind_; }
    constexpr Vec vec() const { return Vec::from_bits(low()); }
    constexpr Gp gp() const {
        return {low() & 15, (low() & operand_bits::kWidth) >> operand_bits::kWidthShift};
    }
    constexpr KMask mask_register() const {
        return {static_cast<uint8_t>(low() & 7),
                static_cast<uint8_t>((low() & operand_bits::kMask) >> operand_bits::kMaskShift)};
    }
    constexpr Mem memory() const { return Mem::from_bits(bits_); }
    constexpr int64_t immediate() const { return static_cast<int64_t>(bits_); }
    constexpr Label label() const { return {static_cast<uint8_t>(bits_), (bits_ & (1u << 8)) != 0}; }
    /// The mask and zeroing bits of operands.h, for those that can carry them.
    constexpr uint32_t masking() const {
        return kind_ == Kind::kImmediate || kind_ == Kind::kLabel
                   ? 0
                   : low() & (operand_bits::kMask | operand_bits::kZeroing);
    }

    /// All but a displacement.
    constexpr uint32_t low() const { return static_cast<uint32_t>(bits_); }

 private:
    constexpr AnyOperand(RegMem rm, Kind register_kind)
        : kind_(rm.is_memory() ? Kind::kMemory : register_kind),
          bits_(rm.low() | (uint64_t{static_cast<uint32_t>(rm.displacement())} << 32)) {}
    Kind kind_ = Kind::kNone;
    uint64_t bits_ = 0;
};

}  // namespace bareflow::x86
