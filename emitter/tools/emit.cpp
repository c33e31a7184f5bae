#include "emitter/tools/emit.h"

#include <algorithm>
#include <chrono>

#include "emitter/routine_emitter.h"
#include "emitter/routine_emitter_impl.h"

namespace bareflow {
namespace {

constexpr size_t kRoom = 4 << 20;  ///< more than the largest plan of the largest key takes

/// Why can_emit() said no.
Error no_generator(const RoutineKey& key) {
    const FixedString<96> name = name_of(key);
    if (key.isa == Isa::kScalar)
        return invalid("{}: nothing is emitted for scalar, that is the reference in C++; take another ISA",
                       name.view());
    RoutineKey other = key;
    other.numerics = NumericClass::kMulAdd;
    if (can_emit(other)) return invalid("{}: {} has no fma; take muladd", name.view(), name_of(key.isa));
    other = key;
    other.layout = Layout::kPanels16;
    if (can_emit(other)) return invalid("{}: there are routines for weights in panels only", name.view());
    other = key;
    other.epilogue = Epilogue::kStore;
    if (can_emit(other)) return invalid("{}: {} has no _add", name.view(), name_of(key.operation));
    return invalid("{}: no generator for this operation, type or size; --list shows what there is",
                   name.view());
}

Result<void> annotate(EmittedRoutine& routine, std::span<uint8_t> room) {
    AnnotatedAssembler assembler(room, routine.annotations);
    emit_routine(assembler, routine.key, routine.plan);
    if (const x86::AssemblerError error = assembler.finish(); error != x86::AssemblerError::kNone)
        return invalid("{}: assembler tiny: {}", routine.name(), name_of(error));
    return {};
}

}  // namespace

template void emit_routine(AnnotatedAssembler& a, const RoutineKey& key, const Plan& plan);

std::span<RoutineMaker* const> all_makers() {
    static RoutineMaker* const makers[] = {&tiny_maker(), &asmjit_maker(), &xbyak_maker()};
    return makers;
}
RoutineMaker* maker_named(std::string_view name) {
    for (RoutineMaker* maker : all_makers()) {
        if (maker->name() == name) return maker;
    }
    return nullptr;
}

Result<EmittedRoutine> emit(const RoutineKey& key, const Plan& plan, RoutineMaker& maker) {
    if (!can_emit(key)) return no_generator(key);
    EmittedRoutine routine;
    routine.key = key;
    routine.plan = plan == Plan{} ? default_plan(key) : complete_plan(key, plan);
    static std::vector<uint8_t> room(kRoom);
    TRY(annotate(routine, room));
    constexpr int kTries = 5;
    size_t size = 0;
    for (int i = 0; i < kTries; ++i) {
        const auto began = std::chrono::steady_clock::now();
        Result<size_t> made = maker.make(key, routine.plan, room);
        const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - began;
        if (!made) return invalid("{}: {}", routine.name(), made.error().message());
        size = made.value();
        routine.microseconds = i == 0 ? took.count() : std::min(routine.microseconds, took.count());
    }
    routine.code.assign(room.begin(), room.begin() + static_cast<ptrdiff_t>(size));
    return routine;
}

}  // namespace bareflow
