// bareflow-native: from a machine's snapshot and its model to an image that needs no emitter, as functions.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "arch/base/bytes.h"
#include "persist/native_segment.h"
#include "persist/tools/snapshot_file.h"

namespace bareflow {

/// What a model is known by.
struct ModelIdentity {
    uint64_t bytes = 0;
    uint32_t crc32c = 0;  ///< its header's
};

/// The native kernel `elf` with the snapshot's routines in it. Error, naming what to do: the snapshot is not for that model
/// or of that build (an empty `build` asks for none), one of its routines is not what this build's emitter makes, or they
/// do not fit.
Result<std::vector<uint8_t>> native_kernel(ByteSpan elf, const SnapshotFile& snapshot,
                                           const ModelIdentity& model, ByteSpan build,
                                           NativeFilling& filling);

/// The whole program. `program` is its own path, beside which it finds kernel and iso/make-iso.sh; `build` its build id.
/// The exit status: 0; 1 if the image cannot be made; 2 for a wrong command line.
int run_native(int argc, const char* const* argv, const std::string& program, ByteSpan build,
               std::ostream& out, std::ostream& errors);

}  // namespace bareflow
