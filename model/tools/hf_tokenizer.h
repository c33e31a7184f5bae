// Hugging Face's tokenizer.json (tokenizers, "fast"), as it is written for Llama's SentencePiece vocabularies: BPE with byte
// fallback, where a piece's score follows from the rank of its merges.
#pragma once

#include "arch/base/result.h"
#include "model/tools/hf_config.h"
#include "model/tools/json.h"
#include "model/tools/model_source.h"

namespace bareflow {

struct HfTokenizer {
    Vocabulary vocabulary;
    uint32_t unk_id = 0;
};

/// Reads a tokenizer.json. Our tokenizer merges whatever two neighbours make a piece, the best score first; so the merges
/// must list every pair of pieces that make a third, as they do when they were written from a SentencePiece model. A list
/// that leaves some out would cut text otherwise and is kUnsupported, as are other normalisers, pre-tokenisers and decoders
/// than Llama's.
Result<HfTokenizer> parse_hf_tokenizer(const JsonValue& root);

/// Puts `added` (by ascending id) behind the vocabulary's pieces. One whose id is taken must be that piece.
Result<void> add_tokens(Vocabulary& vocabulary, const std::vector<AddedToken>& added,
                        const std::string& name);

/// The id of the piece that is `text`; `otherwise` if there is none.
uint32_t id_of(const Vocabulary& vocabulary, std::string_view text, uint32_t otherwise);

}  // namespace bareflow
