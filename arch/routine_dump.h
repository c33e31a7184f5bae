// /dump: the machine code that is installed, in a form that people can feed to objdump.
#pragma once

#include "emitter/routine_cache.h"
#include "model/session.h"

namespace bareflow {

/// Without a key: what routines there are. With one: its bytes in lines of 32, after a line that says what they are and
/// what to do with them. nullptr for `routines`: nothing is emitted here.
void dump_routines(const RoutineCache* routines, std::string_view key, TextListener& out);

}  // namespace bareflow
