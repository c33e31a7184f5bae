#include "tests/fuzz/llvm_decoder.h"

#include <llvm-c/Disassembler.h>
#include <llvm-c/Target.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <vector>

#include "tests/oracle/form_cases.h"

namespace bareflow::x86 {
namespace {

LLVMDisasmContextRef context() {
    static const LLVMDisasmContextRef instance = [] {
        LLVMInitializeX86TargetInfo();
        LLVMInitializeX86TargetMC();
        LLVMInitializeX86Disassembler();
        const LLVMDisasmContextRef made =
            LLVMCreateDisasm("x86_64-unknown-linux-gnu", nullptr, 0, nullptr, nullptr);
        LLVMSetDisasmOptions(made, LLVMDisassembler_Option_AsmPrinterVariant);  // Intel's syntax
        return made;
    }();
    return instance;
}

/// LLVM writes the predicate of a comparison into the mnemonic, and drops it from the operands.
std::string without_predicate(std::string mnemonic) {
    for (std::string_view prefix : {"vpcmp", "vcmp", "cmp"}) {
        if (!mnemonic.starts_with(prefix)) continue;
        for (std::string_view suffix : {"ps", "ss", "ud", "d"}) {
            if (mnemonic.ends_with(suffix) && mnemonic.size() > prefix.size()) {
                return std::string(prefix) + std::string(suffix);
            }
        }
    }
    return mnemonic;
}

std::string plain_mnemonic(std::string_view method) {
    if (const size_t end = method.find_first_of('_'); end != std::string_view::npos)
        method = method.substr(0, end);
    return std::string(method);
}

/// The words of a line of assembly: names and numbers.
std::vector<std::string> words_of(const std::string& text) {
    std::vector<std::string> words;
    std::string word;
    for (char c : text + " ") {
        if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_') {
            word += c;
        } else if (!word.empty()) {
            words.push_back(word);
            word.clear();
        }
    }
    return words;
}

/// The names that `operand` should leave in the text.
std::vector<std::string> names_in(const AnyOperand& operand) {
    Operands alone{};
    alone[0] = operand;
    std::vector<std::string> names;
    for (const std::string& word : words_of(to_string(Form::ret, alone))) {
        const bool is_register = std::isalpha(static_cast<unsigned char>(word[0])) != 0;
        if (is_register && word != "ret" && word != "ptr" && word != "bcst" && word != "z" && word != "L0" &&
            word != "near") {
            names.push_back(word);
        }
    }
    return names;
}

}  // namespace

std::string llvm_disagreement(Form form, const Operands& operands, std::span<const uint8_t> bytes) {
    static const std::map<std::string, std::string> kOtherNames = {{"movabs", "mov"}};
    std::vector<uint8_t> copy(bytes.begin(), bytes.end());
    char text[256] = {};
    const size_t length = LLVMDisasmInstruction(context(), copy.data(), copy.size(), 0, text, sizeof(text));
    if (length != bytes.size()) return "LLVM reads " + std::to_string(length) + " bytes:" + text;
    // "{vex}" and the like stand before the mnemonic; hints such as {1to4} after it.
    std::string line(text);
    if (const size_t brace = line.find('}');
        line.find('{') != std::string::npos && line.find_first_not_of("\t ") == line.find('{')) {
        line = line.substr(brace + 1);
    }
    std::vector<std::string> words = words_of(line);
    if (words.empty()) return "LLVM reads nothing";
    std::string mnemonic = words[0];
    if (const auto other = kOtherNames.find(mnemonic); other != kOtherNames.end()) mnemonic = other->second;
    const std::string wanted = plain_mnemonic(info_of(form).mnemonic);
    if (mnemonic != wanted && without_predicate(mnemonic) != without_predicate(wanted))
        return "LLVM reads " + line;
    for (const AnyOperand& operand : operands) {
        for (const std::string& name : names_in(operand)) {
            if (std::ranges::find(words, name) == words.end()) return "LLVM finds no " + name + " in" + line;
        }
    }
    return {};
}

}  // namespace bareflow::x86
