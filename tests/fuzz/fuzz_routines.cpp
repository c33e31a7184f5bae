// libFuzzer, target 2: routines of random keys and plans, executed and compared with the reference.
#include <cstdio>
#include <cstdlib>

#include "arch/base/crc32c.h"
#include "tests/fuzz/routine_differential.h"

namespace {

using namespace bareflow;

RoutineCoverage coverage;

void report() { std::fprintf(stderr, "fuzz_routines: %s\n", to_string(coverage).c_str()); }

void check(x86::Chooser& choose) {
    if (const std::string wrong = check_routine(choose, coverage); !wrong.empty()) {
        std::fprintf(stderr, "%s\n", wrong.c_str());
        std::abort();
    }
}

}  // namespace

// Two routines: one as the bytes say, for libFuzzer to steer, and one that they only seed, since what it mutates stays
// close to the keys that it has.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const int registered = std::atexit(report);
    (void)registered;
    x86::ByteChooser steered({data, size});
    check(steered);
    x86::RandomChooser seeded(crc32c({data, size}));
    check(seeded);
    return 0;
}
