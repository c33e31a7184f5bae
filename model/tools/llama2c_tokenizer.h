// llama2.c's tokenizer.bin (its tokenizer.py): a uint32 that is the longest piece's length, then for each piece an f32
// score, an int32 length and that many bytes. BOS and EOS stand there with newlines around them, bytes as <0xNN>, and
// a space where SentencePiece has U+2581. How many pieces there are is not said: they end with the file.
#pragma once

#include <string>

#include "model/tools/files.h"
#include "model/tools/model_source.h"

namespace bareflow {

/// Reads a tokenizer.bin whole. Types are inferred: 0 is unknown, 1 and 2 (BOS, EOS) are control, <0xNN> is a byte.
Result<Vocabulary> read_llama2c_tokenizer(const InputFile& file);

/// The path of the tokenizer for a llama2.c model at `model` with `vocab_size` tokens: NAME.tokenizer.bin beside
/// NAME.bin, else the one tokenizer in its folder with as many pieces. None, and more than one, are errors.
Result<std::string> find_llama2c_tokenizer(const std::string& model, uint32_t vocab_size);

}  // namespace bareflow
