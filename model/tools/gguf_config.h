// What a GGUF's metadata say about a model of the "llama" architecture.
#pragma once

#include <string>

#include "model/tools/gguf_file.h"
#include "model/weights.h"

namespace bareflow::gguf {

/// Its shape and numbers; what BareFlow cannot compute is refused by the key that asks for it.
Result<ModelConfig> read_config(const File& file);
/// ModelSource::sampling_defaults() from general.sampling.*.
Result<std::string> read_sampling_defaults(const File& file);
/// `key=value` lines: where the model comes from and who made it.
Result<std::string> read_provenance(const File& file, std::string_view format);

}  // namespace bareflow::gguf
