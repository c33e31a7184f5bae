// Fuzzes the readers of Hugging Face's JSON: config.json, generation_config.json, tokenizer_config.json, added_tokens.json,
// tokenizer.json and the index of shards, which of them the first byte says. What is accepted holds its promises.
#include "arch/base/options.h"
#include "model/tools/hf_config.h"
#include "model/tools/hf_tokenizer.h"
#include "model/tools/safetensors.h"
#include "model/wllm.h"
#include "tests/fuzz/json_mutator.h"
#include "tests/fuzz/model_input.h"
#include "tests/fuzz/vocabulary_use.h"

using namespace bareflow;

namespace {

fuzz::Counts counts("accepted");

void check(const HfConfig& config) {
    const ModelConfig& c = config.model;
    const bool sound = c.num_heads % c.num_kv_heads == 0 && c.head_size % 2 == 0 &&
                       c.num_layers <= wllm::kMaxLayers &&
                       uint64_t{c.num_heads} * c.head_size <= wllm::kMaxDimension && c.rope_theta > 0 &&
                       c.norm_eps > 0 && c.rope_scaling >= 0 && c.hidden_size > 0 && c.vocab_size > 0;
    if (!sound) fuzz::wrong("a configuration that cannot be was accepted");
}

/// Each line is an option that the programs take.
void check(const HfGeneration& generation) {
    Options options;
    if (!options.parse_config(generation.sampling_defaults).ok())
        fuzz::wrong("a sampling default that is no option");
}

/// Whether a document is one of its kind.
bool use(uint8_t kind, const JsonValue& root) {
    if (kind == 0) {
        const auto config = parse_hf_config(root);
        if (config.ok()) check(config.value());
        return config.ok();
    }
    if (kind == 1) {
        const auto generation = parse_hf_generation(root);
        if (generation.ok()) check(generation.value());
        return generation.ok();
    }
    if (kind == 2) return parse_hf_tokenizer_config(root).ok();
    if (kind == 3) {
        const auto added = parse_added_tokens(root);
        Vocabulary vocabulary;
        return added.ok() && add_tokens(vocabulary, added.value(), "added_tokens.json").ok();
    }
    const auto tokenizer = parse_hf_tokenizer(root);
    if (tokenizer.ok()) fuzz::use_vocabulary(tokenizer.value().vocabulary);
    return tokenizer.ok();
}

/// The byte pieces would take the fuzzer's whole input: this member stands for all 256, and their ids are 3 to 258.
std::string with_bytes(std::string text) {
    const std::string_view mark = "\"@bytes\":0";
    const size_t at = text.find(mark);
    if (at == text.npos) return text;
    std::string pieces;
    for (uint32_t byte = 0; byte < 256; ++byte) {
        constexpr std::string_view kDigits = "0123456789ABCDEF";
        pieces += FixedString<20>::formatted("{}\"<0x{:c}{:c}>\":{}", byte == 0 ? "" : ",",
                                             kDigits[byte / 16], kDigits[byte % 16], byte + 3)
                      .view();
    }
    return text.replace(at, mark.size(), pieces);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) return 0;
    ++counts.runs;
    constexpr uint8_t kIndex = 5, kKinds = 6;
    const auto kind = static_cast<uint8_t>(data[0] % kKinds);
    const std::string text = with_bytes({reinterpret_cast<const char*>(data) + 1, size - 1});
    if (kind == kIndex) {
        const fuzz::MemoryFile file(reinterpret_cast<const uint8_t*>(text.data()), text.size());
        if (Safetensors::open_index(file.path()).ok()) fuzz::wrong("an index found shards in /proc/self/fd");
        return 0;
    }
    const auto document = JsonDocument::parse(text, "fuzz.json");
    if (document.ok()) counts.accepted += use(kind, document.value().root());
    return 0;
}

/// Three of four times a value of the document is changed, else bytes.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
    if (size > 1 && seed % 4 != 0) {
        const std::string text =
            fuzz::JsonMutator(seed).mutate({reinterpret_cast<const char*>(data) + 1, size - 1});
        if (!text.empty() && text.size() < max_size) {
            text.copy(reinterpret_cast<char*>(data) + 1, text.size());
            return text.size() + 1;
        }
    }
    return LLVMFuzzerMutate(data, size, max_size);
}
