// A model file as a .wllm image in memory, whatever its format.
#pragma once

#include <string>

#include "arch/base/result.h"
#include "model/tools/files.h"
#include "model/tools/model_cache.h"

namespace bareflow {

/// Maps a .wllm read-only; any other file or folder is imported first, into `cache` if that keeps it, else into memory. `tokenizer` as
/// ImportRequest has it; a .wllm carries its own, so one given beside it is an error. `show_progress`: says on standard error
/// that it imports, and how far it is.
Result<MappedFile> open_model(const std::string& path, const std::string& tokenizer, bool show_progress,
                              const ModelCache& cache = ModelCache::of_user());

}  // namespace bareflow
