#include "tests/oracle/decoder.h"

#include <Zydis/Zydis.h>

#include <algorithm>
#include <map>

#include "tests/oracle/form_cases.h"

namespace bareflow::x86 {
namespace {

const ZydisDecoder& decoder() {
    static const ZydisDecoder instance = [] {
        ZydisDecoder made;
        ZydisDecoderInit(&made, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
        return made;
    }();
    return instance;
}

struct Decoded {
    ZydisDecodedInstruction instruction;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};
bool decode(std::span<const uint8_t> bytes, Decoded& out) {
    return ZYAN_SUCCESS(
        ZydisDecoderDecodeFull(&decoder(), bytes.data(), bytes.size(), &out.instruction, out.operands));
}

/// The manual's second name for a condition is the one that Zydis prints.
std::string zydis_name(std::string_view mnemonic) {
    static const std::map<std::string_view, std::string_view> kConditions = {
        {"ae", "nb"}, {"e", "z"}, {"ne", "nz"}, {"a", "nbe"}, {"ge", "nl"}, {"g", "nle"}};
    if (const size_t suffix = mnemonic.find("_cl"); suffix != std::string_view::npos)
        mnemonic = mnemonic.substr(0, suffix);
    if (const size_t suffix = mnemonic.find("_vex"); suffix != std::string_view::npos)
        mnemonic = mnemonic.substr(0, suffix);
    if (mnemonic.ends_with('_')) mnemonic.remove_suffix(1);
    for (std::string_view prefix : {"j", "set", "cmov"}) {
        if (!mnemonic.starts_with(prefix)) continue;
        const auto found = kConditions.find(mnemonic.substr(prefix.size()));
        if (found != kConditions.end()) return std::string(prefix) + std::string(found->second);
    }
    return std::string(mnemonic);
}

ZydisRegister register_of(Vec reg) {
    constexpr ZydisRegister kFirst[] = {ZYDIS_REGISTER_XMM0, ZYDIS_REGISTER_YMM0, ZYDIS_REGISTER_ZMM0};
    return static_cast<ZydisRegister>(kFirst[static_cast<unsigned>(reg.length())] +
                                      static_cast<int>(reg.id()));
}
ZydisRegister register_of(Gp reg) {
    constexpr ZydisRegisterClass kClasses[] = {ZYDIS_REGCLASS_GPR8, ZYDIS_REGCLASS_GPR16,
                                               ZYDIS_REGCLASS_GPR32, ZYDIS_REGCLASS_GPR64};
    const unsigned log2_bytes = static_cast<unsigned>(std::countr_zero(reg.bytes()));
    // Zydis numbers ah, ch, dh, bh 4 to 7 among the byte registers.
    const unsigned id = log2_bytes == 0 && reg.id() >= 4 ? reg.id() + 4 : reg.id();
    return ZydisRegisterEncode(kClasses[log2_bytes], static_cast<ZyanU8>(id));
}
ZydisRegister register_of(KMask mask) { return static_cast<ZydisRegister>(ZYDIS_REGISTER_K0 + mask.id); }

std::string memory_disagreement(Mem memory, const ZydisDecodedOperand& got, size_t end) {
    if (got.type != ZYDIS_OPERAND_TYPE_MEMORY) return "no memory operand";
    const auto& mem = got.mem;
    if (memory.is_label()) {
        if (mem.base != ZYDIS_REGISTER_RIP) return "not relative to rip";
        if (mem.disp.value + static_cast<int64_t>(end) != memory.displacement())
            return "wrong place relative to rip";
        return {};
    }
    const ZydisRegister base = memory.has_base() ? register_of(r64(memory.base())) : ZYDIS_REGISTER_NONE;
    const ZydisRegister index = memory.has_index() ? register_of(r64(memory.index())) : ZYDIS_REGISTER_NONE;
    if (mem.base != base) return "wrong base";
    if (mem.index != index) return "wrong index";
    if (memory.has_index() && mem.scale != (1u << memory.scale_log2())) return "wrong scale";
    if ((mem.disp.has_displacement ? mem.disp.value : 0) != memory.displacement())
        return "wrong displacement";
    return {};
}

std::string operand_disagreement(const AnyOperand& wanted, const ZydisDecodedOperand& got, size_t end) {
    using Kind = AnyOperand::Kind;
    const auto is_register = [&](ZydisRegister reg) {
        return got.type == ZYDIS_OPERAND_TYPE_REGISTER && got.reg.value == reg ? std::string()
                                                                               : "wrong register";
    };
    switch (wanted.kind()) {
        case Kind::kVec:
            return is_register(register_of(wanted.vec()));
        case Kind::kGp:
            return is_register(register_of(wanted.gp()));
        case Kind::kMask:
            return is_register(register_of(wanted.mask_register()));
        case Kind::kMemory:
            return memory_disagreement(wanted.memory(), got, end);
        case Kind::kImmediate: {
            if (got.type != ZYDIS_OPERAND_TYPE_IMMEDIATE) return "no immediate";
            const unsigned bits = got.imm.is_signed ? 64 : got.size == 0 ? 8 : got.size;
            const uint64_t mask = bits >= 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1;
            return ((got.imm.value.u ^ static_cast<uint64_t>(wanted.immediate())) & mask) == 0
                       ? ""
                       : "wrong immediate";
        }
        case Kind::kLabel:
            if (got.type != ZYDIS_OPERAND_TYPE_IMMEDIATE || !got.imm.is_relative) return "no jump";
            return got.imm.value.s + static_cast<int64_t>(end) == 0 ? "" : "wrong target";
        case Kind::kNone:
            break;
    }
    return "an operand too many";
}

std::string masking_disagreement(const FormInfo& form, const Operands& operands,
                                 const ZydisDecodedInstruction& got) {
    const uint32_t masking = operands[0].masking();
    const unsigned mask = (masking & operand_bits::kMask) >> operand_bits::kMaskShift;
    const ZydisRegister wanted = static_cast<ZydisRegister>(ZYDIS_REGISTER_K0 + static_cast<int>(mask));
    const bool has_mask = got.avx.mask.reg != ZYDIS_REGISTER_NONE && got.avx.mask.reg != ZYDIS_REGISTER_K0;
    if (form.encoding->kind != FormEncoding::Kind::kVector) return has_mask ? "a mask" : "";
    if (mask == 0) return has_mask ? "a mask that was not asked for" : "";
    if (got.avx.mask.reg != wanted) return "wrong mask";
    const bool zeroing = (masking & operand_bits::kZeroing) != 0;
    const bool got_zeroing = got.raw.evex.z != 0;
    return zeroing == got_zeroing ? "" : "zeroing against merging";
}

}  // namespace

std::string disagreement(Form form, const Operands& operands, std::span<const uint8_t> bytes,
                         size_t address) {
    const FormInfo& info = info_of(form);
    Decoded got;
    if (!decode(bytes, got)) return "not an instruction";
    if (got.instruction.length != bytes.size()) return "wrong length";
    const std::string mnemonic = ZydisMnemonicGetString(got.instruction.mnemonic);
    if (mnemonic != zydis_name(info.mnemonic)) return "mnemonic " + mnemonic;
    const size_t end = address + bytes.size();

    size_t next = 0;
    bool broadcast = false;
    for (unsigned i = 0; i < got.instruction.operand_count; ++i) {
        const ZydisDecodedOperand& operand = got.operands[i];
        if (operand.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN ||
            operand.encoding == ZYDIS_OPERAND_ENCODING_MASK)
            continue;
        if (next == kMaxOperands || operands[next].kind() == AnyOperand::Kind::kNone) {
            // "shl reg, cl" names cl; our method has it in its name.
            if (operand.visibility == ZYDIS_OPERAND_VISIBILITY_IMPLICIT) continue;
            return "an operand too many";
        }
        if (std::string what = operand_disagreement(operands[next], operand, end); !what.empty()) {
            return what + " in operand " + std::to_string(next + 1);
        }
        if (operands[next].kind() == AnyOperand::Kind::kMemory)
            broadcast = operands[next].memory().is_broadcast();
        ++next;
    }
    if (next < kMaxOperands && operands[next].kind() != AnyOperand::Kind::kNone)
        return "an operand is missing";
    if (std::string what = masking_disagreement(info, operands, got.instruction); !what.empty()) return what;
    const bool is_evex = got.instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX;
    if (is_evex && (got.instruction.raw.evex.b != 0) != broadcast) return "broadcast bit";
    if (!is_evex && broadcast) return "no broadcast";
    return {};
}

Branch decode_branch(std::span<const uint8_t> code, size_t address) {
    Decoded got;
    Branch branch;
    if (address >= code.size() || !decode(code.subspan(address), got)) return branch;
    branch.length = got.instruction.length;
    const auto end = static_cast<int64_t>(address + got.instruction.length);
    for (unsigned i = 0; i < got.instruction.operand_count_visible; ++i) {
        const ZydisDecodedOperand& operand = got.operands[i];
        if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE && operand.imm.is_relative) {
            branch.is_branch = true;
            branch.target = end + operand.imm.value.s;
        } else if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.base == ZYDIS_REGISTER_RIP) {
            branch.rip_relative = true;
            branch.target = end + operand.mem.disp.value;
        }
    }
    return branch;
}

std::string disassemble(std::span<const uint8_t> bytes) {
    Decoded got;
    if (!decode(bytes, got)) return "(bad)";
    ZydisFormatter formatter;
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    char text[256];
    ZydisFormatterFormatInstruction(&formatter, &got.instruction, got.operands,
                                    got.instruction.operand_count_visible, text, sizeof(text), 0, nullptr);
    return text;
}

}  // namespace bareflow::x86
