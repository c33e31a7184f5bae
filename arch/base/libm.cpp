#include "arch/base/libm.h"

#include "arch/base/panic.h"

// musl's sinf and cosf check a stack canary; this is what they call when it was overwritten.
extern "C" [[noreturn]] void bareflow___stack_chk_fail() { PANIC("stack overwritten in libm"); }
