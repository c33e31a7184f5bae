#include "emitter/tools/listing.h"

#include <Zydis/Zydis.h>

#include <algorithm>
#include <bit>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <map>
#include <optional>

namespace bareflow {
namespace {

struct Instruction {
    ZydisDecodedInstruction is;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

class Disassembler {
 public:
    Disassembler() {
        ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
        ZydisFormatterInit(&formatter_, ZYDIS_FORMATTER_STYLE_INTEL);
        for (const ZydisFormatterProperty property :
             {ZYDIS_FORMATTER_PROP_ADDR_PADDING_ABSOLUTE, ZYDIS_FORMATTER_PROP_ADDR_PADDING_RELATIVE,
              ZYDIS_FORMATTER_PROP_DISP_PADDING, ZYDIS_FORMATTER_PROP_IMM_PADDING}) {
            ZydisFormatterSetProperty(&formatter_, property, ZYDIS_PADDING_DISABLED);
        }
        ZydisFormatterSetProperty(&formatter_, ZYDIS_FORMATTER_PROP_IMM_SIGNEDNESS, ZYDIS_SIGNEDNESS_SIGNED);
        ZydisFormatterSetProperty(&formatter_, ZYDIS_FORMATTER_PROP_HEX_UPPERCASE, ZYAN_FALSE);
        ZydisFormatterSetProperty(&formatter_, ZYDIS_FORMATTER_PROP_FORCE_RELATIVE_RIPREL, ZYAN_TRUE);
    }
    bool decode(ByteSpan code, Instruction& out) const {
        return ZYAN_SUCCESS(
            ZydisDecoderDecodeFull(&decoder_, code.data(), code.size(), &out.is, out.operands));
    }
    std::string text(const Instruction& instruction, uint64_t address) const {
        char text[200] = "";
        ZydisFormatterFormatInstruction(&formatter_, &instruction.is, instruction.operands,
                                        instruction.is.operand_count_visible, text, sizeof text, address,
                                        nullptr);
        return text;
    }

 private:
    ZydisDecoder decoder_;
    ZydisFormatter formatter_;
};

std::string hex(ByteSpan bytes) {
    std::string text;
    for (const uint8_t byte : bytes) text += FixedString<2>::formatted("{:02x}", byte).view();
    return text;
}

/// Which register of its file, whatever its width; nullopt for those without roles.
struct RegisterId {
    bool is_vector;
    unsigned id;
    bool operator<(const RegisterId& other) const {
        return is_vector != other.is_vector ? is_vector < other.is_vector : id < other.id;
    }
};
std::optional<RegisterId> register_id(ZydisRegister reg) {
    switch (ZydisRegisterGetClass(reg)) {
        case ZYDIS_REGCLASS_XMM:
        case ZYDIS_REGCLASS_YMM:
        case ZYDIS_REGCLASS_ZMM:
            return RegisterId{true, static_cast<unsigned>(ZydisRegisterGetId(reg))};
        case ZYDIS_REGCLASS_GPR32:
        case ZYDIS_REGCLASS_GPR64:
            return RegisterId{false, static_cast<unsigned>(ZydisRegisterGetId(reg))};
        default:
            return std::nullopt;
    }
}
std::string name_of(RegisterId reg) {
    const ZydisRegister first = reg.is_vector ? ZYDIS_REGISTER_XMM0 : ZYDIS_REGISTER_RAX;
    return ZydisRegisterGetString(static_cast<ZydisRegister>(first + static_cast<int>(reg.id)));
}

/// A constant as the number that it is: a float, or the integer that its bits are where the float would be subnormal.
std::string number_text(uint32_t bits) {
    constexpr uint32_t kSmallestNormal = 0x0080'0000;
    if (bits != 0 && bits < kSmallestNormal) return std::to_string(bits);
    char text[40];
    std::snprintf(text, sizeof text, "%.9g", static_cast<double>(std::bit_cast<float>(bits)));
    return text;
}

class Listing {
 public:
    Listing(const EmittedRoutine& routine, std::ostream& out) : routine_(routine), out_(out) {
        for (const LabelPlace& label : routine.annotations.labels) name_label(label);
    }
    void print();

 private:
    void name_label(const LabelPlace& label);
    void print_instruction(size_t at, const Instruction& instruction);
    void print_data(const DataRange& data);
    void print_label(size_t at);
    std::string comment(const Instruction& instruction, size_t at);
    std::optional<uint32_t> constant(const ZydisDecodedOperand& operand) const;
    void follow_pointers(const Instruction& instruction, size_t at);
    void take_roles(size_t up_to);
    bool is_data(size_t at) const {
        return std::any_of(routine_.annotations.data.begin(), routine_.annotations.data.end(),
                           [&](const DataRange& data) { return at - data.offset < data.size; });
    }
    ByteSpan code() const { return {routine_.code.data(), routine_.code.size()}; }
    uint32_t word(size_t at) const {
        uint32_t bits = 0;
        std::memcpy(&bits, routine_.code.data() + at, std::min(sizeof bits, routine_.code.size() - at));
        return bits;
    }

    const EmittedRoutine& routine_;
    std::ostream& out_;
    Disassembler disassembler_;
    std::map<size_t, std::string> labels_;  ///< by offset; one name a place
    std::map<std::string, int> used_names_;
    std::map<RegisterId, std::string> roles_;
    std::map<unsigned, size_t>
        pointers_;  ///< general registers that hold the address of data, as far as is known
    size_t next_role_ = 0;
};

/// The generator's name for it; a second loop of the same name gets a number.
void Listing::name_label(const LabelPlace& label) {
    if (labels_.contains(label.offset)) return;
    std::string name(label.text.view());
    if (name.empty()) name = is_data(label.offset) ? "constants" : "L";
    const int uses = ++used_names_[name];
    labels_[label.offset] = uses == 1 ? name : name + "_" + std::to_string(uses);
}

void Listing::take_roles(size_t up_to) {
    const std::vector<RegisterRole>& roles = routine_.annotations.roles;
    for (; next_role_ < roles.size() && roles[next_role_].offset <= up_to; ++next_role_) {
        const RegisterRole& role = roles[next_role_];
        roles_[{role.is_vector, role.id}] = role.text.view();
    }
}

/// Remembers `lea reg, [rip + constants]`, until something else is written to the register.
void Listing::follow_pointers(const Instruction& instruction, size_t at) {
    for (unsigned i = 0; i < instruction.is.operand_count; ++i) {
        const ZydisDecodedOperand& operand = instruction.operands[i];
        const bool written = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
        if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER || !written) continue;
        const std::optional<RegisterId> reg = register_id(operand.reg.value);
        if (reg && !reg->is_vector) pointers_.erase(reg->id);
    }
    const ZydisDecodedOperand& source = instruction.operands[1];
    if (instruction.is.mnemonic != ZYDIS_MNEMONIC_LEA || source.mem.base != ZYDIS_REGISTER_RIP) return;
    const size_t target = at + instruction.is.length + static_cast<size_t>(source.mem.disp.value);
    pointers_[register_id(instruction.operands[0].reg.value)->id] = target;
}

/// The constant that an operand reads, where that is known.
std::optional<uint32_t> Listing::constant(const ZydisDecodedOperand& operand) const {
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY || operand.mem.index != ZYDIS_REGISTER_NONE)
        return std::nullopt;
    const std::optional<RegisterId> base = register_id(operand.mem.base);
    const auto known = base && !base->is_vector ? pointers_.find(base->id) : pointers_.end();
    if (known == pointers_.end()) return std::nullopt;
    const size_t place = known->second + static_cast<size_t>(operand.mem.disp.value);
    return is_data(place) ? std::optional(word(place)) : std::nullopt;
}

std::string Listing::comment(const Instruction& instruction, size_t at) {
    std::string text;
    std::vector<RegisterId> told;
    auto tell = [&](ZydisRegister reg) {
        const std::optional<RegisterId> id = register_id(reg);
        if (!id) return;
        const auto same = [&](const RegisterId& other) { return !(other < *id) && !(*id < other); };
        const auto role = roles_.find(*id);
        if (role == roles_.end() || std::any_of(told.begin(), told.end(), same)) return;
        told.push_back(*id);
        text += (text.empty() ? "" : ", ") + std::string(ZydisRegisterGetString(reg)) + " " + role->second;
    };
    for (unsigned i = 0; i < instruction.is.operand_count_visible; ++i) {
        const ZydisDecodedOperand& operand = instruction.operands[i];
        if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) tell(operand.reg.value);
        if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
        if (const std::optional<uint32_t> bits = constant(operand)) {
            text += (text.empty() ? "" : ", ") + number_text(*bits);
            continue;
        }
        tell(operand.mem.base);
        tell(operand.mem.index);
        if (operand.mem.base == ZYDIS_REGISTER_RIP) {
            const auto label =
                labels_.find(at + instruction.is.length + static_cast<size_t>(operand.mem.disp.value));
            if (label != labels_.end()) text += (text.empty() ? "at " : ", at ") + label->second;
        }
    }
    return text;
}

void Listing::print_label(size_t at) {
    if (const auto label = labels_.find(at); label != labels_.end()) out_ << label->second << ":\n";
}

void Listing::print_instruction(size_t at, const Instruction& instruction) {
    std::string text = disassembler_.text(instruction, at);
    const ZydisDecodedOperand& first = instruction.operands[0];
    if (instruction.is.operand_count_visible == 1 && first.type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
        first.imm.is_relative) {
        const auto target = labels_.find(at + instruction.is.length + static_cast<size_t>(first.imm.value.s));
        if (target != labels_.end())
            text = std::string(ZydisMnemonicGetString(instruction.is.mnemonic)) + " " + target->second;
    }
    const std::string comment_text = comment(instruction, at);
    out_ << FixedString<300>::formatted("  {:04x}  {:<24}  ", at,
                                        hex(code().subspan(at, instruction.is.length)))
                .view();
    if (comment_text.empty()) {
        out_ << text << '\n';
    } else {
        out_ << FixedString<200>::formatted("{:<46}", text).view() << "  ; " << comment_text << '\n';
    }
}

void Listing::print_data(const DataRange& data) {
    for (size_t at = data.offset; at < data.offset + data.size; at += sizeof(uint32_t)) {
        print_label(at);
        const size_t size = std::min(sizeof(uint32_t), data.offset + data.size - at);
        out_ << FixedString<200>::formatted("  {:04x}  {:<24}  .long 0x{:08x}  ", at,
                                            hex(code().subspan(at, size)), word(at))
                    .view();
        out_ << "                               ; " << number_text(word(at)) << '\n';
    }
}

void Listing::print() {
    size_t at = 0;
    const std::vector<DataRange>& data = routine_.annotations.data;
    while (at < routine_.code.size()) {
        const auto range = std::find_if(data.begin(), data.end(), [&](const DataRange& each) {
            return each.offset == at && each.size != 0;
        });
        if (range != data.end()) {
            print_data(*range);
            at += range->size;
            continue;
        }
        print_label(at);
        take_roles(at);
        Instruction instruction;
        if (!disassembler_.decode(code().subspan(at), instruction)) {
            out_ << FixedString<80>::formatted("  {:04x}  {:02x}                        (bad)\n", at,
                                               routine_.code[at])
                        .view();
            ++at;
            continue;
        }
        print_instruction(at, instruction);
        follow_pointers(instruction, at);
        at += instruction.is.length;
    }
}

/// "rsi weights, rdi q / k / v": every role that a general register has.
std::string general_roles(const Annotations& annotations) {
    std::vector<std::pair<unsigned, std::string>> all;
    for (const RegisterRole& role : annotations.roles) {
        if (role.is_vector) continue;
        const auto found =
            std::find_if(all.begin(), all.end(), [&](const auto& each) { return each.first == role.id; });
        const std::string text(role.text.view());
        if (found == all.end()) {
            all.emplace_back(role.id, text);
        } else if ((" / " + found->second + " / ").find(" / " + text + " / ") == std::string::npos) {
            found->second += " / " + text;
        }
    }
    std::string line;
    for (const auto& [id, text] : all)
        line += (line.empty() ? "" : ", ") + name_of(RegisterId{false, id}) + " " + text;
    return line;
}

}  // namespace

void print_listing(const EmittedRoutine& routine, std::string_view assembler, std::ostream& out) {
    out << "; " << routine.name() << ": " << routine.code.size() << " bytes, assembler " << assembler << '\n'
        << "; plan " << bareflow::name_of(routine.plan).view() << '\n'
        << "; void routine(const arguments* rdi); " << general_roles(routine.annotations) << '\n'
        << routine.name() << ":\n";
    Listing(routine, out).print();
}

InstructionAt instruction_at(ByteSpan code, size_t place) {
    const Disassembler disassembler;
    for (size_t at = 0; at < code.size();) {
        Instruction instruction;
        const bool decoded = disassembler.decode(code.subspan(at), instruction);
        const size_t length = decoded ? instruction.is.length : 1;
        if (place < at + length) {
            return {at, hex(code.subspan(at, length)),
                    decoded ? disassembler.text(instruction, at) : "(bad)"};
        }
        at += length;
    }
    return {code.size(), "", "(the end)"};
}

}  // namespace bareflow
