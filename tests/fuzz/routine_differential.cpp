#include "tests/fuzz/routine_differential.h"

#include <algorithm>

#include "tests/oracle/interpreter.h"
#include "tests/oracle/planted_routines.h"

namespace bareflow {
namespace {

template <typename T>
std::vector<uint8_t> bytes_of(const T& plain) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(&plain);
    return {bytes, bytes + sizeof plain};
}

std::string check_bytes(const RoutineCase& c, const EmittedRoutine& ours) {
    if (ours.error != x86::AssemblerError::kNone) return std::string(name_of(ours.error));
    static std::vector<uint8_t> buffer(code_buffer().size());
    // The one without a planted bug counts the forms.
    for (const EmitRoutine emit : {emit_with_asmjit, emit_with_planted_bug}) {
        const EmittedRoutine other = emit(c.key, c.plan, buffer);
        if (other.error != x86::AssemblerError::kNone) return "asmjit: " + std::string(name_of(other.error));
        if (!std::ranges::equal(ours.code, other.code)) return "asmjit makes other bytes";
    }
    return {};
}

}  // namespace

std::string check_routine(x86::Chooser& choose, RoutineCoverage& coverage) {
    const RoutineCase c = choose_case(choose, kSmall);
    const EmittedRoutine made = emit_with_tiny(c.key, c.plan, code_buffer());
    ++coverage.routines;
    coverage.keys.insert(bytes_of(c.key));
    coverage.plans.insert(bytes_of(c.plan));
    std::string wrong = check_bytes(c, made);
    if (!wrong.empty()) return to_string(c) + ": " + wrong;
    coverage.instructions += count_instructions(made.code);

    constexpr uint64_t kAlsoInterpreted = 8;
    RoutineMemory memory(c);
    if (runs_here(c.kind())) {
        wrong = run_natively(c, made.code, memory);
        if (!wrong.empty()) return to_string(c) + ": " + wrong;
        ++coverage.native_runs;
        if (coverage.routines % kAlsoInterpreted != 0) return {};
        memory.reset();
    }
    const Interpreted interpreted = interpret(c, made.code, memory);
    ++coverage.interpreted_runs;
    coverage.interpreted_steps += interpreted.steps;
    return interpreted.wrong.empty() ? "" : to_string(c) + ", interpreted: " + interpreted.wrong;
}

std::string to_string(const RoutineCoverage& coverage) {
    const auto forms = std::ranges::count_if(emitted_forms(), [](uint64_t n) { return n != 0; });
    return std::to_string(coverage.routines) + " routines of " + std::to_string(coverage.keys.size()) +
           " keys and " + std::to_string(coverage.plans.size()) + " plans, " +
           std::to_string(coverage.instructions) + " instructions of " + std::to_string(forms) + " forms; " +
           std::to_string(coverage.native_runs) + " run on this CPU, " +
           std::to_string(coverage.interpreted_runs) + " interpreted (" +
           std::to_string(coverage.interpreted_steps) + " steps)";
}

}  // namespace bareflow
