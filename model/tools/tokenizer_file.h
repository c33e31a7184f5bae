// A tokenizer in a file of its own, in any format that there is.
#pragma once

#include <optional>
#include <string>

#include "model/tools/model_source.h"

namespace bareflow {

/// A vocabulary with the special ids that its own file says, if it does.
struct TokenizerFile {
    Vocabulary vocabulary;
    uint32_t unk_id = 0;
    std::optional<uint32_t> bos_id, eos_id;
};

/// Reads NAME.model (SentencePiece), NAME.json (Hugging Face's tokenizer.json), else llama2.c's tokenizer.bin.
Result<TokenizerFile> read_tokenizer_file(const std::string& path);

}  // namespace bareflow
