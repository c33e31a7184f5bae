// What bareflow-native writes: one file, whatever its kind.
#pragma once

#include <filesystem>
#include <string>

#include "arch/base/bytes.h"
#include "arch/base/result.h"

namespace bareflow {

struct NativeOutput {
    std::string path;            ///< .iso, .img or .elf
    std::string config;          ///< a bareflow.cfg for .iso and .img; empty: none
    bool with_model = true;      ///< in an .elf
    std::filesystem::path root;  ///< of the tree, for iso/make-iso.sh and iso/make-disk.sh
};

/// The image of a filled native kernel and its model.
Result<void> write_native_image(const NativeOutput& output, ByteSpan kernel, ByteSpan model);

}  // namespace bareflow
