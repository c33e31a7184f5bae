#include "model/tools/hf_folder.h"

#include <filesystem>

#include "model/tools/hf_config.h"
#include "model/tools/hf_tokenizer.h"
#include "model/tools/hf_weights.h"
#include "model/tools/tokenizer_file.h"

namespace bareflow {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMostConfigBytes = uint64_t{1} << 20;
constexpr uint64_t kMostTokenizerConfigBytes = uint64_t{8} << 20;  // there may be thousands of added tokens
constexpr std::string_view kConfig = "config.json", kGeneration = "generation_config.json",
                           kTokenizerConfig = "tokenizer_config.json", kAddedTokens = "added_tokens.json",
                           kTokenizerModel = "tokenizer.model", kTokenizerJson = "tokenizer.json",
                           kTemplateFile = "chat_template.jinja";
/// LlamaConfig's, where neither a configuration nor the vocabulary says them.
constexpr uint32_t kDefaultBos = 1, kDefaultEos = 2;

bool is_there(const std::string& folder, std::string_view name) {
    std::error_code ignored;
    return fs::exists(fs::path(folder) / name, ignored);
}
std::string in(const std::string& folder, std::string_view name) {
    return (fs::path(folder) / name).string();
}

class HfModel final : public ModelSource {
 public:
    HfModel(std::string folder, HfWeights weights)
        : folder_(std::move(folder)), weights_(std::move(weights)) {}

    Result<void> read_configuration(bool own_tokenizer);

    std::string_view format() const override { return format_; }
    const ModelConfig& config() const override { return config_; }
    Result<void> read_rows(TensorName tensor, uint32_t first_row, uint32_t row_count,
                           std::span<float> out) const override {
        return weights_.read_rows(tensor, first_row, row_count, out);
    }
    const Vocabulary* vocabulary() const override {
        return tokenizer_file_.empty() ? nullptr : &tokenizer_.vocabulary;
    }
    std::string_view chat_template() const override { return chat_template_; }
    std::string_view sampling_defaults() const override { return sampling_defaults_; }
    Result<std::string> provenance() const override;

 private:
    Result<void> read_vocabulary(HfTokenizerConfig& config);
    Result<void> set_tokens(const HfConfig& config, const HfGeneration& generation,
                            const HfTokenizerConfig& tokenizer);

    std::string folder_;
    HfWeights weights_;
    ModelConfig config_;
    std::string tokenizer_file_;  ///< the name; empty: none of the folder's is used
    TokenizerFile tokenizer_;
    std::string format_, chat_template_, sampling_defaults_, torch_dtype_;
};

Result<void> HfModel::read_vocabulary(HfTokenizerConfig& config) {
    const bool sentencepiece = is_there(folder_, kTokenizerModel);
    if (!sentencepiece && !is_there(folder_, kTokenizerJson)) {
        return Error::make(
            ErrorCode::kNotFound,
            "{}: holds no tokenizer.model and no tokenizer.json; put one there, or name it with -z",
            std::string_view(base_name(folder_)));
    }
    tokenizer_file_ = sentencepiece ? kTokenizerModel : kTokenizerJson;
    tokenizer_ = TRY(read_tokenizer_file(in(folder_, tokenizer_file_)));
    if (sentencepiece) {  // a tokenizer.json has its added tokens in itself
        std::string_view file = kTokenizerConfig;
        if (config.added.empty() && is_there(folder_, kAddedTokens)) {
            file = kAddedTokens;
            const JsonDocument added = TRY(JsonDocument::read(in(folder_, file), kMostTokenizerConfigBytes));
            config.added = TRY(parse_added_tokens(added.root()));
        }
        // Tokens without an embedding (a padding token that was never trained, mostly) cannot come to the model.
        std::erase_if(config.added, [&](const AddedToken& token) { return token.id >= config_.vocab_size; });
        TRY(add_tokens(tokenizer_.vocabulary, config.added, std::string(file)));
    }
    const size_t pieces = tokenizer_.vocabulary.pieces.size();
    if (pieces <= config_.vocab_size) return {};
    return invalid("{}: has {} pieces, but config.json's vocab_size is {}; is it of another model?",
                   std::string_view(tokenizer_file_), pieces, config_.vocab_size);
}

/// The special tokens, by the word of whoever is nearest to writing: generation_config.json (its EOS only, as transformers
/// has it), config.json, tokenizer_config.json, the tokenizer itself.
Result<void> HfModel::set_tokens(const HfConfig& config, const HfGeneration& generation,
                                 const HfTokenizerConfig& tokenizer) {
    const auto named = [&](const std::string& text, std::optional<uint32_t> otherwise, uint32_t last_resort) {
        const uint32_t by_model = otherwise.value_or(last_resort);
        return text.empty() || tokenizer_file_.empty() ? by_model
                                                       : id_of(tokenizer_.vocabulary, text, by_model);
    };
    config_.bos_id = config.bos_id.value_or(named(tokenizer.bos_token, tokenizer_.bos_id, kDefaultBos));
    config_.eos_id = generation.eos_id
                         ? *generation.eos_id
                         : config.eos_id.value_or(named(tokenizer.eos_token, tokenizer_.eos_id, kDefaultEos));
    config_.unk_id = tokenizer_.unk_id;
    const bool has_bos = config.bos_id || tokenizer_.bos_id || !tokenizer.bos_token.empty();
    tokenizer_.vocabulary.add_bos = tokenizer.add_bos.value_or(has_bos);
    for (uint32_t id : {config_.bos_id, config_.eos_id, config_.unk_id}) {
        if (id >= config_.vocab_size)
            return invalid("config.json: token {} is no token; vocab_size is {}", id, config_.vocab_size);
    }
    return {};
}

Result<void> HfModel::read_configuration(bool own_tokenizer) {
    const JsonDocument document = TRY(JsonDocument::read(in(folder_, kConfig), kMostConfigBytes));
    const HfConfig config = TRY(parse_hf_config(document.root()));
    config_ = config.model;
    torch_dtype_ = config.torch_dtype;
    HfGeneration generation;
    if (is_there(folder_, kGeneration)) {
        const JsonDocument file = TRY(JsonDocument::read(in(folder_, kGeneration), kMostConfigBytes));
        generation = TRY(parse_hf_generation(file.root()));
    }
    sampling_defaults_ = generation.sampling_defaults;
    HfTokenizerConfig tokenizer;
    if (is_there(folder_, kTokenizerConfig)) {
        const JsonDocument file =
            TRY(JsonDocument::read(in(folder_, kTokenizerConfig), kMostTokenizerConfigBytes));
        tokenizer = TRY(parse_hf_tokenizer_config(file.root()));
    }
    chat_template_ = tokenizer.chat_template;
    if (is_there(folder_, kTemplateFile))
        chat_template_ = TRY(read_text(in(folder_, kTemplateFile), kMostConfigBytes));
    if (own_tokenizer) TRY(read_vocabulary(tokenizer));
    TRY(weights_.check(config_));
    format_ = "Hugging Face safetensors (" + weights_.type() + ")";
    return set_tokens(config, generation, tokenizer);
}

std::string hexadecimal(uint32_t value) {
    return std::string(FixedString<8>::formatted("{:08x}", value).view());
}

Result<std::string> HfModel::provenance() const {
    uint64_t bytes = 0;
    std::string lines = "source=" + printable(base_name(folder_)) + "\nsource_format=" + format_ + "\n";
    for (const InputFile& file : weights_.files().files()) {
        lines += "source_file=" + printable(file.name()) + " " + hexadecimal(TRY(file.checksum())) + "\n";
        bytes += file.size();
    }
    lines += "source_bytes=" + std::to_string(bytes) + "\n";
    if (!torch_dtype_.empty()) lines += "torch_dtype=" + printable(torch_dtype_.substr(0, 40)) + "\n";
    if (tokenizer_file_.empty()) return lines;
    const InputFile tokenizer = TRY(InputFile::open(in(folder_, tokenizer_file_)));
    return lines + "tokenizer=" + tokenizer_file_ +
           "\ntokenizer_crc32c=" + hexadecimal(TRY(tokenizer.checksum())) + "\n";
}

}  // namespace

Result<std::unique_ptr<ModelSource>> open_hf_folder(const std::string& path, bool own_tokenizer) {
    if (!is_there(path, kConfig)) {
        return Error::make(ErrorCode::kNotFound, "{}: holds no config.json: it is no Hugging Face model",
                           std::string_view(base_name(path)));
    }
    auto model = std::make_unique<HfModel>(path, TRY(HfWeights::open(path)));
    TRY(model->read_configuration(own_tokenizer));
    return std::unique_ptr<ModelSource>(std::move(model));
}

}  // namespace bareflow
