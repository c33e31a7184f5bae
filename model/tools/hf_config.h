// The JSON files beside a Hugging Face model that say what it is (transformers, LlamaConfig and GenerationConfig).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "arch/base/result.h"
#include "model/tools/json.h"
#include "model/weights.h"

namespace bareflow {

/// config.json.
struct HfConfig {
    ModelConfig model;        ///< bos_id, eos_id and unk_id are the caller's to fill in
    std::string torch_dtype;  ///< "bfloat16", or empty
    std::optional<uint32_t> bos_id, eos_id;
};
/// Reads config.json. What is left out has LlamaConfig's default, but for the shape, which must be there. Anything that
/// would compute other numbers than a Llama without biases is kUnsupported.
Result<HfConfig> parse_hf_config(const JsonValue& root);

/// generation_config.json.
struct HfGeneration {
    std::string
        sampling_defaults;  ///< `key=value` lines with BareFlow's names: temp, top-k, top-p, min-p, repeat-penalty
    std::optional<uint32_t> eos_id;
};
Result<HfGeneration> parse_hf_generation(const JsonValue& root);

/// A token that was added to a vocabulary.
struct AddedToken {
    uint32_t id;
    std::string text;
    bool special;  ///< a control token: not found in text, prints nothing
};

/// tokenizer_config.json.
struct HfTokenizerConfig {
    std::string chat_template;  ///< Jinja; of several, the one called default
    std::string bos_token, eos_token;
    std::optional<bool> add_bos;    ///< a text begins with BOS
    std::vector<AddedToken> added;  ///< by ascending id
};
Result<HfTokenizerConfig> parse_hf_tokenizer_config(const JsonValue& root);

/// added_tokens.json, which older folders have instead of added_tokens_decoder: all are taken for special.
Result<std::vector<AddedToken>> parse_added_tokens(const JsonValue& root);

}  // namespace bareflow
