#include "model/tools/hf_config.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "arch/base/text.h"
#include "model/wllm.h"

namespace bareflow {
namespace {

constexpr std::string_view kModelType = "llama", kArchitecture = "LlamaForCausalLM";
// LlamaConfig's defaults.
constexpr uint32_t kDefaultPositions = 2048;
constexpr double kDefaultTheta = 10000.0, kDefaultEps = 1e-6;

Result<uint32_t> count_at(const JsonValue& object, std::string_view key, uint64_t highest,
                          uint64_t lowest = 1) {
    const JsonValue value = TRY(object.at(key));
    return static_cast<uint32_t>(TRY(value.count(lowest, highest)));
}
Result<uint32_t> count_or(const JsonValue& object, std::string_view key, uint64_t highest,
                          uint32_t otherwise) {
    return object.find(key) ? count_at(object, key, highest) : Result<uint32_t>(otherwise);
}
Result<float> positive_or(const JsonValue& object, std::string_view key, double otherwise) {
    const std::optional<JsonValue> value = object.find(key);
    if (!value) return static_cast<float>(otherwise);
    return static_cast<float>(
        TRY(value->number(std::numeric_limits<float>::min(), std::numeric_limits<float>::max())));
}
/// Error unless the flag is left out or false.
Result<void> want_false(const JsonValue& object, std::string_view key) {
    const std::optional<JsonValue> value = object.find(key);
    if (value && TRY(value->boolean()))
        return value->unsupported("must be false; a Llama with biases cannot be run");
    return {};
}
Result<void> want_text(const JsonValue& object, std::string_view key, std::string_view wanted) {
    const std::optional<JsonValue> value = object.find(key);
    if (!value) return {};
    const std::string_view text = TRY(value->text());
    if (text == wanted) return {};
    return Error::make(ErrorCode::kUnsupported, "{} is \"{}\"; only \"{}\" can be run",
                       std::string_view(value->where()), text.substr(0, 60), wanted);
}

Result<void> check_kind(const JsonValue& root) {
    const JsonValue model_type = TRY(root.at("model_type"));
    TRY(model_type.text());
    TRY(want_text(root, "model_type", kModelType));
    TRY(want_text(root, "hidden_act", "silu"));
    TRY(want_false(root, "attention_bias"));
    TRY(want_false(root, "mlp_bias"));
    if (const auto quantisation = root.find("quantization_config"))
        return quantisation->unsupported(
            "a quantised checkpoint cannot be read; take the one in F32, F16 or BF16");
    const auto architectures = root.find("architectures");
    if (!architectures) return {};
    bool found = false;
    const auto visit = [&](std::string_view, const JsonValue& value) -> Result<void> {
        found |= TRY(value.text()) == kArchitecture;
        return {};
    };
    TRY(architectures->for_each(visit));
    if (!found) return architectures->unsupported("has no LlamaForCausalLM; only that can be run");
    return {};
}

/// `rope_scaling` of transformers 4 or `rope_parameters` of 5: none, or linear with a factor.
Result<void> read_rope(const JsonValue& object, ModelConfig& config) {
    const auto newer = object.find("rope_type"), older = object.find("type");
    config.rope_theta = TRY(positive_or(object, "rope_theta", static_cast<double>(config.rope_theta)));
    const std::optional<JsonValue>& type = newer ? newer : older;
    const std::string_view kind = type ? TRY(type->text()) : "default";
    if (kind == "default") return {};
    if (kind != "linear") {
        return Error::make(ErrorCode::kUnsupported, "{} is \"{}\"; only \"linear\" can be run",
                           std::string_view(type->where()), kind.substr(0, 60));
    }
    const JsonValue factor = TRY(object.at("factor"));
    config.rope_scaling = static_cast<float>(TRY(factor.number(1, 1e6)));
    return {};
}

Result<void> read_ropes(const JsonValue& root, ModelConfig& config) {
    config.rope_theta = TRY(positive_or(root, "rope_theta", kDefaultTheta));
    for (std::string_view key : {"rope_scaling", "rope_parameters"}) {
        const std::optional<JsonValue> value = root.find(key);
        if (value && !value->is_object()) return value->wrong("must be an object");
        if (value) TRY(read_rope(*value, config));
    }
    const std::optional<JsonValue> part = root.find("partial_rotary_factor");
    if (part && TRY(part->number(0, 1)) != 1) return part->unsupported("must be 1; all of a head is rotated");
    return {};
}

/// A token's id, or a list of them, of which the first counts.
Result<std::optional<uint32_t>> token_id(const JsonValue& object, std::string_view key) {
    std::optional<uint32_t> first;
    const std::optional<JsonValue> value = object.find(key);
    if (!value) return first;
    const auto visit = [&](std::string_view, const JsonValue& id) -> Result<void> {
        const uint64_t number = TRY(id.count(0, wllm::kMaxDimension - 1));
        if (!first) first = static_cast<uint32_t>(number);
        return {};
    };
    TRY(value->is_array() ? value->for_each(visit) : visit({}, *value));
    return first;
}

/// "temp=0.6\n" for a number that is there.
Result<std::string> sampling_line(const JsonValue& root, std::string_view key, std::string_view name,
                                  double lowest, double highest) {
    const std::optional<JsonValue> value = root.find(key);
    if (!value) return std::string();
    const double number = TRY(value->number(lowest, highest));
    char digits[32];
    const auto end =
        std::to_chars(std::begin(digits), std::end(digits), number, std::chars_format::fixed, 6).ptr;
    std::string text(digits, end);
    text.erase(text.find_last_not_of('0') + 1);
    if (text.ends_with('.')) text.pop_back();
    return std::string(name) + "=" + text + "\n";
}

/// A special token: its text, or an object that has it as content.
Result<std::string> special_token(const JsonValue& root, std::string_view key) {
    const std::optional<JsonValue> value = root.find(key);
    if (!value) return std::string();
    if (!value->is_object()) return std::string(TRY(value->text()));
    const JsonValue content = TRY(value->at("content"));
    return std::string(TRY(content.text()));
}

/// A text, or a list of {name, template}.
Result<std::string> chat_template_of(const JsonValue& root) {
    const std::optional<JsonValue> value = root.find("chat_template");
    if (!value) return std::string();
    if (value->is_text()) return std::string(TRY(value->text()));
    std::string found;
    const auto visit = [&](std::string_view, const JsonValue& named) -> Result<void> {
        const JsonValue name = TRY(named.at("name")), text = TRY(named.at("template"));
        if (TRY(name.text()) == "default") found = TRY(text.text());
        return {};
    };
    TRY(value->for_each(visit));
    return found;
}

void sort_by_id(std::vector<AddedToken>& tokens) {
    std::sort(tokens.begin(), tokens.end(),
              [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
}

}  // namespace

Result<HfConfig> parse_hf_config(const JsonValue& root) {
    TRY(check_kind(root));
    HfConfig result;
    ModelConfig& c = result.model;
    c.hidden_size = TRY(count_at(root, "hidden_size", wllm::kMaxDimension));
    c.intermediate_size = TRY(count_at(root, "intermediate_size", wllm::kMaxDimension));
    c.num_layers = TRY(count_at(root, "num_hidden_layers", wllm::kMaxLayers));
    c.num_heads = TRY(count_at(root, "num_attention_heads", wllm::kMaxDimension));
    c.num_kv_heads = TRY(count_or(root, "num_key_value_heads", c.num_heads, c.num_heads));
    c.vocab_size = TRY(count_at(root, "vocab_size", wllm::kMaxDimension));
    c.context_length = TRY(count_or(root, "max_position_embeddings", wllm::kMaxDimension, kDefaultPositions));
    c.norm_eps = TRY(positive_or(root, "rms_norm_eps", kDefaultEps));
    if (c.num_heads % c.num_kv_heads != 0) {
        return invalid("config.json: num_attention_heads, {}, is no multiple of num_key_value_heads, {}",
                       c.num_heads, c.num_kv_heads);
    }
    if (!root.find("head_dim") && c.hidden_size % c.num_heads != 0) {
        return invalid("config.json: hidden_size, {}, is no multiple of num_attention_heads, {}",
                       c.hidden_size, c.num_heads);
    }
    c.head_size = TRY(count_or(root, "head_dim", wllm::kMaxDimension, c.hidden_size / c.num_heads));
    if (c.head_size % 2 != 0)
        return invalid("config.json: the heads' size, {}, is odd; RoPE rotates pairs", c.head_size);
    if (uint64_t{c.head_size} * c.num_heads > wllm::kMaxDimension) {
        return invalid("config.json: {} heads of {} are more than {} numbers", c.num_heads, c.head_size,
                       wllm::kMaxDimension);
    }
    TRY(read_ropes(root, c));
    if (const auto tied = root.find("tie_word_embeddings")) c.tied_embedding = TRY(tied->boolean());
    for (std::string_view key : {"torch_dtype", "dtype"}) {
        const std::optional<JsonValue> dtype = root.find(key);
        if (dtype) result.torch_dtype = TRY(dtype->text());
    }
    result.bos_id = TRY(token_id(root, "bos_token_id"));
    result.eos_id = TRY(token_id(root, "eos_token_id"));
    return result;
}

Result<HfGeneration> parse_hf_generation(const JsonValue& root) {
    // The limits of the options (arch/base/options.cpp).
    constexpr double kMostTemperature = 100, kMostTopK = 1e9, kLeastPenalty = 0.01, kMostPenalty = 100;
    HfGeneration result;
    std::string& text = result.sampling_defaults;
    const std::optional<JsonValue> sample = root.find("do_sample");
    if (sample && !TRY(sample->boolean())) {
        text = "temp=0\n";
    } else {
        text = TRY(sampling_line(root, "temperature", "temp", 0, kMostTemperature));
        if (const auto top_k = root.find("top_k")) TRY(top_k->count(0, static_cast<uint64_t>(kMostTopK)));
        text += TRY(sampling_line(root, "top_k", "top-k", 0, kMostTopK));
        text += TRY(sampling_line(root, "top_p", "top-p", 0, 1));
        text += TRY(sampling_line(root, "min_p", "min-p", 0, 1));
    }
    text += TRY(sampling_line(root, "repetition_penalty", "repeat-penalty", kLeastPenalty, kMostPenalty));
    result.eos_id = TRY(token_id(root, "eos_token_id"));
    return result;
}

Result<HfTokenizerConfig> parse_hf_tokenizer_config(const JsonValue& root) {
    HfTokenizerConfig result;
    result.chat_template = TRY(chat_template_of(root));
    result.bos_token = TRY(special_token(root, "bos_token"));
    result.eos_token = TRY(special_token(root, "eos_token"));
    if (const auto add_bos = root.find("add_bos_token")) result.add_bos = TRY(add_bos->boolean());
    const std::optional<JsonValue> added = root.find("added_tokens_decoder");
    if (!added) return result;
    const auto visit = [&](std::string_view key, const JsonValue& value) -> Result<void> {
        const std::optional<uint64_t> id = parse_unsigned(key);
        if (!id || *id >= wllm::kMaxDimension) return value.wrong("its key must be a token's id");
        const JsonValue content = TRY(value.at("content"));
        const std::optional<JsonValue> special = value.find("special");
        const bool is_special = special && TRY(special->boolean());
        result.added.push_back({static_cast<uint32_t>(*id), std::string(TRY(content.text())), is_special});
        return {};
    };
    TRY(added->for_each(visit));
    sort_by_id(result.added);
    return result;
}

Result<std::vector<AddedToken>> parse_added_tokens(const JsonValue& root) {
    std::vector<AddedToken> added;
    const auto visit = [&](std::string_view key, const JsonValue& value) -> Result<void> {
        const auto id = static_cast<uint32_t>(TRY(value.count(0, wllm::kMaxDimension - 1)));
        added.push_back({id, std::string(key), true});
        return {};
    };
    TRY(root.for_each(visit));
    sort_by_id(added);
    return added;
}

}  // namespace bareflow
