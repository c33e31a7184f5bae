// Weights in GGML's types, for files that tests write: each block by its definition, with the plainest choice of scales.
// What is tested is how blocks are read; GGML's own quantisers lose less.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/tools/gguf_blocks.h"

namespace bareflow::gguf {

/// `values`, a multiple of what a block of `type` holds, as its blocks. Q8_0 and Q4_0 have the bits that GGML's have.
std::vector<uint8_t> encoded(TensorType type, std::span<const float> values);

}  // namespace bareflow::gguf
