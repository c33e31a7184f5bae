// What bareflow-bench does for another program that compares itself with us (peers.mjs).
#pragma once

#include <string>

#include "tests/bench/huge_image.h"

namespace bareflow::bench {

/// Writes the synthetic model as a GGUF.
void write_gguf(const ModelChoice& choice, const std::string& path);

/// Takes turns: reads lines from standard input and answers each with a line of JSON on standard output, until they end.
///   "generate CORES": {"ns": of one token, the mean of RunningModel::kSpan}
///   "prompt CORES TOKENS": {"ns": of one token}
///   "continue TOKEN TOKEN …": {"tokens": RunningModel::kFirst of them, the most likely ones}
///   "placement": {"placement": "…"}
void take_turns(const ModelChoice& choice);

}  // namespace bareflow::bench
