// The vocabulary in a GGUF's metadata (ggml-org/ggml: docs/gguf.md "Tokenizer").
#pragma once

#include "model/tools/gguf_file.h"
#include "model/tools/model_source.h"

namespace bareflow::gguf {

/// Ids of the tokens with a meaning of their own.
struct SpecialTokens {
    uint32_t bos, eos, unknown;
};

/// How many pieces tokenizer.ggml.tokens has.
Result<uint32_t> piece_count(const File& file);
/// Those of the file, below `pieces`; without them SentencePiece's 1, 2 and 0.
Result<SpecialTokens> read_special_tokens(const File& file, uint32_t pieces);
/// The pieces of a SentencePiece vocabulary (tokenizer.ggml.model "llama"); any other model is refused.
Result<Vocabulary> read_vocabulary(const File& file, const SpecialTokens& special);

}  // namespace bareflow::gguf
