// libFuzzer, target 3: programs of labels, jumps, rip-relative operands, alignment and data, also into buffers that are
// too small.
#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/differential.h"

namespace {

using namespace bareflow::x86;

Coverage coverage;

void report() {
    std::fprintf(stderr, "fuzz_labels: %llu programs, %llu instructions, %u of %u forms\n",
                 static_cast<unsigned long long>(coverage.programs),
                 static_cast<unsigned long long>(coverage.instructions), coverage.forms(), kFormCount);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const int registered = std::atexit(report);
    (void)registered;
    ByteChooser choose({data, size});
    if (const std::string wrong = check_program(choose, assemble_with_tiny, coverage); !wrong.empty()) {
        std::fprintf(stderr, "%s\n", wrong.c_str());
        std::abort();
    }
    return 0;
}
