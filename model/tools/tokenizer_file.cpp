#include "model/tools/tokenizer_file.h"

#include "model/tools/hf_tokenizer.h"
#include "model/tools/llama2c_tokenizer.h"
#include "model/tools/sentencepiece_model.h"

namespace bareflow {
namespace {

constexpr uint64_t kMostJsonBytes = uint64_t{32} << 20;  // Llama 2's has 1.8 MB

std::optional<uint32_t> token_of(int64_t id) {
    if (id < 0) return {};
    return static_cast<uint32_t>(id);
}

}  // namespace

Result<TokenizerFile> read_tokenizer_file(const std::string& path) {
    if (path.ends_with(".model")) {
        SentencePieceModel model = TRY(read_sentencepiece_model(path));
        return TokenizerFile{std::move(model.vocabulary), model.unk_id, token_of(model.bos_id),
                             token_of(model.eos_id)};
    }
    if (path.ends_with(".json")) {
        const JsonDocument document = TRY(JsonDocument::read(path, kMostJsonBytes));
        HfTokenizer tokenizer = TRY(parse_hf_tokenizer(document.root()));
        return TokenizerFile{std::move(tokenizer.vocabulary), tokenizer.unk_id, {}, {}};
    }
    const InputFile file = TRY(InputFile::open(path));
    return TokenizerFile{TRY(read_llama2c_tokenizer(file)), 0, {}, {}};
}

}  // namespace bareflow
