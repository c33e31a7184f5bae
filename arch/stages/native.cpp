// The image of machines that have nothing left to learn: the routines of its segment, and no emitter, tuner or profiler.
#include "arch/boot_main.h"
#include "arch/routine_native.h"
#include "arch/stages/stage.h"

namespace bareflow {

Stage image_stage() { return Stage::kNative; }

Result<void> boot_main(Platform& platform, const Options& options, std::span<const ModelImage> candidates) {
    NativeService routines;
    return boot_with(routines, platform, options, candidates);
}

}  // namespace bareflow
