// What tells the stages of one build apart: each image links one of full.cpp, small.cpp and native.cpp, and the linker leaves
// out what that one does not lead to. Each defines this, boot_main() (arch/boot_main.h), and, where there is an emitter,
// image_makers() (emitter/routine_maker.h).
#pragma once

#include "arch/base/stage.h"

namespace bareflow {

Stage image_stage();

}  // namespace bareflow
