// A packed kernel (arch/x86_64/packed) and its model as one ELF file.
#pragma once

#include <vector>

#include "arch/base/bytes.h"
#include "arch/base/result.h"

namespace bareflow {

/// The most that a model may have: below 2 GiB, as much as a Multiboot2 loader is sure to find room for in one piece.
constexpr uint64_t kMostPackedModelBytes = uint64_t{1900} << 20;

/// `elf` with `model` as one more program segment, which the loader puts behind the kernel. Error: `elf` is no packed kernel, has
/// a model already, or the model is too large.
Result<std::vector<uint8_t>> with_model(ByteSpan elf, ByteSpan model);

}  // namespace bareflow
