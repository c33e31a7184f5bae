#include "tests/fuzz/differential.h"

#include <algorithm>

#include "tests/oracle/decoder.h"

namespace bareflow::x86 {
namespace {

constexpr size_t kBufferSize = 1 << 14;
constexpr uint8_t kUntouched = 0xA5;

const std::vector<Form>& jumps() {
    static const std::vector<Form> forms = [] {
        std::vector<Form> result;
        for (const FormInfo& form : all_forms()) {
            if (form.has_operand(Role::kLabel)) result.push_back(form.form);
        }
        return result;
    }();
    return forms;
}

std::string describe(const char* what, const Assembled& ours, const char* name, const Assembled& other) {
    return std::string(what) + "\n  ours   " + std::string(name_of(ours.error)) + " " + hex(ours.bytes) +
           "\n  " + name + " " + std::string(name_of(other.error)) + " " + hex(other.bytes);
}

/// Where the program's labels were bound, by the offsets at which its steps began.
std::vector<size_t> label_places(const Program& program, const Assembled& assembled) {
    std::vector<size_t> places;
    for (size_t i = 0; i < program.size(); ++i) {
        if (program[i].kind == Step::Kind::kNewLabel) places.push_back(SIZE_MAX);
        if (program[i].kind == Step::Kind::kBind)
            places.at(static_cast<size_t>(program[i].value)) = assembled.starts[i];
    }
    return places;
}

std::string check_targets(const Program& program, const Assembled& assembled) {
    const std::vector<size_t> places = label_places(program, assembled);
    for (size_t i = 0; i < program.size(); ++i) {
        if (program[i].kind != Step::Kind::kInstruction) continue;
        const Branch got = decode_branch(assembled.bytes, assembled.starts[i]);
        const size_t end = i + 1 < program.size() ? assembled.starts[i + 1] : assembled.bytes.size();
        if (got.length != end - assembled.starts[i]) return "a step's length is not its instruction's";
        for (const AnyOperand& operand : program[i].operands) {
            const bool jump = operand.kind() == AnyOperand::Kind::kLabel;
            if (!jump && !(operand.kind() == AnyOperand::Kind::kMemory && operand.memory().is_label()))
                continue;
            const unsigned label = jump ? operand.label().id : operand.memory().label().id;
            const int64_t wanted =
                static_cast<int64_t>(places.at(label)) + (jump ? 0 : operand.memory().displacement());
            if ((jump ? got.is_branch : got.rip_relative) && got.target == wanted) continue;
            return "step " + std::to_string(i) + " goes to " + std::to_string(got.target) + ", not to " +
                   std::to_string(wanted);
        }
    }
    return {};
}

/// A buffer of `size` bytes between untouched ones: code that does not fit must be an error, and write nothing outside.
std::string check_small_buffer(const Program& program, Assemble under_test, size_t size, size_t needed) {
    std::vector<uint8_t> memory(size + 128, kUntouched);
    const Assembled got = under_test(program, std::span<uint8_t>(memory).subspan(64, size));
    for (size_t i = 0; i < memory.size(); ++i) {
        const bool inside = i >= 64 && i < 64 + size;
        if (!inside && memory[i] != kUntouched)
            return "wrote outside a buffer of " + std::to_string(size) + " bytes";
    }
    if (size < needed && got.error != AssemblerError::kBufferFull) {
        return std::to_string(needed) + " bytes of code in " + std::to_string(size) + ": " +
               std::string(name_of(got.error));
    }
    if (size >= needed && got.error != AssemblerError::kNone)
        return "refuses a buffer that is just large enough";
    return {};
}

}  // namespace

unsigned Coverage::forms() const {
    return static_cast<unsigned>(std::ranges::count_if(by_form, [](uint64_t n) { return n != 0; }));
}

std::string check_instruction(Form form, const Operands& operands, Assemble under_test) {
    const Program program = {new_label(), bind(0), instruction(form, operands)};
    const Assembled ours = assemble(under_test, program);
    const std::string what = to_string(form, operands);
    if (ours.error != AssemblerError::kNone) return what + ": " + std::string(name_of(ours.error));
    if (const Assembled asmjit = assemble(assemble_with_asmjit, program); !(ours == asmjit)) {
        return describe(what.c_str(), ours, "asmjit", asmjit);
    }
    if (!xbyak_differs(form, operands)) {
        if (const Assembled xbyak = assemble(assemble_with_xbyak, program); !(ours == xbyak)) {
            return describe(what.c_str(), ours, "xbyak ", xbyak);
        }
    }
    if (const std::string wrong = disagreement(form, operands, ours.bytes); !wrong.empty()) {
        return what + ": Zydis reads " + disassemble(ours.bytes) + ": " + wrong;
    }
    return {};
}

std::string check_instruction(Chooser& choose, Assemble under_test, Coverage& coverage) {
    const FormInfo& form = all_forms()[choose.below(kFormCount)];
    const Operands operands = choose_operands(form, choose, Label{0});
    ++coverage.instructions;
    ++coverage.by_form[static_cast<unsigned>(form.form)];
    return check_instruction(form.form, operands, under_test);
}

Program choose_program(Chooser& choose) {
    Program program;
    const unsigned labels = 1 + choose.below(6);
    for (unsigned i = 0; i < labels; ++i) program.push_back(new_label());
    std::vector<bool> bound(labels);
    const unsigned steps = 1 + choose.below(24);
    const auto jump_to = [&](Label label) { return instruction(choose.pick(jumps()), {AnyOperand(label)}); };
    for (unsigned i = 0; i < steps; ++i) {
        const unsigned which = choose.below(labels);
        const Label label{static_cast<uint8_t>(which)};
        switch (choose.below(8)) {
            case 0:
            case 1:
                program.push_back(jump_to(label));
                break;
            case 2:  // a jump and its label, or a label and its jump, about 128 bytes apart
                if (!bound[which]) {
                    const unsigned distance = 118 + choose.below(16);
                    if (choose.one_in(2))
                        program.push_back(bind(which));
                    else
                        program.push_back(
                            jump_to(choose.one_in(2) && distance <= 129 ? label.near() : label));
                    const bool bound_first = program.back().kind == Step::Kind::kBind;
                    program.push_back(embed(distance));
                    program.push_back(bound_first ? jump_to(label) : bind(which));
                    bound[which] = true;
                }
                break;
            case 3:
                if (!bound[which]) program.push_back(bind(which));
                bound[which] = true;
                break;
            case 4:
                program.push_back(align(1u << choose.below(7)));
                break;
            case 5:
                program.push_back(embed(choose.below(200)));
                break;
            case 6:
                program.push_back(
                    move_constant(r64(choose.below(16)),
                                  static_cast<int32_t>(choose.below(UINT32_MAX)) * int64_t{choose.below(3)}));
                break;
            default: {
                const FormInfo& form = all_forms()[choose.below(kFormCount)];
                if (form.has_operand(Role::kLabel)) break;
                Operands operands = choose_operands(form, choose, label);
                if (!xbyak_differs(form.form, operands)) program.push_back(instruction(form.form, operands));
                break;
            }
        }
    }
    for (unsigned i = 0; i < labels; ++i) {
        if (!bound[i]) program.push_back(bind(i));
    }
    return program;
}

std::string check_program(Chooser& choose, Assemble under_test, Coverage& coverage) {
    const Program program = choose_program(choose);
    ++coverage.programs;
    for (const Step& step : program) {
        if (step.kind != Step::Kind::kInstruction) continue;
        ++coverage.instructions;
        ++coverage.by_form[static_cast<unsigned>(step.form)];
    }
    const auto fail = [&](const std::string& what) { return what + "\n" + to_string(program); };

    alignas(64) static uint8_t buffer[kBufferSize];
    const auto run = [&](Assemble with) { return with(program, std::span<uint8_t>(buffer)); };
    const Assembled ours = run(under_test);
    if (const Assembled asmjit = run(assemble_with_asmjit); !(ours == asmjit)) {
        return fail(describe("asmjit differs", ours, "asmjit", asmjit));
    }
    if (const Assembled xbyak = run(assemble_with_xbyak); !(ours == xbyak)) {
        return fail(describe("xbyak differs", ours, "xbyak ", xbyak));
    }
    if (ours.error != AssemblerError::kNone) return {};  // all three refuse it alike
    if (const std::string wrong = check_targets(program, ours); !wrong.empty()) return fail(wrong);
    const size_t needed = ours.bytes.size();
    for (size_t size : {needed, needed - std::min<size_t>(needed, 1),
                        size_t{choose.below(static_cast<uint32_t>(needed) + 1)}}) {
        if (const std::string wrong = check_small_buffer(program, under_test, size, needed); !wrong.empty())
            return fail(wrong);
    }
    return {};
}

}  // namespace bareflow::x86
