// libFuzzer, target 2: routines of random keys and plans, executed and compared with the reference.
#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/routine_differential.h"

namespace {

bareflow::RoutineCoverage coverage;

void report() { std::fprintf(stderr, "fuzz_routines: %s\n", to_string(coverage).c_str()); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const int registered = std::atexit(report);
    (void)registered;
    bareflow::x86::ByteChooser choose({data, size});
    if (const std::string wrong = check_routine(choose, coverage); !wrong.empty()) {
        std::fprintf(stderr, "%s\n", wrong.c_str());
        std::abort();
    }
    return 0;
}
