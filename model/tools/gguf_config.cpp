#include "model/tools/gguf_config.h"

#include <array>
#include <cmath>

#include "model/tools/gguf_tokenizer.h"

namespace bareflow::gguf {
namespace {

constexpr uint64_t kShortText = 256;  ///< bytes of a name that means something

Error unsupported(const File& file, const std::string& key, std::string_view why) {
    const Value* value = file.find(key);
    return Error::make(ErrorCode::kUnsupported, "{}: {} (offset {}): {}", file.name(), std::string_view(key),
                       value == nullptr ? 0 : value->offset, why);
}

Result<void> check_kind(const File& file) {
    const std::string architecture = TRY(file.text("general.architecture", kShortText));
    if (architecture != "llama") {
        const std::string shown =
            "it is " + printable(architecture).substr(0, 40) + "; only llama can be run";
        return unsupported(file, "general.architecture", shown);
    }
    constexpr uint64_t kAny = UINT32_MAX;
    if (TRY(file.whole("split.count", {0, kAny}, 1)) > 1) {
        return unsupported(file, "split.count",
                           "the model is split into several files; merge them with llama-gguf-split --merge");
    }
    if (TRY(file.whole("llama.expert_count", {0, kAny}, 0)) > 0)
        return unsupported(file, "llama.expert_count", "a mixture of experts cannot be run");
    // With F16 scales since then; version 1 would be read as noise.
    constexpr uint64_t kQuantisation = 2;
    const std::string quantisation = "general.quantization_version";
    if (TRY(file.whole(quantisation, {0, kAny}, kQuantisation)) != kQuantisation)
        return unsupported(file, quantisation, "only 2 can be read; quantise the model anew");
    return {};
}

/// Linear scaling's factor; 0 for none. The older key stands for it in files of 2023.
Result<float> read_rope_scaling(const File& file) {
    const std::string type_key = "llama.rope.scaling.type", factor_key = "llama.rope.scaling.factor",
                      legacy_key = "llama.rope.scale_linear";
    const std::string type = TRY(file.text(type_key, kShortText, "linear"));
    if (type == "none") return 0.0f;
    if (type != "linear") {
        const std::string shown =
            "scaling \"" + printable(type).substr(0, 40) + "\" cannot be computed, only linear can";
        return unsupported(file, type_key, shown);
    }
    const std::string& key = file.find(factor_key) != nullptr ? factor_key : legacy_key;
    const auto factor = static_cast<float>(TRY(file.number(key, 0.0)));
    if (factor < 0 || !std::isfinite(factor))
        return invalid("{}: {} (offset {}) is no positive factor", file.name(), std::string_view(key),
                       file.find(key)->offset);
    return factor == 1 ? 0.0f : float{factor};
}

Result<float> read_positive(const File& file, const std::string& key, std::optional<double> fallback = {}) {
    const auto value = static_cast<float>(TRY(file.number(key, fallback)));
    if (!(value > 0) || !std::isfinite(value)) {
        return invalid("{}: {} (offset {}) is no positive f32", file.name(), std::string_view(key),
                       file.find(key)->offset);
    }
    return float{value};
}

/// From head counts and what may be said beside them; heads need not fill the hidden size.
Result<void> read_heads(const File& file, ModelConfig& config) {
    const std::string count_key = "llama.attention.head_count", kv_key = "llama.attention.head_count_kv";
    config.num_heads = static_cast<uint32_t>(TRY(file.whole(count_key, {1, wllm::kMaxDimension})));
    config.num_kv_heads =
        static_cast<uint32_t>(TRY(file.whole(kv_key, {1, config.num_heads}, uint64_t{config.num_heads})));
    if (config.num_heads % config.num_kv_heads != 0) {
        return invalid("{}: {} (offset {}), {}, does not divide {}, {}", file.name(),
                       std::string_view(kv_key), file.find(kv_key)->offset, config.num_kv_heads,
                       std::string_view(count_key), config.num_heads);
    }
    const File::Range sizes{1, wllm::kMaxDimension};
    const std::string length_key = "llama.attention.key_length";
    if (file.find(length_key) == nullptr && config.hidden_size % config.num_heads != 0) {
        return invalid("{}: llama.embedding_length, {}, is no multiple of {} (offset {}), {}", file.name(),
                       config.hidden_size, std::string_view(count_key), file.find(count_key)->offset,
                       config.num_heads);
    }
    const uint64_t size = TRY(file.whole(length_key, sizes, uint64_t{config.hidden_size} / config.num_heads));
    for (const std::string key : {"llama.attention.value_length", "llama.rope.dimension_count"}) {
        if (TRY(file.whole(key, sizes, size)) != size)
            return unsupported(file, key, "it is not the size of a head, and that cannot be computed");
    }
    if (size % 2 != 0 || size * config.num_heads > wllm::kMaxDimension) {
        return invalid(
            "{}: {} heads (offset {}) of {} values: a head's size must be even, and all together at "
            "most {}",
            file.name(), config.num_heads, file.find(count_key)->offset, size, wllm::kMaxDimension);
    }
    config.head_size = static_cast<uint32_t>(size);
    return {};
}

}  // namespace

Result<ModelConfig> read_config(const File& file) {
    TRY(check_kind(file));
    ModelConfig config;
    const uint32_t pieces = TRY(piece_count(file));
    struct Count {
        const char* key;
        uint32_t& value;
        uint64_t most;
        std::optional<uint64_t> fallback;
    };
    const Count counts[] = {
        {"llama.block_count", config.num_layers, wllm::kMaxLayers, {}},
        {"llama.embedding_length", config.hidden_size, wllm::kMaxDimension, {}},
        {"llama.feed_forward_length", config.intermediate_size, wllm::kMaxDimension, {}},
        {"llama.context_length", config.context_length, wllm::kMaxDimension, {}},
        {"llama.vocab_size", config.vocab_size, wllm::kMaxDimension, pieces},
    };
    for (const Count& count : counts)
        count.value = static_cast<uint32_t>(TRY(file.whole(count.key, {1, count.most}, count.fallback)));
    if (pieces > config.vocab_size) {
        return invalid("{}: tokenizer.ggml.tokens has {} elements, llama.vocab_size (offset {}) is only {}",
                       file.name(), pieces, file.find("llama.vocab_size")->offset, config.vocab_size);
    }
    TRY(read_heads(file, config));
    constexpr double kRopeTheta = 10000;
    config.rope_theta = TRY(read_positive(file, "llama.rope.freq_base", kRopeTheta));
    config.norm_eps = TRY(read_positive(file, "llama.attention.layer_norm_rms_epsilon"));
    config.rope_scaling = TRY(read_rope_scaling(file));
    const SpecialTokens special = TRY(read_special_tokens(file, pieces));
    config.bos_id = special.bos;
    config.eos_id = special.eos;
    config.unk_id = special.unknown;
    config.tied_embedding = file.find_tensor("output.weight") == nullptr;
    return config;
}

Result<std::string> read_sampling_defaults(const File& file) {
    struct Default {
        const char *key, *option;
        double least, most;  // as the command line has them
    };
    constexpr Default kDefaults[] = {{"general.sampling.temp", "temp", 0, 100},
                                     {"general.sampling.top_k", "top-k", 0, 1e9},
                                     {"general.sampling.top_p", "top-p", 0, 1},
                                     {"general.sampling.min_p", "min-p", 0, 1},
                                     {"general.sampling.penalty_repeat", "repeat-penalty", 0.01, 100}};
    std::string lines;
    for (const Default& option : kDefaults) {
        if (file.find(option.key) == nullptr) continue;
        double value = TRY(file.number(option.key));
        const bool counts = std::string_view(option.option) == "top-k";
        if (counts && value < 0) value = 0;  // llama.cpp's way to say: all of them
        if (value < option.least || value > option.most || (counts && value != std::floor(value))) {
            return invalid("{}: {} (offset {}) is {:.3}, must be {:.3} to {:.3}", file.name(),
                           std::string_view(option.key), file.find(option.key)->offset, value, option.least,
                           option.most);
        }
        // The shortest text that is this float again: 0.6, not 0.60000002.
        std::array<char, 32> text{};
        for (int digits = 1; digits <= 9; ++digits) {
            std::snprintf(text.data(), text.size(), "%.*g", digits, value);
            if (std::strtof(text.data(), nullptr) == static_cast<float>(value)) break;
        }
        if (counts) std::snprintf(text.data(), text.size(), "%.0f", value);
        lines += std::string(option.option) + "=" + text.data() + "\n";
    }
    return lines;
}

Result<std::string> read_provenance(const File& file, std::string_view format) {
    const auto crc = FixedString<8>::formatted("{:08x}", TRY(file.input().checksum()));
    std::string lines = "source=" + printable(file.input().name()) +
                        "\nsource_format=" + std::string(format) +
                        "\nsource_bytes=" + std::to_string(file.input().size()) +
                        "\nsource_crc32c=" + std::string(crc.view()) + "\n";
    for (const char* fact : {"name", "author", "organization", "license", "url", "source.url"}) {
        const Value* value = file.find(std::string("general.") + fact);
        if (value == nullptr || value->type != ValueType::kString) continue;
        Cursor cursor(file.input(), value->offset);
        constexpr uint64_t kMostBytes = 1024;  // a longer one is no name, and is left out
        Result<std::string> text = cursor.read_string(fact, file.version(), kMostBytes);
        if (text.ok()) lines += std::string(fact) + "=" + printable(text.take()) + "\n";
    }
    return lines;
}

}  // namespace bareflow::gguf
