// How one form of an instruction is encoded, in 32 bits; made at compile time from the notation of Intel's manual.
//
// "VEX.66.0F38.W0 B8 RVM" reads: VEX prefix, mandatory prefix 66, opcode map 0F38, VEX.W 0, opcode B8; operands are
// ModRM.reg, VEX.vvvv and ModRM.rm, in this order (SDM 2A 3.1.1.1, "Op/En"). Words that may stand in a text:
//   prefix   VEX  EVEX  SSE (legacy, REX where needed)  GP (the same, width from the operands)
//   pp, map  NP 66 F3 F2, 0F 0F38 0F3A;  W0 W1 WIG
//   opcode   two hexadecimal digits; /0 to /7 the ModRM.reg digit
//   operands R ModRM.reg, V vvvv, M ModRM.rm, I imm8, S a register in imm8[7:4], D a jump's label, O the register in
//            the opcode, - what the assembler treats by itself
//   L1       vector length field of instructions on masks
//   rm/2 rm/4  ModRM.rm is a vector of half the length, or of a quarter or less (at least an xmm), or of another width
//   min256   does not exist for xmm
//   nomask   EVEX without a mask
//   full32 full64 half32 halfmem quartermem eighthmem fullmem mem128 mem256 tuple1_8 …_16 …_32 …_64
//            what disp8 counts in (SDM 2A 2.7.5, tables 2-34 and 2-35); full and half can broadcast
//   byte     GP: byte operands only
//   w        GP: bit 0 of the opcode is 0 for byte operands; elsewhere: W is 1 for 64-bit general registers
//   src16    GP: bit 0 of the opcode is 1 for a source of 2 bytes
//   d64      GP: 64-bit operands without REX.W
#pragma once

#include <cstdint>
#include <string_view>

namespace bareflow::x86 {

enum class OpcodeMap : uint8_t { kOneByte = 0, k0F = 1, k0F38 = 2, k0F3A = 3 };
/// Numbered as VEX.pp and EVEX.pp have them.
enum class MandatoryPrefix : uint8_t { kNone = 0, k66 = 1, kF3 = 2, kF2 = 3 };

/// Where an operand goes.
enum class Role : uint8_t { kNone, kReg, kVvvv, kRm, kImm, kIs4, kLabel, kOpcode };
constexpr unsigned kMaxOperands = 4;

/// Opcode, W, pp and map stand where the 3-byte VEX prefix and its opcode, read as one word, have them; the properties
/// fill the bits between, which VEX uses for the operands.
class Encoding {
 public:
    constexpr unsigned opcode() const { return bits_ >> kOpcodeShift; }
    constexpr unsigned map() const { return (bits_ >> kMapShift) & 3; }
    constexpr unsigned pp() const { return (bits_ >> kPpShift) & 3; }
    constexpr unsigned w() const { return (bits_ >> kWShift) & 1; }  ///< VEX.W or REX.W
    constexpr unsigned evex_w() const { return (bits_ & kEvexW) != 0; }
    /// Escape byte, map, W, pp and opcode of the 3-byte VEX form; the operands' bits all zero.
    constexpr uint32_t vex_word() const { return bits_ & kVexWord; }

    constexpr bool has_vex() const { return (bits_ & kHasVex) != 0; }
    constexpr bool has_evex() const { return (bits_ & kHasEvex) != 0; }
    /// log2 of what disp8 counts in: 0 to 5, plus the vector length (0 to 2) where it scales.
    constexpr unsigned disp8_shift(unsigned length) const {
        return ((bits_ >> kDisp8Shift) & 7) + ((bits_ & kDisp8ByLength) != 0 ? length : 0);
    }
    constexpr bool can_broadcast() const { return broadcast_shift() != 0; }
    constexpr unsigned broadcast_shift() const {
        return (bits_ >> kBroadcastShift) & 3;
    }  ///< log2 of an element
    /// ModRM.rm is a vector of length >> narrow(); in GP forms non-zero means another width.
    constexpr unsigned narrow() const { return (bits_ >> kNarrowShift) & 3; }
    constexpr bool has_imm8() const { return (bits_ & kHasImm8) != 0; }
    constexpr unsigned digit() const { return (bits_ >> kDigitShift) & 7; }
    constexpr bool can_mask() const { return (bits_ & kCanMask) != 0; }
    /// ModRM.rm is the destination.
    constexpr bool stores() const { return (bits_ & kStores) != 0; }

    /// This with another opcode, prefix or width: GP forms settle them by their operands.
    constexpr Encoding with_opcode(unsigned opcode) const {
        return Encoding((bits_ & ~(0xFFu << kOpcodeShift)) | (opcode << kOpcodeShift));
    }
    constexpr Encoding with_66() const { return Encoding(bits_ | (1u << kPpShift)); }
    constexpr Encoding with_w() const { return Encoding(bits_ | (1u << kWShift) | kEvexW); }

 private:
    friend struct FormText;
    explicit constexpr Encoding(uint32_t bits) : bits_(bits) {}

    static constexpr uint32_t kHasVex = 1u << 0, kHasEvex = 1u << 1, kDisp8ByLength = 1u << 2;
    static constexpr int kDisp8Shift = 3, kBroadcastShift = 6, kMapShift = 8, kNarrowShift = 10,
                         kDigitShift = 12;
    static constexpr uint32_t kHasImm8 = 1u << 15;
    static constexpr int kPpShift = 16;
    static constexpr uint32_t kEvexW = 1u << 18, kCanMask = 1u << 19, kStores = 1u << 20;
    static constexpr int kWShift = 23, kOpcodeShift = 24;
    static constexpr uint32_t kVexWord =
        0xFFu << kOpcodeShift | 1u << kWShift | 3u << kPpShift | 3u << kMapShift;
    uint32_t bits_;
};

/// How a form settles what its operands leave open; for GP forms needed when the routine is emitted, and so small enough
/// to pass in a register.
struct OpenEncoding {
    Encoding encoding;
    bool has_digit : 1;
    bool w_by_width : 1;      ///< "w"
    bool source_by_bit0 : 1;  ///< "src16"
    bool byte_only : 1;       ///< "byte"
    bool default_64 : 1;      ///< "d64"
};
static_assert(sizeof(OpenEncoding) == 8);

/// A form's encoding together with what only the compiler needs to know.
struct FormEncoding : OpenEncoding {
    enum class Kind : uint8_t { kLegacy, kGp, kVector };
    Role roles[kMaxOperands];
    Kind kind;
    uint8_t fixed_length;  ///< "L1": 1
    bool min256;           ///< does not exist for xmm
};

/// Reads the notation. Everything here runs at compile time; a word that is unknown does not compile.
struct FormText {
    static consteval FormEncoding parse(std::string_view main, std::string_view evex) {
        FormEncoding form{
            {Encoding(0), false, false, false, false, false}, {}, FormEncoding::Kind::kVector, 0, false};
        if (!main.empty()) read(form, main);
        const uint32_t first = form.encoding.bits_ & kIdentity;
        if (!evex.empty()) {
            read(form, evex);
            if (!main.empty() && (form.encoding.bits_ & kIdentity) != first) disagree();
        }
        return form;
    }

 private:
    // What is the same in VEX and EVEX.
    static constexpr uint32_t kIdentity = Encoding::kVexWord & ~(1u << Encoding::kWShift);
    static void disagree() {}  // not constexpr: reaching them stops the compilation
    static void unknown_word() {}

    struct Tuple {
        std::string_view name;
        bool by_length;
        uint8_t shift, broadcast;
    };
    static constexpr Tuple kTuples[] = {
        {"full32", true, 4, 2},     {"full64", true, 4, 3},     {"half32", true, 3, 2},
        {"fullmem", true, 4, 0},    {"halfmem", true, 3, 0},    {"quartermem", true, 2, 0},
        {"eighthmem", true, 1, 0},  {"mem128", false, 4, 0},    {"mem256", false, 5, 0},
        {"tuple1_8", false, 0, 0},  {"tuple1_16", false, 1, 0}, {"tuple1_32", false, 2, 0},
        {"tuple1_64", false, 3, 0},
    };

    static consteval unsigned hex(char c) {
        return c >= '0' && c <= '9'   ? static_cast<unsigned>(c - '0')
               : c >= 'A' && c <= 'F' ? static_cast<unsigned>(c - 'A' + 10)
                                      : 16;
    }
    static consteval bool is_roles(std::string_view word) {
        for (char c : word) {
            if (c != '-' && (c < 'A' || c > 'Z')) return false;
        }
        return true;
    }

    /// The first eight characters as a number, so that a switch can tell words apart.
    static consteval uint64_t key(std::string_view word) {
        uint64_t result = 0;
        for (size_t i = 0; i < word.size() && i < 8; ++i)
            result = result << 8 | static_cast<uint8_t>(word[i]);
        return result;
    }
    static consteval std::string_view take_word(std::string_view& text) {
        size_t length = 0;
        while (length < text.size() && text[length] != '.' && text[length] != ' ') ++length;
        const std::string_view word = text.substr(0, length);
        text.remove_prefix(length < text.size() ? length + 1 : length);
        return word;
    }

    /// "VEX.66.0F38.W0": what stands before the opcode, which is the first word after a space.
    static consteval void read(FormEncoding& form, std::string_view text) {
        uint32_t& bits = form.encoding.bits_;
        bits &= ~kIdentity;
        size_t prefix_length = 0;
        while (text[prefix_length] != ' ') ++prefix_length;
        std::string_view prefix = text.substr(0, prefix_length);
        text.remove_prefix(prefix_length + 1);
        bool evex = false;
        while (!prefix.empty()) {
            switch (key(take_word(prefix))) {
                case key("VEX"):
                    bits |= Encoding::kHasVex;
                    break;
                case key("EVEX"):
                    evex = true;
                    bits |= Encoding::kHasEvex | Encoding::kCanMask;
                    break;
                case key("SSE"):
                    form.kind = FormEncoding::Kind::kLegacy;
                    break;
                case key("GP"):
                    form.kind = FormEncoding::Kind::kGp;
                    break;
                case key("NP"):
                case key("W0"):
                case key("WIG"):
                    break;
                case key("66"):
                    bits |= 1u << Encoding::kPpShift;
                    break;
                case key("F3"):
                    bits |= 2u << Encoding::kPpShift;
                    break;
                case key("F2"):
                    bits |= 3u << Encoding::kPpShift;
                    break;
                case key("0F"):
                    bits |= 1u << Encoding::kMapShift;
                    break;
                case key("0F38"):
                    bits |= 2u << Encoding::kMapShift;
                    break;
                case key("0F3A"):
                    bits |= 3u << Encoding::kMapShift;
                    break;
                case key("W1"):
                    bits |= evex ? Encoding::kEvexW : 1u << Encoding::kWShift;
                    break;
                default:
                    unknown_word();
            }
        }
        const std::string_view opcode = take_word(text);
        bits |= (hex(opcode[0]) << 4 | hex(opcode[1])) << Encoding::kOpcodeShift;
        while (!text.empty()) read_property(form, take_word(text));
    }
    static consteval void read_property(FormEncoding& form, std::string_view word) {
        uint32_t& bits = form.encoding.bits_;
        if (word[0] == '/') {
            form.has_digit = true;
            bits = (bits & ~(7u << Encoding::kDigitShift)) | (hex(word[1]) << Encoding::kDigitShift);
            return;
        }
        switch (key(word)) {
            case key("L1"):
                form.fixed_length = 1;
                break;
            case key("rm/2"):
                bits |= 1u << Encoding::kNarrowShift;
                break;
            case key("rm/4"):
                bits |= 2u << Encoding::kNarrowShift;
                break;
            case key("min256"):
                form.min256 = true;
                break;
            case key("nomask"):
                bits &= ~Encoding::kCanMask;
                break;
            case key("w"):
                form.w_by_width = true;
                break;
            case key("byte"):
                form.byte_only = true;
                break;
            case key("src16"):
                form.source_by_bit0 = true;
                break;
            case key("d64"):
                form.default_64 = true;
                break;
            default:
                if (is_roles(word)) {
                    read_roles(form, word);
                } else {
                    read_tuple(bits, word);
                }
        }
    }
    static consteval Role role_of(char c) {
        switch (c) {
            case 'R':
                return Role::kReg;
            case 'V':
                return Role::kVvvv;
            case 'M':
                return Role::kRm;
            case 'I':
                return Role::kImm;
            case 'S':
                return Role::kIs4;
            case 'D':
                return Role::kLabel;
            case 'O':
                return Role::kOpcode;
            case '-':
                return Role::kNone;
            default:
                unknown_word();
                return Role::kNone;
        }
    }
    static consteval void read_roles(FormEncoding& form, std::string_view word) {
        for (size_t i = 0; i < word.size(); ++i) {
            const char c = word[i];
            form.roles[i] = role_of(c);
            if (c == 'I' || c == 'S') form.encoding.bits_ |= Encoding::kHasImm8;
        }
        if (word[0] == 'M' && !form.has_digit) form.encoding.bits_ |= Encoding::kStores;
    }
    static consteval void read_tuple(uint32_t& bits, std::string_view word) {
        for (const Tuple& tuple : kTuples) {
            if (tuple.name != word) continue;
            if (tuple.by_length) bits |= Encoding::kDisp8ByLength;
            bits |= uint32_t{tuple.shift} << Encoding::kDisp8Shift | uint32_t{tuple.broadcast}
                                                                         << Encoding::kBroadcastShift;
            return;
        }
        unknown_word();
    }
};

}  // namespace bareflow::x86
