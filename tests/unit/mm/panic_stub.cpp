// A panic for test programs that link no platform; a platform's own takes its place.
#include <cstdio>
#include <cstdlib>

#include "arch/base/panic.h"

namespace bareflow {

[[noreturn, gnu::weak]] void panic(const char* what, const char* file, int line) {
    std::fprintf(stderr, "panic: %s (%s:%d)\n", what, file, line);
    std::abort();
}

}  // namespace bareflow
