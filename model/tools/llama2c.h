// Models in the formats of karpathy/llama2.c (export.py, run.c, runq.c): version 0, the legacy one, version 1, and
// version 2, quantised to Q8_0.
//
// All is little-endian. `Config` is seven int32: dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len.
//   v0: Config (vocab_size negative: the classifier is not the embedding), then f32: embedding, attention norms, wq,
//       wk, wv, wo, ffn norms, w1 (gate), w2 (down), w3 (up), final norm, two tables of seq_len * head_size / 2 that
//       once held RoPE's cosines and sines, and the classifier.
//   v1: "ak42" as a uint32, version, Config, a byte: the classifier is the embedding; zeros up to 256; then f32:
//       attention norms, ffn norms, final norm, embedding, wq, wk, wv, wo, w1, w2, w3, the classifier.
//   v2: as v1, with an int32 group size after that byte; after the norms, each tensor (each layer of it) as int8
//       values followed by an f32 scale for each group of consecutive values.
// Each kind's layers follow one another. RoPE's theta (10000), the norms' epsilon (1e-5) and the ids of unknown, BOS and
// EOS (0, 1, 2) are not in the files.
#pragma once

#include <memory>
#include <string>

#include "model/tools/model_source.h"

namespace bareflow {

/// Opens a llama2.c model and checks its header against its size; errors name the field and its offset.
Result<std::unique_ptr<ModelSource>> open_llama2c(const std::string& path);

}  // namespace bareflow
