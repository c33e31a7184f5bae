#include "tests/bench/gguf_writer.h"

#include <algorithm>
#include <fstream>

#include "arch/base/float16.h"
#include "model/tools/quantise.h"
#include "tests/bench/emitted.h"

namespace bareflow::bench {
namespace {

// docs/gguf.md of ggml-org/ggml: gguf_metadata_value_type, ggml_type.
constexpr uint32_t kMagic = 0x46554747, kVersion = 3, kAlignment = 32;
constexpr uint32_t kUint32 = 4, kInt32 = 5, kFloat32 = 6, kString = 8, kArray = 9;
uint32_t ggml_type(ElementType type) {
    constexpr uint32_t kTypes[] = {0, 1, 8, 2};
    return kTypes[static_cast<size_t>(type)];
}

std::string name_in_gguf(TensorName tensor) {
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

/// SentencePiece's own spelling of a space.
std::string with_visible_spaces(const std::string& text) {
    std::string made;
    for (const char c : text) c == ' ' ? made += "\xE2\x96\x81" : made += c;
    return made;
}

class Writer {
 public:
    explicit Writer(const std::string& path) : file_(path, std::ios::binary) {}

    template <typename T>
    void put(T value) {
        file_.write(reinterpret_cast<const char*>(&value), sizeof value);
    }
    void put_string(const std::string& text) {
        put(uint64_t{text.size()});
        file_.write(text.data(), static_cast<std::streamsize>(text.size()));
    }
    /// A key and the type of its value, which must follow.
    void key(const std::string& name, uint32_t type) {
        put_string(name);
        put(type);
        ++keys_;
    }
    void number(const std::string& name, uint32_t value) {
        key(name, kUint32);
        put(value);
    }
    void number(const std::string& name, float value) {
        key(name, kFloat32);
        put(value);
    }
    void text(const std::string& name, const std::string& value) {
        key(name, kString);
        put_string(value);
    }
    void array(const std::string& name, uint32_t type, size_t count) {
        key(name, kArray);
        put(type);
        put(uint64_t{count});
    }
    void bytes(const std::vector<uint8_t>& all) {
        file_.write(reinterpret_cast<const char*>(all.data()), static_cast<std::streamsize>(all.size()));
    }
    void align() {
        while (file_.tellp() % kAlignment != 0) put(uint8_t{0});
    }
    std::ofstream& file() { return file_; }
    uint64_t keys() const { return keys_; }

 private:
    std::ofstream file_;
    uint64_t keys_ = 0;
};

uint64_t aligned(uint64_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }

void put_keys(Writer& writer, const ModelConfig& c, const Vocabulary& vocabulary) {
    writer.text("general.architecture", "llama");
    writer.text("general.name", "synthetic");
    writer.number("general.quantization_version", 2u);
    writer.number("llama.context_length", c.context_length);
    writer.number("llama.embedding_length", c.hidden_size);
    writer.number("llama.block_count", c.num_layers);
    writer.number("llama.feed_forward_length", c.intermediate_size);
    writer.number("llama.attention.head_count", c.num_heads);
    writer.number("llama.attention.head_count_kv", c.num_kv_heads);
    writer.number("llama.attention.layer_norm_rms_epsilon", c.norm_eps);
    writer.number("llama.rope.dimension_count", c.head_size);
    writer.number("llama.rope.freq_base", c.rope_theta);
    writer.number("llama.vocab_size", c.vocab_size);
    writer.text("tokenizer.ggml.model", "llama");
    const auto& pieces = vocabulary.pieces;
    writer.array("tokenizer.ggml.tokens", kString, pieces.size());
    for (const auto& piece : pieces) writer.put_string(with_visible_spaces(piece.text));
    writer.array("tokenizer.ggml.scores", kFloat32, pieces.size());
    for (const auto& piece : pieces) writer.put(piece.score);
    writer.array("tokenizer.ggml.token_type", kInt32, pieces.size());
    for (const auto& piece : pieces) writer.put(static_cast<int32_t>(piece.type));
    writer.number("tokenizer.ggml.bos_token_id", c.bos_id);
    writer.number("tokenizer.ggml.eos_token_id", c.eos_id);
    writer.number("tokenizer.ggml.unknown_token_id", c.unk_id);
}

/// Rows as GGML stores them: Q8_0 as a scale and 32 bytes, Q4_0 as a scale and 16 bytes, whose low nibbles are the first
/// half of the group.
std::vector<uint8_t> packed(ElementType type, std::span<const float> values) {
    std::vector<uint8_t> bytes;
    const auto put = [&](const auto& item) {
        const auto* begin = reinterpret_cast<const uint8_t*>(&item);
        bytes.insert(bytes.end(), begin, begin + sizeof item);
    };
    if (type == ElementType::kF32)
        for (const float value : values) put(value);
    if (type == ElementType::kF16)
        for (const float value : values) put(f16_from_f32(value));
    for (size_t i = 0; is_quantised(type) && i < values.size(); i += kGroup) {
        const auto group = values.subspan(i).first<kGroup>();
        const bool whole_bytes = type == ElementType::kQ8_0;
        const QuantisedGroup made = whole_bytes ? quantise_q8_0(group) : quantise_q4_0(group);
        put(made.scale);
        constexpr size_t kHalf = kGroup / 2;
        for (size_t k = 0; whole_bytes && k < kGroup; ++k) put(made.values[k]);
        for (size_t k = 0; !whole_bytes && k < kHalf; ++k)
            put(static_cast<uint8_t>((made.values[k] + 8) | (made.values[k + kHalf] + 8) << 4));
    }
    return bytes;
}

}  // namespace

void write_gguf(const ModelSource& model, const Vocabulary& vocabulary, ElementType type,
                const std::string& path) {
    const ModelConfig& config = model.config();
    const uint32_t count = tensor_count(config);
    Writer writer(path);
    writer.put(kMagic);
    writer.put(kVersion);
    writer.put(uint64_t{count});
    const auto keys_at = writer.file().tellp();
    writer.put(uint64_t{0});
    put_keys(writer, config, vocabulary);
    uint64_t offset = 0;
    for (uint32_t i = 0; i < count; ++i) {
        const TensorName name = nth_tensor(config, i);
        const TensorShape shape = shape_of(config, name.kind);
        const ElementType stored = is_norm(name.kind) ? ElementType::kF32 : type;
        writer.put_string(name_in_gguf(name));
        writer.put(is_norm(name.kind) ? 1u : 2u);  // dimensions, the innermost first
        if (!is_norm(name.kind)) writer.put(uint64_t{shape.columns});
        writer.put(uint64_t{shape.rows});
        writer.put(ggml_type(stored));
        writer.put(offset);
        offset += aligned(shape.rows * row_bytes(stored, shape.columns));
    }
    writer.align();
    std::vector<float> rows;
    for (uint32_t i = 0; i < count; ++i) {
        const TensorName name = nth_tensor(config, i);
        const TensorShape shape = shape_of(config, name.kind);
        const uint32_t step = is_norm(name.kind) ? shape.rows : 16;
        for (uint32_t first = 0; first < shape.rows; first += step) {
            const uint32_t some = std::min(step, shape.rows - first);
            rows.resize(size_t{some} * shape.columns);
            if (!model.read_rows(name, first, some, rows).ok()) give_up("a model cannot be read");
            writer.bytes(packed(is_norm(name.kind) ? ElementType::kF32 : type, rows));
        }
        writer.align();
    }
    writer.file().seekp(keys_at);
    writer.put(writer.keys());
    if (!writer.file().flush()) give_up(path + " cannot be written; is there room, and the folder?");
}

}  // namespace bareflow::bench
