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

void json_seeds() {
    write('\0', bareflow::testing::config_json(small_config()));
    write('\0',
          bareflow::testing::config_json(
              small_config(), R"(,"rope_scaling":{"type":"linear","factor":2},"torch_dtype":"bfloat16")"));
    write('\0', bareflow::testing::config_json(
                    small_config(),
                    R"(,"rope_parameters":{"rope_type":"default","rope_theta":5e5},"mlp_bias":false)"));
    write(
        '\1',
        R"({"do_sample":true,"temperature":0.6,"top_k":50,"top_p":0.9,"min_p":0.1,"repetition_penalty":1.1,"eos_token_id":[2,3]})");
    write('\1', R"({"do_sample":false,"bos_token_id":1})");
    write(
        '\2',
        R"({"chat_template":[{"name":"default","template":"x"}],"bos_token":{"content":"<s>"},"eos_token":"</s>",)"
        R"("added_tokens_decoder":{"9":{"content":"a","special":true}}})");
    write('\3', R"({"a":0,"b":1,"<|im_end|>":2})");
    std::string json = bareflow::testing::tokenizer_json(vocabulary(true));
    const size_t first = json.find("\"<0x00>\""), last = json.find(",", json.find("\"<0xFF>\""));
    json.replace(first, last - first, "@bytes");
    write('\4', json);
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
