// The image of machines that make little that is new: the tiny assembler and the tuner, but no asmjit.
#include "arch/boot_disk.h"
#include "arch/boot_main.h"
#include "arch/routine_learning.h"
#include "arch/stages/stage.h"
#include "emitter/routine_maker.h"

namespace bareflow {

Stage image_stage() { return Stage::kSmall; }

std::span<RoutineMaker* const> image_makers() {
    static RoutineMaker* const makers[] = {&tiny_maker()};
    return makers;
}

FixedFile* image_snapshot_slot(BootDisk& disk, unsigned index) { return disk.snapshot_slot(index); }
Result<bool> image_turn_over(BootDisk& disk, Stage next, const SnapshotView& learned) {
    return disk.turn_over(next, learned);
}

Result<void> boot_main(Platform& platform, const Options& options, std::span<const ModelImage> candidates) {
    LearningRoutines routines;
    return boot_with(routines, platform, options, candidates);
}

}  // namespace bareflow
