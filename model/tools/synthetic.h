// Models of known shapes with weights from a seed: as large and as quick as the real ones, with nothing to say. For
// benchmarks and tests that cannot carry gigabytes about.
#pragma once

#include <memory>
#include <string_view>

#include "model/tools/model_source.h"

namespace bareflow {

/// A model whose weights are a function of (seed, tensor, place), so that any part of it can be made at any time and the
/// same seed gives the same bytes. Weights spread as 1 / sqrt(inputs), which keeps activations near 1 and logits as far
/// apart as a trained model's. `vocabulary` is made up, too: bytes, then short words.
std::unique_ptr<ModelSource> make_synthetic(std::string_view shape_name, const ModelConfig& config,
                                            uint64_t seed);

/// `count` different pieces: unknown, BOS, EOS, the bytes, then letters and short words, as far as there is room.
Vocabulary synthetic_vocabulary(uint32_t count);

}  // namespace bareflow
