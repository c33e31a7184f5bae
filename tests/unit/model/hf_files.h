// Hugging Face's and SentencePiece's files, written by their own descriptions: what the readers read is not what they test.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "arch/base/float16.h"
#include "model/llama_shapes.h"
#include "model/tools/model_source.h"
#include "tests/unit/model/test_models.h"

namespace bareflow::testing {

/// Protocol Buffers' wire format.
class ProtobufWriter {
 public:
    ProtobufWriter& number(uint32_t field, uint64_t value) {
        varint(field << 3);
        varint(value);
        return *this;
    }
    ProtobufWriter& real(uint32_t field, float value) {
        varint(field << 3 | 5);
        bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
        return *this;
    }
    ProtobufWriter& text(uint32_t field, std::string_view value) {
        varint(field << 3 | 2);
        varint(value.size());
        bytes_ += value;
        return *this;
    }
    const std::string& bytes() const { return bytes_; }

 private:
    void varint(uint64_t value) {
        for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
        bytes_ += static_cast<char>(value);
    }
    std::string bytes_;
};

/// With U+2581 for spaces, as both kinds of files write pieces.
inline std::string escaped(std::string_view text) {
    std::string result;
    for (char c : text) result += c == ' ' ? std::string("\xE2\x96\x81") : std::string(1, c);
    return result;
}

inline bool stands_for_text(const Vocabulary::Piece& piece) {
    return piece.type == wllm::PieceType::kNormal || piece.type == wllm::PieceType::kUserDefined ||
           piece.type == wllm::PieceType::kUnused;
}

/// A trainer_spec and normalizer_spec as Llama's tokenizer.model has them.
inline ProtobufWriter trainer_spec(bool byte_fallback = true) {
    ProtobufWriter spec;
    spec.number(3, 2).number(35, byte_fallback).number(40, 0).number(41, 1).number(42, 2);
    return spec;
}
inline ProtobufWriter normalizer_spec(bool dummy_prefix = true) {
    ProtobufWriter spec;
    spec.text(1, "identity").text(2, "").number(3, dummy_prefix).number(4, 0).number(5, 1);
    return spec;
}

/// A tokenizer.model (ModelProto of sentencepiece_model.proto).
inline std::string sentencepiece_model(const Vocabulary& vocabulary, const ProtobufWriter& trainer,
                                       const ProtobufWriter& normalizer) {
    ProtobufWriter model;
    for (const Vocabulary::Piece& piece : vocabulary.pieces) {
        ProtobufWriter message;
        message.text(1, stands_for_text(piece) ? escaped(piece.text) : piece.text).real(2, piece.score);
        if (piece.type != wllm::PieceType::kNormal) message.number(3, static_cast<uint64_t>(piece.type));
        model.text(1, message.bytes());
    }
    return model.text(2, trainer.bytes()).text(3, normalizer.bytes()).bytes();
}
inline std::string sentencepiece_model(const Vocabulary& vocabulary) {
    return sentencepiece_model(vocabulary, trainer_spec(), normalizer_spec(vocabulary.add_dummy_prefix));
}

inline std::string json_text(std::string_view text) {
    std::string result = "\"";
    for (char c : text) {
        if (c == '"' || c == '\\') result += '\\';
        if (static_cast<unsigned char>(c) >= 0x20) result += c;
        if (static_cast<unsigned char>(c) < 0x20) {
            result += FixedString<6>::formatted("\\u{:04x}", static_cast<uint32_t>(c)).view();
        }
    }
    return result + "\"";
}

/// Each pair of pieces that make a third, by descending score, then by the pair's lengths, longer first: transformers'
/// generate_merges() in convert_slow_tokenizer.py.
inline std::vector<std::pair<std::string, std::string>> merges_of(const Vocabulary& vocabulary) {
    struct Merge {
        float score;
        size_t left_size, right_size;  // in characters
        std::string left, right;
    };
    const auto characters = [](std::string_view text) {
        return static_cast<size_t>(
            std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
    };
    std::map<std::string, uint32_t, std::less<>> ids;
    for (uint32_t id = 0; id < vocabulary.pieces.size(); ++id) {
        if (stands_for_text(vocabulary.pieces[id])) ids[vocabulary.pieces[id].text] = id;
    }
    std::vector<Merge> merges;
    for (const Vocabulary::Piece& piece : vocabulary.pieces) {
        if (!stands_for_text(piece)) continue;
        for (size_t at = 1; at < piece.text.size(); ++at) {
            const std::string left = piece.text.substr(0, at), right = piece.text.substr(at);
            if (ids.contains(left) && ids.contains(right))
                merges.push_back({piece.score, characters(left), characters(right), left, right});
        }
    }
    std::stable_sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
        return std::tie(a.score, a.left_size, a.right_size) > std::tie(b.score, b.left_size, b.right_size);
    });
    std::vector<std::pair<std::string, std::string>> pairs;
    for (const Merge& merge : merges) pairs.emplace_back(escaped(merge.left), escaped(merge.right));
    return pairs;
}

constexpr std::string_view kLlamaNormalizer =
    R"({"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},)"
    R"({"type":"Replace","pattern":{"String":" "},"content":"▁"}]})";
constexpr std::string_view kLlamaDecoder =
    R"({"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},)"
    R"({"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]})";

/// A tokenizer.json as transformers writes Llama's.
inline std::string tokenizer_json(const Vocabulary& vocabulary, bool pairs_as_lists = false,
                                  std::string_view around = {}) {
    std::string added, vocab, merges;
    for (uint32_t id = 0; id < vocabulary.pieces.size(); ++id) {
        const Vocabulary::Piece& piece = vocabulary.pieces[id];
        const std::string text = json_text(stands_for_text(piece) ? escaped(piece.text) : piece.text);
        vocab += (vocab.empty() ? "" : ",") + text + ":" + std::to_string(id);
        if (piece.type != wllm::PieceType::kUnknown && piece.type != wllm::PieceType::kControl) continue;
        added += (added.empty() ? "" : ",") + ("{\"id\":" + std::to_string(id)) + ",\"content\":" + text +
                 R"(,"single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true})";
    }
    for (const auto& [left, right] : merges_of(vocabulary)) {
        merges += merges.empty() ? "" : ",";
        merges += pairs_as_lists ? "[" + json_text(left) + "," + json_text(right) + "]"
                                 : json_text(left + " " + right);
    }
    const std::string parts = around.empty()
                                  ? "\"normalizer\":" + std::string(kLlamaNormalizer) +
                                        ",\"pre_tokenizer\":null,\"decoder\":" + std::string(kLlamaDecoder)
                                  : std::string(around);
    return R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":[)" + added + "]," + parts +
           R"(,"post_processor":null,"model":{"type":"BPE","dropout":null,"unk_token":"<unk>",)"
           R"("continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":true,"byte_fallback":true,)"
           R"("vocab":{)" +
           vocab + "},\"merges\":[" + merges + "]}}";
}

/// A tensor that is to go into a safetensors file.
struct HfTensor {
    std::string name, dtype, shape;  ///< shape as JSON: "[2,3]"
    std::string bytes;
};

inline std::string safetensors(const std::vector<HfTensor>& tensors,
                               const std::string& metadata = "{\"format\":\"pt\"}") {
    std::string header = "{\"__metadata__\":" + metadata, data;
    for (const HfTensor& tensor : tensors) {
        header += "," + json_text(tensor.name) + ":{\"dtype\":\"" + tensor.dtype +
                  "\",\"shape\":" + tensor.shape + ",\"data_offsets\":[" + std::to_string(data.size()) + "," +
                  std::to_string(data.size() + tensor.bytes.size()) + "]}";
        data += tensor.bytes;
    }
    header += "}";
    while (header.size() % 8 != 0) header += ' ';
    const uint64_t length = header.size();
    return std::string(reinterpret_cast<const char*>(&length), sizeof length) + header + data;
}

/// A weight as `dtype` holds it: F32, F16, or BF16, which drops the lower half of the bits.
inline float as_stored(float weight, std::string_view dtype) {
    if (dtype == "F16") return f32_from_f16(f16_from_f32(weight));
    uint32_t bits = std::bit_cast<uint32_t>(weight);
    if (dtype == "BF16") bits &= 0xFFFF0000;
    return std::bit_cast<float>(bits);
}
inline std::string bytes_as(std::span<const float> weights, std::string_view dtype) {
    std::string bytes;
    for (float weight : weights) {
        const uint32_t bits = std::bit_cast<uint32_t>(weight);
        const uint16_t half = dtype == "F16" ? f16_from_f32(weight) : static_cast<uint16_t>(bits >> 16);
        dtype == "F32" ? bytes.append(reinterpret_cast<const char*>(&bits), sizeof bits)
                       : bytes.append(reinterpret_cast<const char*>(&half), sizeof half);
    }
    return bytes;
}

/// All tensors of a model as transformers names and orders them: the rows of a head of query and key are first the first
/// ones of all pairs, then the second ones (convert_llama_weights_to_hf.py).
inline std::vector<HfTensor> hf_tensors(const ModelSource& model, const std::string& dtype) {
    static const std::map<wllm::TensorKind, std::string> kNames = {
        {wllm::TensorKind::kQuery, "self_attn.q_proj"},
        {wllm::TensorKind::kKey, "self_attn.k_proj"},
        {wllm::TensorKind::kValue, "self_attn.v_proj"},
        {wllm::TensorKind::kOutput, "self_attn.o_proj"},
        {wllm::TensorKind::kGate, "mlp.gate_proj"},
        {wllm::TensorKind::kUp, "mlp.up_proj"},
        {wllm::TensorKind::kDown, "mlp.down_proj"},
        {wllm::TensorKind::kAttentionNorm, "input_layernorm"},
        {wllm::TensorKind::kFfnNorm, "post_attention_layernorm"},
        {wllm::TensorKind::kFinalNorm, "model.norm"},
        {wllm::TensorKind::kLmHead, "lm_head"},
        {wllm::TensorKind::kEmbedding, "model.embed_tokens"}};
    const ModelConfig& config = model.config();
    std::vector<HfTensor> tensors;
    for (uint32_t i = 0; i < tensor_count(config); ++i) {
        const TensorName name = nth_tensor(config, i);
        const TensorShape shape = shape_of(config, name.kind);
        std::vector<float> rows(size_t{shape.rows} * shape.columns);
        EXPECT_TRUE(model.read_rows(name, 0, shape.rows, rows).ok());
        if (name.kind == wllm::TensorKind::kQuery || name.kind == wllm::TensorKind::kKey) {
            const std::vector<float> interleaved = rows;
            const uint32_t half = config.head_size / 2;
            for (uint32_t head = 0; head < shape.rows / config.head_size; ++head) {
                for (uint32_t pair = 0; pair < half; ++pair) {
                    for (uint32_t side = 0; side < 2; ++side) {
                        const size_t from = head * config.head_size + 2 * pair + side;
                        const size_t to = head * config.head_size + side * half + pair;
                        std::copy_n(interleaved.begin() + static_cast<long>(from * shape.columns),
                                    shape.columns, rows.begin() + static_cast<long>(to * shape.columns));
                    }
                }
            }
        }
        const std::string layer =
            is_per_layer(name.kind) ? "model.layers." + std::to_string(name.layer) + "." : "";
        tensors.push_back({layer + kNames.at(name.kind) + ".weight", dtype,
                           is_norm(name.kind)
                               ? "[" + std::to_string(shape.rows) + "]"
                               : "[" + std::to_string(shape.rows) + "," + std::to_string(shape.columns) + "]",
                           bytes_as(rows, dtype)});
    }
    return tensors;
}

/// A config.json; `more` are further members, each with a comma before it.
inline std::string config_json(const ModelConfig& c, const std::string& more = {}) {
    const auto member = [](const char* name, uint64_t value) {
        return ",\"" + std::string(name) + "\":" + std::to_string(value);
    };
    return R"({"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_act":"silu","rms_norm_eps":1e-05)" +
           member("hidden_size", c.hidden_size) + member("intermediate_size", c.intermediate_size) +
           member("num_hidden_layers", c.num_layers) + member("num_attention_heads", c.num_heads) +
           member("num_key_value_heads", c.num_kv_heads) + member("head_dim", c.head_size) +
           member("vocab_size", c.vocab_size) + member("max_position_embeddings", c.context_length) +
           member("bos_token_id", c.bos_id) + member("eos_token_id", c.eos_id) +
           ",\"tie_word_embeddings\":" + (c.tied_embedding ? "true" : "false") + more + "}";
}

/// Model files of a folder: one safetensors, or `shards` of them and their index.
inline std::map<std::string, std::string> hf_weight_files(const std::vector<HfTensor>& tensors,
                                                          size_t shards = 1) {
    if (shards == 1) return {{"model.safetensors", safetensors(tensors)}};
    std::map<std::string, std::string> files;
    std::string map;
    for (size_t shard = 0; shard < shards; ++shard) {
        const std::string name =
            "model-0000" + std::to_string(shard + 1) + "-of-0000" + std::to_string(shards) + ".safetensors";
        std::vector<HfTensor> some;
        for (size_t i = shard; i < tensors.size(); i += shards) {
            some.push_back(tensors[i]);
            map += (map.empty() ? "" : ",") + json_text(tensors[i].name) + ":\"" + name + "\"";
        }
        files[name] = safetensors(some);
    }
    files["model.safetensors.index.json"] = "{\"metadata\":{\"total_size\":0},\"weight_map\":{" + map + "}}";
    return files;
}

inline ByteSpan as_bytes(std::string_view text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace bareflow::testing
