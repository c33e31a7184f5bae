// QEMU's firmware configuration device (QEMU docs/specs/fw_cfg): named blobs from the command line that starts it.
#pragma once

#include <span>
#include <string_view>

namespace bareflow {

bool fw_cfg_present();

/// Reads the file `name` into `out`; returns its size, which is more than was read if it did not fit; 0 if there is
/// no such file.
size_t fw_cfg_read(std::string_view name, std::span<char> out);

}  // namespace bareflow
