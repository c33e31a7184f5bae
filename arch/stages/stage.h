// What tells the stages of one build apart: each image links one of full.cpp, small.cpp and native.cpp, and the linker leaves
// out what that one does not lead to. Each defines this, boot_main() (arch/boot_main.h), and, where there is an emitter,
// image_makers() (emitter/routine_maker.h).
#pragma once

#include "arch/base/result.h"
#include "arch/base/stage.h"

namespace bareflow {

class BootDisk;
class FixedFile;
class SnapshotView;

Stage image_stage();

// What is left on the boot disk, by images that learn: a native one has no code for it.
/// BootDisk::snapshot_slot(), or nullptr.
FixedFile* image_snapshot_slot(BootDisk& disk, unsigned index);
/// BootDisk::turn_over(), or false.
Result<bool> image_turn_over(BootDisk& disk, Stage next, const SnapshotView& learned);

}  // namespace bareflow
