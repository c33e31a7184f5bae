#include "tests/gguf/gguf_writer.h"

#include <algorithm>

#include "tests/gguf/gguf_encode.h"

namespace bareflow::gguf {
namespace {

// docs/gguf.md of ggml-org/ggml: gguf_metadata_value_type.
constexpr uint32_t kUint32 = 4, kInt32 = 5, kFloat32 = 6, kBool = 7, kString = 8, kArray = 9;
constexpr uint32_t kFileMagic = 0x46554747;

/// SentencePiece's own spelling of a space.
std::string with_visible_spaces(const std::string& text) {
    std::string made;
    for (const char c : text) c == ' ' ? made += "\xE2\x96\x81" : made += c;
    return made;
}

TensorType type_in(const WriteOptions& options, TensorName name) {
    return is_norm(name.kind) ? TensorType::kF32 : options.type_of(name);
}

uint64_t aligned(uint64_t size, uint32_t alignment) { return (size + alignment - 1) / alignment * alignment; }

}  // namespace

void Metadata::number(const std::string& key, uint32_t value) {
    set(key, kUint32, [&](Encoder& encoder) { encoder.put(value); });
}
void Metadata::signed_number(const std::string& key, int32_t value) {
    set(key, kInt32, [&](Encoder& encoder) { encoder.put(value); });
}
void Metadata::number(const std::string& key, float value) {
    set(key, kFloat32, [&](Encoder& encoder) { encoder.put(value); });
}
void Metadata::flag(const std::string& key, bool value) {
    set(key, kBool, [&](Encoder& encoder) { encoder.put(static_cast<uint8_t>(value)); });
}
void Metadata::text(const std::string& key, const std::string& value) {
    set(key, kString, [&](Encoder& encoder) { encoder.string(value); });
}
void Metadata::texts(const std::string& key, const std::vector<std::string>& values) {
    set(key, kArray, [&](Encoder& encoder) {
        encoder.put(kString).count(values.size());
        for (const std::string& value : values) encoder.string(value);
    });
}
void Metadata::remove(const std::string& key) {
    std::erase_if(entries_, [&](const Entry& entry) { return entry.key == key; });
}
void Metadata::repeat(const std::string& key) {
    const auto found =
        std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.key == key; });
    entries_.push_back(Entry(*found));
}

std::vector<uint8_t> head(const Metadata& metadata, const std::vector<TensorInfo>& tensors,
                          uint32_t alignment) {
    Encoder encoder(metadata.version());
    encoder.put(kFileMagic).put(metadata.version()).count(tensors.size()).count(metadata.entries().size());
    for (const Metadata::Entry& entry : metadata.entries()) {
        encoder.string(entry.key);
        for (const uint8_t byte : entry.value) encoder.put(byte);
    }
    for (const TensorInfo& tensor : tensors) {
        encoder.string(tensor.name).put(static_cast<uint32_t>(tensor.sizes.size()));
        for (const uint64_t size : tensor.sizes) encoder.count(size);
        encoder.put(tensor.type).put(tensor.offset);
    }
    encoder.align(alignment);
    return std::move(encoder.bytes());
}

std::string tensor_name(TensorName tensor) {
    using enum wllm::TensorKind;
    const std::string layer = "blk." + std::to_string(tensor.layer) + ".";
    switch (tensor.kind) {
        case kQuery:
            return layer + "attn_q.weight";
        case kKey:
            return layer + "attn_k.weight";
        case kValue:
            return layer + "attn_v.weight";
        case kOutput:
            return layer + "attn_output.weight";
        case kGate:
            return layer + "ffn_gate.weight";
        case kUp:
            return layer + "ffn_up.weight";
        case kDown:
            return layer + "ffn_down.weight";
        case kAttentionNorm:
            return layer + "attn_norm.weight";
        case kFfnNorm:
            return layer + "ffn_norm.weight";
        case kFinalNorm:
            return "output_norm.weight";
        case kLmHead:
            return "output.weight";
        case kEmbedding:
            return "token_embd.weight";
    }
    return {};
}

Metadata metadata_of(const ModelConfig& c, const Vocabulary& vocabulary, uint32_t version) {
    Metadata metadata(version);
    metadata.text("general.architecture", "llama");
    metadata.text("general.name", "test");
    metadata.number("general.quantization_version", 2u);
    metadata.number("llama.context_length", c.context_length);
    metadata.number("llama.embedding_length", c.hidden_size);
    metadata.number("llama.block_count", c.num_layers);
    metadata.number("llama.feed_forward_length", c.intermediate_size);
    metadata.number("llama.attention.head_count", c.num_heads);
    metadata.number("llama.attention.head_count_kv", c.num_kv_heads);
    metadata.number("llama.attention.layer_norm_rms_epsilon", c.norm_eps);
    if (c.head_size * c.num_heads != c.hidden_size) {
        metadata.number("llama.attention.key_length", c.head_size);
        metadata.number("llama.attention.value_length", c.head_size);
    }
    metadata.number("llama.rope.dimension_count", c.head_size);
    metadata.number("llama.rope.freq_base", c.rope_theta);
    if (c.rope_scaling != 0) {
        metadata.text("llama.rope.scaling.type", "linear");
        metadata.number("llama.rope.scaling.factor", c.rope_scaling);
    }
    metadata.number("llama.vocab_size", c.vocab_size);
    metadata.text("tokenizer.ggml.model", "llama");
    std::vector<std::string> texts;
    std::vector<float> scores;
    std::vector<int32_t> types;
    for (const Vocabulary::Piece& piece : vocabulary.pieces) {
        texts.push_back(with_visible_spaces(piece.text));
        scores.push_back(piece.score);
        types.push_back(static_cast<int32_t>(piece.type));
    }
    metadata.texts("tokenizer.ggml.tokens", texts);
    metadata.numbers("tokenizer.ggml.scores", kFloat32, scores);
    metadata.numbers("tokenizer.ggml.token_type", kInt32, types);
    metadata.number("tokenizer.ggml.bos_token_id", c.bos_id);
    metadata.number("tokenizer.ggml.eos_token_id", c.eos_id);
    metadata.number("tokenizer.ggml.unknown_token_id", c.unk_id);
    metadata.flag("tokenizer.ggml.add_space_prefix", vocabulary.add_dummy_prefix);
    metadata.flag("tokenizer.ggml.add_bos_token", vocabulary.add_bos);
    return metadata;
}

std::vector<TensorInfo> tensors_of(const ModelConfig& config, const WriteOptions& options) {
    std::vector<TensorInfo> tensors;
    uint64_t offset = 0;
    for (uint32_t i = 0; i < tensor_count(config); ++i) {
        const TensorName name = nth_tensor(config, i);
        const TensorShape shape = shape_of(config, name.kind);
        const TensorType type = type_in(options, name);
        TensorInfo info{tensor_name(name), {shape.rows}, static_cast<uint32_t>(type), offset};
        if (!is_norm(name.kind)) info.sizes = {shape.columns, shape.rows};
        tensors.push_back(info);
        const BlockShape& block = *block_shape(type);
        offset +=
            aligned(uint64_t{shape.rows} * shape.columns / block.values * block.bytes, options.alignment);
    }
    return tensors;
}

void write_tensors(const ModelSource& model, const WriteOptions& options, std::ostream& out) {
    const ModelConfig& config = model.config();
    std::vector<float> rows;
    for (uint32_t i = 0; i < tensor_count(config); ++i) {
        const TensorName name = nth_tensor(config, i);
        const TensorShape shape = shape_of(config, name.kind);
        const uint32_t step = is_norm(name.kind) ? shape.rows : 16;
        uint64_t written = 0;
        for (uint32_t first = 0; first < shape.rows; first += step) {
            const uint32_t some = std::min(step, shape.rows - first);
            rows.resize(size_t{some} * shape.columns);
            model.read_rows(name, first, some, rows).take();
            const std::vector<uint8_t> bytes = encoded(type_in(options, name), rows);
            out.write(reinterpret_cast<const char*>(bytes.data()),
                      static_cast<std::streamsize>(bytes.size()));
            written += bytes.size();
        }
        const std::string padding(aligned(written, options.alignment) - written, '\0');
        out.write(padding.data(), static_cast<std::streamsize>(padding.size()));
    }
}

void write_model(const ModelSource& model, const Vocabulary& vocabulary, const WriteOptions& options,
                 std::ostream& out) {
    Metadata metadata = metadata_of(model.config(), vocabulary, options.version);
    if (options.alignment != 32) metadata.number("general.alignment", options.alignment);
    const std::vector<uint8_t> bytes = head(metadata, tensors_of(model.config(), options), options.alignment);
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    write_tensors(model, options, out);
}

TensorType q4_k_m(TensorName tensor, uint32_t num_layers) {
    using enum wllm::TensorKind;
    const uint32_t layer = tensor.layer, eighth = num_layers / 8;
    const bool more_bits = layer < eighth || layer >= 7 * num_layers / 8 || (layer - eighth) % 3 == 2;
    if (tensor.kind == kLmHead) return TensorType::kQ6_K;
    if ((tensor.kind == kValue || tensor.kind == kDown) && more_bits) return TensorType::kQ6_K;
    return TensorType::kQ4_K;
}

const BlockShape* type_named(std::string_view name) {
    for (const BlockShape& shape : kBlockShapes) {
        const bool same = std::equal(name.begin(), name.end(), shape.name.begin(), shape.name.end(),
                                     [](char a, char b) { return a == std::tolower(b); });
        if (same) return &shape;
    }
    return nullptr;
}

}  // namespace bareflow::gguf
