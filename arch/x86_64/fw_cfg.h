// QEMU's firmware configuration device (QEMU docs/specs/fw_cfg): named blobs from the command line that starts it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace bareflow {

bool fw_cfg_present();

struct FwCfgFile {
    uint32_t size;  ///< bytes
    uint16_t select;
};
/// The file `name`, if the device has it.
std::optional<FwCfgFile> fw_cfg_find(std::string_view name);

/// Reads the file's first bytes, as many as fit into `out`; returns how many. By DMA where the device has it: a gigabyte
/// takes part of a second.
size_t fw_cfg_read(const FwCfgFile& file, std::span<uint8_t> out);

}  // namespace bareflow
