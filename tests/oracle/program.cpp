#include "tests/oracle/program.h"

#include <cstdio>

#include "tests/oracle/form_cases.h"

namespace bareflow::x86 {
namespace {

std::string name_of_gp(Gp reg) {
    static constexpr const char* kLow[] = {"ax", "cx", "dx", "bx", "sp", "bp", "si", "di"};
    const unsigned id = reg.id();
    const bool byte_named = id < 4;
    switch (reg.bytes()) {
        case 1:
            return id >= 8      ? "r" + std::to_string(id) + "b"
                   : byte_named ? std::string{kLow[id][0], 'l'}
                                : std::string(kLow[id]) + "l";
        case 2:
            return id >= 8 ? "r" + std::to_string(id) + "w" : kLow[id];
        case 4:
            return id >= 8 ? "r" + std::to_string(id) + "d" : "e" + std::string(kLow[id]);
        default:
            return id >= 8 ? "r" + std::to_string(id) : "r" + std::string(kLow[id]);
    }
}

std::string name_of_memory(Mem memory) {
    std::string text;
    if (memory.size() != 0) text += std::to_string(memory.size() * 8) + " ptr ";
    text += "[";
    if (memory.is_label()) {
        text += "rip+L" + std::to_string(memory.label().id);
    } else {
        if (memory.has_base()) text += name_of_gp(r64(memory.base()));
        if (memory.has_index())
            text += "+" + name_of_gp(r64(memory.index())) + "*" + std::to_string(1 << memory.scale_log2());
    }
    if (memory.displacement() != 0)
        text += (memory.displacement() > 0 ? "+" : "") + std::to_string(memory.displacement());
    return text + "]" + (memory.is_broadcast() ? "{bcst}" : "");
}

std::string to_string(const AnyOperand& operand) {
    using Kind = AnyOperand::Kind;
    std::string text;
    switch (operand.kind()) {
        case Kind::kVec:
            text = std::string(1, "xyz?"[static_cast<int>(operand.vec().length())]) + "mm" +
                   std::to_string(operand.vec().id());
            break;
        case Kind::kGp:
            text = name_of_gp(operand.gp());
            break;
        case Kind::kMask:
            text = "k" + std::to_string(operand.mask_register().id);
            break;
        case Kind::kMemory:
            text = name_of_memory(operand.memory());
            break;
        case Kind::kImmediate:
            text = std::to_string(operand.immediate());
            break;
        case Kind::kLabel:
            text = "L" + std::to_string(operand.label().id) + (operand.label().in_short_reach ? " near" : "");
            break;
        case Kind::kNone:
            break;
    }
    const uint32_t masking = operand.masking();
    if ((masking & operand_bits::kMask) != 0)
        text += "{k" + std::to_string((masking & operand_bits::kMask) >> operand_bits::kMaskShift) + "}";
    if ((masking & operand_bits::kZeroing) != 0) text += "{z}";
    return text;
}

}  // namespace

std::string to_string(Form form, const Operands& operands) {
    std::string text(info_of(form).name);
    const char* separator = " ";
    for (const AnyOperand& operand : operands) {
        if (operand.kind() == AnyOperand::Kind::kNone) break;
        text += separator + to_string(operand);
        separator = ", ";
    }
    return text;
}

std::string to_string(const Program& program) {
    std::string text;
    unsigned labels = 0;
    for (const Step& step : program) {
        switch (step.kind) {
            case Step::Kind::kInstruction:
                text += "    " + to_string(step.form, step.operands) + "\n";
                break;
            case Step::Kind::kMoveConstant:
                text += "    mov " + to_string(step.operands[0]) + ", " + std::to_string(step.value) + "\n";
                break;
            case Step::Kind::kNewLabel:
                text += "    new L" + std::to_string(labels++) + "\n";
                break;
            case Step::Kind::kBind:
                text += "L" + std::to_string(step.value) + ":\n";
                break;
            case Step::Kind::kAlign:
                text += "    align " + std::to_string(step.value) + "\n";
                break;
            case Step::Kind::kEmbed:
                text += "    embed " + std::to_string(step.value) + " bytes\n";
                break;
        }
    }
    return text;
}

std::string hex(std::span<const uint8_t> bytes) {
    std::string text;
    for (uint8_t byte : bytes) {
        char digits[4];
        std::snprintf(digits, sizeof(digits), "%02x ", byte);
        text += digits;
    }
    return text;
}

}  // namespace bareflow::x86
