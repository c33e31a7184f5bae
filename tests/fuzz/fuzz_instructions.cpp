// libFuzzer, target 1: instructions, one after another, from the fuzzer's bytes. tiny, asmjit and xbyak must give the
// same bytes; Zydis and LLVM must read them as what was asked for.
#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/differential.h"
#include "tests/fuzz/llvm_decoder.h"

namespace {

using namespace bareflow::x86;

Coverage coverage;

void report() {
    std::fprintf(stderr, "fuzz_instructions: %llu instructions, %u of %u forms\n",
                 static_cast<unsigned long long>(coverage.instructions), coverage.forms(), kFormCount);
}

void stop(const std::string& what) {
    std::fprintf(stderr, "%s\n", what.c_str());
    std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const int registered = std::atexit(report);
    (void)registered;
    ByteChooser choose({data, size});
    while (!choose.empty()) {
        const FormInfo& form = all_forms()[choose.below(kFormCount)];
        const Operands operands = choose_operands(form, choose, Label{0});
        ++coverage.instructions;
        ++coverage.by_form[static_cast<unsigned>(form.form)];
        if (const std::string wrong = check_instruction(form.form, operands, assemble_with_tiny);
            !wrong.empty())
            stop(wrong);
        const Assembled ours =
            assemble(assemble_with_tiny, {new_label(), bind(0), instruction(form.form, operands)});
        const std::string wrong = llvm_disagreement(form.form, operands, ours.bytes);
        if (!wrong.empty()) stop(to_string(form.form, operands) + ": " + hex(ours.bytes) + wrong);
    }
    return 0;
}
