#include "arch/routine_visit.h"

#include "emitter/routine_emitter.h"

namespace bareflow {

bool RoutineVisitor::has_routine(const RoutineKey& key) const { return can_emit(key); }

}  // namespace bareflow
