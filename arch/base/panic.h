// Programmer's errors: a check that fails here is a bug, not bad input. Bad input is a Result (result.h).
#pragma once

namespace bareflow {

/// Reports `what` with its place and stops with the failure status. Each platform has its own
/// (arch/x86_64/fault.cpp prints a backtrace, arch/host aborts).
[[noreturn]] void panic(const char* what, const char* file, int line);

}  // namespace bareflow

#define PANIC(what) ::bareflow::panic((what), __FILE__, __LINE__)
#define ASSERT(condition)              \
    do {                               \
        if (!(condition)) [[unlikely]] \
            PANIC(#condition);         \
    } while (0)
