#include "arch/base/panic.h"

#include <cstdio>
#include <cstdlib>

namespace bareflow {

// abort() raises SIGABRT: the terminal's handler (host_terminal.cpp) puts its modes back before the process dies.
void panic(const char* what, const char* file, int line) {
    std::fflush(stdout);
    std::fprintf(stderr, "bareflow: panic: %s (%s:%d)\n", what, file, line);
    std::abort();
}

}  // namespace bareflow
