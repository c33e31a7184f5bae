// Fuzzes the reader of SentencePiece's tokenizer.model. A vocabulary that is accepted becomes a tokenizer, and cuts text.
#include "model/tools/sentencepiece_model.h"
#include "tests/fuzz/model_input.h"
#include "tests/fuzz/vocabulary_use.h"

using namespace bareflow;

namespace {

fuzz::Counts counts("vocabularies");

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    ++counts.runs;
    const auto read = parse_sentencepiece_model({data, size}, "fuzz.model");
    if (!read.ok()) return 0;
    ++counts.accepted;
    fuzz::use_vocabulary(read.value().vocabulary);
    return 0;
}
