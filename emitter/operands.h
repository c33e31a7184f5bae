// What an instruction works on: registers, memory, masks, labels. Values of 2 or 8 bytes that pass in registers, laid
// out so that an encoder can test many properties at once.
//
//     zmm(3).masked(k1).zeroed()      a register, as the destination under a mask
//     ptr(rsi, 64)                    [rsi + 64]
//     ptr(rdx, rcx, 4, -8)            [rdx + rcx*4 - 8]
//     ptr(rsi).broadcast()            one element for all lanes (EVEX)
//     dword_ptr(rdi)                  with a size, where no register tells it
//     ptr(table, 16)                  [rip + table + 16], `table` being a label
//
// An operand that cannot exist (xmm(40), a displacement beyond 32 bits, rsp as an index) is kept, marked, and refused by
// the assembler as error(), so that generators need no checks of their own.
#pragma once

#include <bit>
#include <cstdint>

namespace bareflow::x86 {

/// The layout that all operands share, so that an encoder can look at a register and at memory by the same masks.
namespace operand_bits {
constexpr uint32_t kId = 0x1F;      // register number; in memory the base, or kNoRegister
constexpr uint32_t kHighId = 0x10;  // registers 16-31 (EVEX only), and kNoRegister
constexpr int kLengthShift = 5;     // of a vector: 0 xmm, 1 ymm, 2 zmm, 3 no register
constexpr uint32_t kLength = 3u << kLengthShift;
constexpr uint32_t kZmm = 2u << kLengthShift;
constexpr uint32_t kBroadcast = 1u << 6;  // memory only: where a register has the upper bit of kLength
constexpr uint32_t kIsLabel = 1u << 7;    // memory only: rip-relative, the label in kLabel
constexpr int kMaskShift = 8;
constexpr uint32_t kMask = 7u << kMaskShift;
constexpr uint32_t kZeroing = 1u << 11;
constexpr int kIndexShift = 12;  // memory only: index register or kNoRegister
constexpr int kScaleShift = 17;  // memory only: log2 of the scale
constexpr int kLabelShift = 16;  // memory only, with kIsLabel: the label's number
constexpr uint32_t kLabel = 0x3F;
constexpr int kWidthShift = 12;  // general registers only: log2 of their bytes
constexpr uint32_t kWidth = 3u << kWidthShift;
constexpr uint32_t kIsGp = 1u << 14;
constexpr int kSizeShift = 24;  // memory only: 0, or 1 + log2 of the bytes
constexpr uint32_t kSize = 7u << kSizeShift;
constexpr uint32_t kBadOperand = 1u << 27;
constexpr uint32_t kBadDisplacement = 1u << 28;
constexpr uint32_t kIsMemory = 1u << 31;
constexpr uint32_t kNoRegister = 16;
}  // namespace operand_bits

/// A mask register. k0 as a mask means "no mask", as the encoding has it.
struct KMask {
    uint8_t id;
    uint8_t mask = 0;

    /// As the destination of a comparison: lanes that are not in `by` become zero.
    constexpr KMask masked(KMask by) const { return {id, by.id}; }
    constexpr uint32_t bits() const { return id | (uint32_t{mask} << operand_bits::kMaskShift); }
    friend constexpr bool operator==(KMask, KMask) = default;
};
constexpr KMask k0{0}, k1{1}, k2{2}, k3{3}, k4{4}, k5{5}, k6{6}, k7{7};
constexpr KMask k(unsigned id) { return {static_cast<uint8_t>(id)}; }

/// A general register of 1, 2, 4 or 8 bytes. Byte registers are al…dil, r8b…r15b; ah and its like do not exist here.
class Gp {
 public:
    constexpr Gp(unsigned id, unsigned log2_bytes)
        : bits_(static_cast<uint16_t>((id & 15) | (log2_bytes << operand_bits::kWidthShift) |
                                      operand_bits::kIsGp)) {}

    constexpr unsigned id() const { return bits_ & 15u; }
    constexpr unsigned bytes() const {
        return 1u << ((bits_ & operand_bits::kWidth) >> operand_bits::kWidthShift);
    }
    constexpr uint32_t bits() const { return bits_; }
    /// The same register at another width.
    constexpr Gp r8() const { return {id(), 0}; }
    constexpr Gp r16() const { return {id(), 1}; }
    constexpr Gp r32() const { return {id(), 2}; }
    constexpr Gp r64() const { return {id(), 3}; }
    friend constexpr bool operator==(Gp, Gp) = default;

 private:
    uint16_t bits_;
};
constexpr Gp r64(unsigned id) { return {id, 3}; }
constexpr Gp r32(unsigned id) { return {id, 2}; }
constexpr Gp rax{0, 3}, rcx{1, 3}, rdx{2, 3}, rbx{3, 3}, rsp{4, 3}, rbp{5, 3}, rsi{6, 3}, rdi{7, 3};
constexpr Gp r8{8, 3}, r9{9, 3}, r10{10, 3}, r11{11, 3}, r12{12, 3}, r13{13, 3}, r14{14, 3}, r15{15, 3};
constexpr Gp eax{0, 2}, ecx{1, 2}, edx{2, 2}, ebx{3, 2}, esp{4, 2}, ebp{5, 2}, esi{6, 2}, edi{7, 2};
constexpr Gp r8d{8, 2}, r9d{9, 2}, r10d{10, 2}, r11d{11, 2}, r12d{12, 2}, r13d{13, 2}, r14d{14, 2},
    r15d{15, 2};

/// A vector register whose length may be known only when the generator runs (a plan's width): vec(kYmm, 3).
enum class VecLength : uint8_t { kXmm = 0, kYmm = 1, kZmm = 2 };
constexpr unsigned bytes_of(VecLength length) { return 16u << static_cast<unsigned>(length); }

class Vec {
 public:
    constexpr Vec(VecLength length, unsigned id)
        : bits_(static_cast<uint16_t>(id < 32
                                          ? id | (static_cast<unsigned>(length) << operand_bits::kLengthShift)
                                          : operand_bits::kLength)) {}

    constexpr unsigned id() const { return bits_ & operand_bits::kId; }
    constexpr VecLength length() const {
        return static_cast<VecLength>((bits_ & operand_bits::kLength) >> operand_bits::kLengthShift);
    }
    constexpr bool exists() const { return (bits_ & operand_bits::kLength) != operand_bits::kLength; }
    constexpr unsigned mask() const { return (bits_ & operand_bits::kMask) >> operand_bits::kMaskShift; }
    constexpr bool zeroing() const { return (bits_ & operand_bits::kZeroing) != 0; }
    constexpr uint32_t bits() const { return bits_; }
    static constexpr Vec from_bits(uint32_t bits) { return Vec(static_cast<uint16_t>(bits)); }

    /// As a destination: only the lanes of `mask` are written.
    constexpr Vec masked(KMask mask) const { return Vec(with_mask(mask)); }
    /// After masked(): the other lanes become zero instead of keeping what they had.
    constexpr Vec zeroed() const { return Vec(static_cast<uint16_t>(bits_ | operand_bits::kZeroing)); }
    friend constexpr bool operator==(Vec, Vec) = default;

 protected:
    explicit constexpr Vec(uint16_t bits) : bits_(bits) {}
    constexpr uint16_t with_mask(KMask mask) const {
        return static_cast<uint16_t>((bits_ & ~operand_bits::kMask) | (mask.id << operand_bits::kMaskShift));
    }

 private:
    uint16_t bits_;
};
constexpr Vec vec(VecLength length, unsigned id) { return {length, id}; }

/// A vector register of a length known at compile time: xmm(0), ymm(15), zmm(31).
template <VecLength kLength>
class VecOf : public Vec {
 public:
    explicit constexpr VecOf(unsigned id) : Vec(kLength, id) {}
    constexpr VecOf masked(KMask mask) const { return VecOf(Vec::masked(mask)); }
    constexpr VecOf zeroed() const { return VecOf(Vec::zeroed()); }

 private:
    explicit constexpr VecOf(Vec same) : Vec(same) {}
};
using Xmm = VecOf<VecLength::kXmm>;
using Ymm = VecOf<VecLength::kYmm>;
using Zmm = VecOf<VecLength::kZmm>;
constexpr Xmm xmm(unsigned id) { return Xmm(id); }
constexpr Ymm ymm(unsigned id) { return Ymm(id); }
constexpr Zmm zmm(unsigned id) { return Zmm(id); }

/// A place in the code, made by an assembler's new_label() and given its place by bind().
struct Label {
    uint8_t id = 0xFF;
    bool in_short_reach = false;

    /// In a jump forward: promises that the label will be bound within 127 bytes, so that the jump takes 2 bytes. If
    /// it is not, bind() fails.
    constexpr Label near() const { return {id, true}; }
    constexpr bool exists() const { return id <= operand_bits::kLabel; }
};

/// Stands where ptr() has no base register: ptr(no_base, rcx, 4, 0x100).
struct NoBase {};
constexpr NoBase no_base;

/// Memory: [base + index * scale + displacement] or [rip + label + displacement].
class Mem {
 public:
    /// Canonical form, the same for all assemblers: what has no base but an index times 1 becomes a base; times 2, base
    /// and index; rsp as an unscaled index trades places with the base.
    static constexpr Mem make(unsigned base, unsigned index, unsigned scale, int64_t displacement);
    static constexpr Mem make(Label label, int64_t displacement);

    /// Only the lanes of `mask` are stored.
    constexpr Mem masked(KMask mask) const {
        return Mem((low_ & ~operand_bits::kMask) | (uint32_t{mask.id} << operand_bits::kMaskShift),
                   displacement_);
    }
    /// One element, read once, for all lanes.
    constexpr Mem broadcast() const { return Mem(low_ | operand_bits::kBroadcast, displacement_); }
    /// States the size of the access (1, 2, 4 or 8 bytes) where no register does.
    constexpr Mem sized(unsigned bytes) const {
        return Mem((low_ & ~operand_bits::kSize) |
                       ((1u + static_cast<unsigned>(std::countr_zero(bytes))) << operand_bits::kSizeShift),
                   displacement_);
    }
    constexpr Mem operator+(int64_t more) const {
        return with_displacement(low_, int64_t{displacement_} + more);
    }

    constexpr bool is_label() const { return (low_ & operand_bits::kIsLabel) != 0; }
    constexpr Label label() const {
        return {static_cast<uint8_t>((low_ >> operand_bits::kLabelShift) & operand_bits::kLabel)};
    }
    constexpr bool has_base() const { return (low_ & operand_bits::kHighId) == 0; }
    constexpr unsigned base() const { return low_ & 15; }
    constexpr bool has_index() const {
        return !is_label() && (low_ & (16u << operand_bits::kIndexShift)) == 0;
    }
    constexpr unsigned index() const { return (low_ >> operand_bits::kIndexShift) & 15; }
    constexpr unsigned scale_log2() const { return (low_ >> operand_bits::kScaleShift) & 3; }
    constexpr int32_t displacement() const { return displacement_; }
    constexpr unsigned mask() const { return (low_ & operand_bits::kMask) >> operand_bits::kMaskShift; }
    constexpr bool is_broadcast() const { return (low_ & operand_bits::kBroadcast) != 0; }
    /// Bytes that sized() stated, or 0.
    constexpr unsigned size() const {
        const uint32_t coded = (low_ & operand_bits::kSize) >> operand_bits::kSizeShift;
        return coded == 0 ? 0 : 1u << (coded - 1);
    }
    constexpr bool bad_operand() const { return (low_ & operand_bits::kBadOperand) != 0; }
    constexpr bool bad_displacement() const { return (low_ & operand_bits::kBadDisplacement) != 0; }
    constexpr uint64_t bits() const { return low_ | (uint64_t{static_cast<uint32_t>(displacement_)} << 32); }
    static constexpr Mem from_bits(uint64_t bits) {
        return Mem(static_cast<uint32_t>(bits), static_cast<int32_t>(bits >> 32));
    }

 private:
    friend class RegMem;
    constexpr Mem(uint32_t low, int32_t displacement) : low_(low), displacement_(displacement) {}
    static constexpr Mem with_displacement(uint32_t low, int64_t displacement) {
        const int32_t kept = static_cast<int32_t>(displacement);
        return Mem(kept == displacement ? low : low | operand_bits::kBadDisplacement, kept);
    }

    uint32_t low_;
    int32_t displacement_;
};

constexpr Mem Mem::make(unsigned base, unsigned index, unsigned scale, int64_t displacement) {
    using namespace operand_bits;
    constexpr unsigned kRsp = 4;
    if (base == kNoRegister && index != kNoRegister && (scale == 1 || scale == 2)) {
        base = index;
        if (scale == 1) index = kNoRegister;
        scale = 1;
    }
    if (index == kRsp && scale == 1) {
        index = base;
        base = kRsp;
    }
    uint32_t low = kIsMemory | base | (index << kIndexShift) |
                   (static_cast<uint32_t>(std::countr_zero(scale)) << kScaleShift);
    if (index == kRsp || scale == 0 || scale > 8 || (scale & (scale - 1)) != 0) low = kIsMemory | kBadOperand;
    return with_displacement(low, displacement);
}

constexpr Mem Mem::make(Label label, int64_t displacement) {
    using namespace operand_bits;
    const uint32_t low = kIsMemory | kNoRegister | kIsLabel | ((label.id & kLabel) << kLabelShift);
    return with_displacement(label.exists() ? low : low | kBadOperand, displacement);
}

/// Addresses are 64-bit: any other width is refused.
constexpr Mem ptr(Gp base, int64_t displacement = 0) {
    using namespace operand_bits;
    return Mem::make(base.id(), kNoRegister, base.bytes() == 8 ? 1 : 0, displacement);
}
constexpr Mem ptr(Gp base, Gp index, unsigned scale, int64_t displacement = 0) {
    return Mem::make(base.id(), index.id(), base.bytes() == 8 && index.bytes() == 8 ? scale : 0,
                     displacement);
}
constexpr Mem ptr(NoBase, Gp index, unsigned scale, int64_t displacement = 0) {
    return Mem::make(operand_bits::kNoRegister, index.id(), index.bytes() == 8 ? scale : 0, displacement);
}
constexpr Mem ptr(Label label, int64_t displacement = 0) { return Mem::make(label, displacement); }
template <typename... Parts>
constexpr Mem byte_ptr(Parts... parts) {
    return ptr(parts...).sized(1);
}
template <typename... Parts>
constexpr Mem word_ptr(Parts... parts) {
    return ptr(parts...).sized(2);
}
template <typename... Parts>
constexpr Mem dword_ptr(Parts... parts) {
    return ptr(parts...).sized(4);
}
template <typename... Parts>
constexpr Mem qword_ptr(Parts... parts) {
    return ptr(parts...).sized(8);
}

/// A register or memory, in the 8 bytes that ModRM's r/m field speaks of.
class RegMem {
 public:
    constexpr RegMem(Mem memory) : low_(memory.low_), displacement_(memory.displacement_) {}

    constexpr bool is_memory() const { return (low_ & operand_bits::kIsMemory) != 0; }
    constexpr Mem memory() const { return Mem(low_, displacement_); }
    constexpr unsigned id() const { return low_ & operand_bits::kId; }
    constexpr uint32_t low() const { return low_; }
    constexpr int32_t displacement() const { return displacement_; }

 protected:
    explicit constexpr RegMem(uint32_t register_bits) : low_(register_bits), displacement_(0) {}

 private:
    uint32_t low_;
    int32_t displacement_;
};

/// A register of type Register, or memory.
template <typename Register>
class RegMemOf : public RegMem {
 public:
    using RegMem::RegMem;
    constexpr RegMemOf(Register reg) : RegMem(uint32_t{reg.bits()}) {}
};
using VecMem = RegMemOf<Vec>;
using XmmMem = RegMemOf<Xmm>;
using YmmMem = RegMemOf<Ymm>;
using GpMem = RegMemOf<Gp>;

using KMem = RegMemOf<KMask>;

static_assert(sizeof(Mem) == 8 && sizeof(VecMem) == 8 && sizeof(Vec) == 2 && sizeof(Gp) == 2);

}  // namespace bareflow::x86
