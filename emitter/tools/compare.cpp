#include "emitter/tools/compare.h"

#include <algorithm>

#include "emitter/tools/listing.h"

namespace bareflow {
namespace {

/// The first byte at which not all are the same; the common size if there is none.
size_t first_difference(std::span<const Made> made) {
    size_t place = made[0].code.size();
    for (const Made& each : made.subspan(1)) {
        const auto [a, b] =
            std::mismatch(made[0].code.begin(), made[0].code.end(), each.code.begin(), each.code.end());
        place = std::min(place, static_cast<size_t>(a - made[0].code.begin()));
    }
    return place;
}

}  // namespace

bool print_comparison(std::span<const Made> made, std::ostream& out) {
    bool failed = false;
    for (const Made& each : made) {
        failed = failed || !each.error.empty();
        out << FixedString<300>::formatted("  {:<8}{:>7} bytes  {}\n", each.assembler, each.code.size(),
                                           each.error)
                   .view();
    }
    if (failed) return false;
    const bool same =
        std::all_of(made.begin(), made.end(), [&](const Made& each) { return each.code == made[0].code; });
    if (same) {
        out << "  identical: " << made[0].code.size() << " bytes\n";
        return true;
    }
    const size_t place = first_difference(made);
    out << "  first difference at byte " << place << ":\n";
    for (const Made& each : made) {
        const InstructionAt at = instruction_at({each.code.data(), each.code.size()}, place);
        out << FixedString<300>::formatted("  {:<8}{:04x}  {:<24}  {}\n", each.assembler, at.offset, at.bytes,
                                           at.text)
                   .view();
    }
    return false;
}

bool compare_assemblers(const RoutineKey& key, const Plan& plan, std::ostream& out) {
    std::vector<Made> made;
    out << name_of(key).view() << '\n';
    for (RoutineMaker* maker : all_makers()) {
        Result<EmittedRoutine> routine = emit(key, plan, *maker);
        if (routine.ok()) {
            made.push_back({maker->name(), routine.value().code, {}});
        } else {
            made.push_back({maker->name(), {}, std::string(routine.error().message())});
        }
    }
    return print_comparison(made, out);
}

}  // namespace bareflow
