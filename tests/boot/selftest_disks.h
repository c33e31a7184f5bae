// Self-tests of the disks (option test=disk:NAME); tests/boot/test_disks.py starts them and looks at the images.
#pragma once

#include <string_view>

#include "arch/base/result.h"
#include "arch/platform.h"

namespace bareflow {

Result<void> run_disk_selftest(std::string_view name, Platform& platform);

}  // namespace bareflow
