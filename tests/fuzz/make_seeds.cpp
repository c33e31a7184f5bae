// Writes sound inputs for the fuzzers of the importer's readers: make_seeds FUZZER FOLDER.
#include <cstdio>

#include "tests/unit/model/hf_files.h"

using namespace bareflow;
using enum wllm::PieceType;

namespace {

int written = 0;
std::string folder;

void write(const std::string& bytes) {
    std::ofstream(folder + "/seed-" + std::to_string(written++), std::ios::binary) << bytes;
}
void write(char kind, std::string_view text) { write(std::string(1, kind) + std::string(text)); }

Vocabulary vocabulary(bool bytes) {
    Vocabulary result{.pieces = {{"<unk>", 0, kUnknown}, {"<s>", 0, kControl}, {"</s>", 0, kControl}}};
    for (uint32_t byte = 0; bytes && byte < 256; ++byte) {
        constexpr std::string_view kDigits = "0123456789ABCDEF";
        const auto text = FixedString<6>::formatted("<0x{:c}{:c}>", kDigits[byte / 16], kDigits[byte % 16]);
        result.pieces.push_back({std::string(text.view()), 0, kByte});
    }
    for (const char* text : {" ", "a", "b", "c", "\xC3\xA9"}) result.pieces.push_back({text, -9, kNormal});
    for (const char* text : {"ab", "bc", "abc", " a"}) result.pieces.push_back({text, -1, kNormal});
    result.pieces.push_back({"abca", -2, kUnused});
    result.pieces.push_back({"<x>", 0, kUserDefined});
    return result;
}

void safetensors_seeds() {
    std::vector<bareflow::testing::HfTensor> tensors = {{"a", "F32", "[2,2]", std::string(16, '\1')},
                                                        {"b", "BF16", "[3]", std::string(6, '\2')},
                                                        {"c", "F16", "[]", std::string(2, '\3')},
                                                        {"d", "I64", "[0,4]", ""}};
    write('\x40', std::string("\x00\x02\x03\x03\x00\x01\x01\x04\x03\x00\x02\x05\x05\x03\x00", 15));
    write('\xFF', bareflow::testing::safetensors(tensors));
    write('\xFE', bareflow::testing::safetensors(tensors).substr(sizeof(uint64_t)));
    write(
        '\xFE',
        R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]},"b":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}})");
}

/// With what else transformers writes: what a TinyLlama's folder has.
void config_seeds() {
    const ModelConfig config = small_config();
    const std::string usual =
        R"(,"attention_bias":false,"attention_dropout":0.0,"initializer_range":0.02,"pretraining_tp":1,"rope_theta":10000.0,)"
        R"("torch_dtype":"bfloat16","transformers_version":"4.35.0","use_cache":true)";
    for (
        const char* more :
        {"", R"(,"rope_scaling":null)", R"(,"rope_scaling":{"type":"linear","factor":2.0})",
         R"(,"rope_scaling":{"rope_type":"llama3","factor":8.0,"original_max_position_embeddings":8192})",
         R"(,"rope_parameters":{"rope_type":"default","rope_theta":5e5},"mlp_bias":false,"dtype":"float16")",
         R"(,"partial_rotary_factor":1,"pad_token_id":null,"quantization_config":{"quant_method":"gptq"})"}) {
        write('\0', bareflow::testing::config_json(config, usual + more));
    }
    ModelConfig tiny_llama = config;
    tiny_llama.hidden_size = 2048, tiny_llama.intermediate_size = 5632, tiny_llama.num_layers = 22;
    tiny_llama.num_heads = 32, tiny_llama.num_kv_heads = 4, tiny_llama.head_size = 64;
    tiny_llama.vocab_size = 32000, tiny_llama.context_length = 2048, tiny_llama.tied_embedding = false;
    write('\0', bareflow::testing::config_json(tiny_llama, usual));
}

void json_seeds() {
    config_seeds();
    for (
        const char* text :
        {R"({"_from_model_config":true,"bos_token_id":1,"eos_token_id":2,"max_length":2048,"transformers_version":"4.35.0"})",
         R"({"do_sample":true,"temperature":0.6,"top_k":50,"top_p":0.9,"min_p":0.1,"repetition_penalty":1.1,"eos_token_id":[2,3]})",
         R"({"do_sample":false,"temperature":0.0,"bos_token_id":1,"pad_token_id":0})"}) {
        write('\1', text);
    }
    const auto added_token = [](int id, std::string_view content) {
        return "\"" + std::to_string(id) + "\":{\"content\":" + bareflow::testing::json_text(content) +
               R"(,"lstrip":false,"normalized":false,"rstrip":false,"single_word":false,"special":true})";
    };
    const std::string decoder =
        added_token(0, "<unk>") + "," + added_token(1, "<s>") + "," + added_token(2, "</s>");
    write(
        '\2',
        R"({"add_bos_token":true,"add_eos_token":false,"added_tokens_decoder":{)" + decoder +
            R"(},"bos_token":"<s>","chat_template":"{% for message in messages %}{{ eos_token }}{% endfor %}",)"
            R"("clean_up_tokenization_spaces":false,"eos_token":"</s>","legacy":false,"model_max_length":1e+30,)"
            R"("pad_token":"</s>","sp_model_kwargs":{},"tokenizer_class":"LlamaTokenizer","unk_token":"<unk>"})");
    write('\2', R"({"chat_template":[{"name":"default","template":"x"},{"name":"rag","template":"y"}],)"
                R"("bos_token":{"__type":"AddedToken","content":"<s>"},"eos_token":"</s>"})");
    write('\3', R"({"a":0,"b":1,"<|im_end|>":2})");
    constexpr std::string_view kMetaspace =
        R"("normalizer":null,"pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":false})";
    for (const std::string around : {std::string(), std::string(kMetaspace) + ",\"decoder\":" +
                                                        std::string(bareflow::testing::kLlamaDecoder)}) {
        std::string json = bareflow::testing::tokenizer_json(vocabulary(true), !around.empty(), around);
        const size_t first = json.find("\"<0x00>\""), last = json.find(",", json.find("\"<0xFF>\""));
        json.replace(first, last - first, "\"@bytes\":0");
        write('\4', json);
    }
    write(
        '\5',
        R"({"metadata":{"total_size":4},"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors"}})");
}

void tokenizer_seeds() {
    for (bool bytes : {false, true}) {
        write(bareflow::testing::sentencepiece_model(vocabulary(bytes),
                                                     bareflow::testing::trainer_spec(bytes),
                                                     bareflow::testing::normalizer_spec(!bytes)));
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fputs("usage: make_seeds FUZZER FOLDER\n", stderr);
        return 2;
    }
    folder = argv[2];
    const std::string_view fuzzer = argv[1];
    if (fuzzer == "fuzz_safetensors") safetensors_seeds();
    if (fuzzer == "fuzz_json_config") json_seeds();
    if (fuzzer == "fuzz_tokenizer_model") tokenizer_seeds();
    if (written > 0) return 0;
    std::fprintf(stderr, "make_seeds: no fuzzer of a model's files is called %s\n", argv[1]);
    return 1;
}
