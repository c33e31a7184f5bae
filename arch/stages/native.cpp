// The image of machines that have nothing left to learn: the routines of its segment, and no emitter, tuner or profiler.
#include "arch/boot_main.h"
#include "arch/routine_native.h"
#include "arch/stages/stage.h"

namespace bareflow {

Stage image_stage() { return Stage::kNative; }

FixedFile* image_snapshot_slot(BootDisk&, unsigned) { return nullptr; }
Result<bool> image_turn_over(BootDisk&, Stage, const SnapshotView&) { return false; }

Result<void> boot_main(Platform& platform, const Options& options, std::span<const ModelImage> candidates) {
    NativeService routines;
    return boot_with(routines, platform, options, candidates);
}

}  // namespace bareflow
