// SentencePiece's tokenizer.model: a Protocol Buffers message, ModelProto of sentencepiece_model.proto (proto2). Read by a
// small bounded reader of our own: the fields that matter here are few, and a damaged file is told by offset.
#pragma once

#include <string>

#include "arch/base/bytes.h"
#include "arch/base/result.h"
#include "model/tools/model_source.h"

namespace bareflow {

struct SentencePieceModel {
    Vocabulary vocabulary;
    uint32_t unk_id = 0;  ///< the piece of type unknown
    int64_t bos_id = 1;   ///< as the trainer had them; -1: none
    int64_t eos_id = 2;
};

/// Reads a whole tokenizer.model. Only what our tokenizer does is accepted: BPE, the identity normaliser, extra white
/// space kept, white space escaped as U+2581 in front of words. Else kUnsupported.
Result<SentencePieceModel> parse_sentencepiece_model(ByteSpan bytes, const std::string& name);
Result<SentencePieceModel> read_sentencepiece_model(const std::string& path);

}  // namespace bareflow
