#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "model/tools/hf_folder.h"
#include "model/tools/import.h"
#include "model/tools/inspect_hf.h"
#include "model/tools/llama2c.h"
#include "model/tools/llama2c_tokenizer.h"
#include "model/tools/open_model.h"
#include "tests/unit/model/golden_support.h"
#include "tests/unit/model/hf_files.h"

namespace bareflow {
namespace {

using testing::as_bytes;
using testing::config_json;
using ::testing::HasSubstr;
using testing::HfTensor;
using enum wllm::PieceType;

StdAllocator allocator;

Vocabulary default_vocabulary() {
    const auto file = InputFile::open("model/bareflow-stories.tokenizer.bin");
    return read_llama2c_tokenizer(file.value()).take();
}

/// A small model with the default model's special and byte pieces, and the letters that follow them.
Vocabulary vocabulary_of_300() {
    Vocabulary vocabulary = default_vocabulary();
    vocabulary.pieces.resize(259);
    for (char c = 'a'; c <= 'z'; ++c) vocabulary.pieces.push_back({std::string(1, c), -1, kNormal});
    return vocabulary;
}
ModelConfig config_of_300(bool tied = true) {
    ModelConfig config = small_config(tied);
    config.vocab_size = 300;
    return config;
}

class HfImport : public ::testing::Test {
 protected:
    void write(const std::string& name, const std::string& text) { folder.write(name, as_bytes(text)); }
    void write(const std::map<std::string, std::string>& files) {
        for (const auto& [name, text] : files) write(name, text);
    }
    void remove(const std::string& name) { std::filesystem::remove(folder / name); }
    /// A whole folder.
    void write_model(const ModelSource& model, const std::string& dtype = "F32", size_t shards = 1,
                     const std::string& more_config = {}) {
        write("config.json", config_json(model.config(), more_config));
        write("tokenizer.model", testing::sentencepiece_model(vocabulary_of_300()));
        write(testing::hf_weight_files(testing::hf_tensors(model, dtype), shards));
    }
    std::string import(const std::string& tokenizer = {}) {
        ImportRequest request;
        request.model = folder / "";
        request.tokenizer = tokenizer;
        const auto summary = import_model(request, output / "m.wllm");
        return summary.ok() ? "" : std::string(summary.error().message());
    }
    Image image() { return Image(read_file(output / "m.wllm")); }

    TemporaryFolder folder, output;
};

TEST_F(HfImport, KeepsEveryWeightInEachTypeWholeAndInShards) {
    for (bool tied : {true, false}) {
        const MadeUpModel model(config_of_300(tied));
        for (const std::string dtype : {"F32", "F16", "BF16"}) {
            for (size_t shards : {1, 3}) {
                std::filesystem::remove(folder / "model.safetensors");
                write_model(model, dtype, shards);
                ASSERT_EQ(import(), "");
                Image made = image();
                EXPECT_THAT(std::string(load_weights(made.bytes(), allocator).value().provenance),
                            HasSubstr("source_format=Hugging Face safetensors (" + dtype + ")\n"));
                expect_weights(made, model.config(), [&](TensorName tensor, uint32_t n, uint32_t k) {
                    return testing::as_stored(MadeUpModel::weight(tensor, n, k), dtype);
                });
            }
        }
    }
}

/// The first tokens that a model writes greedily.
std::string text_of(const Image& image) {
    testing::CountingAllocator counting;
    const Weights weights = load_weights(image.bytes(), counting).take();
    const Tokenizer tokenizer = Tokenizer::make(weights.tokenizer, counting).take();
    Operators& operators = testing::operators_of(NumericClass::kMulAdd);
    Transformer transformer = Transformer::model_init(weights, operators, counting).take();
    Detokenizer detokenizer(tokenizer);
    std::string text;
    uint32_t token = weights.config.bos_id;
    for (uint32_t position = 0; position < 40; ++position) {
        token =
            operators.argmax(transformer.model_forward(token, position).values, weights.config.vocab_size);
        if (token == weights.config.eos_id) break;
        text += detokenizer.next(token);
    }
    return text;
}

/// What of two .wllm must be the same: the tensors, byte for byte, their directory, and the text that is written.
void expect_same_model(Image& a, Image& b) {
    ASSERT_EQ(a.tensor_count(), b.tensor_count());
    for (uint32_t i = 0; i < a.tensor_count(); ++i) EXPECT_EQ(a.tensor(i).crc32c, b.tensor(i).crc32c) << i;
    EXPECT_EQ(load_weights(a.bytes(), allocator).value().config,
              load_weights(b.bytes(), allocator).value().config);
    const std::string text = text_of(a);
    EXPECT_EQ(text, text_of(b));
    EXPECT_GT(text.size(), 60u);
}

Image image_by_llama2c_road(const TemporaryFolder& output) {
    const auto summary =
        import_model({.model = "model/bareflow-stories.bin", .tokenizer = {}, .chat_template = {}},
                     output / "llama2c.wllm");
    EXPECT_TRUE(summary.ok());
    return Image(read_file(output / "llama2c.wllm"));
}

TEST_F(HfImport, TheDefaultModelIsTheSameByBothRoadsAndEveryFormOfFolder) {
    Image expected = image_by_llama2c_road(output);
    const std::unique_ptr<ModelSource> model = open_llama2c("model/bareflow-stories.bin").take();
    const std::vector<HfTensor> tensors = testing::hf_tensors(*model, "F32");
    write("config.json", config_json(model->config()));
    for (size_t shards : {1, 4}) {
        remove("model.safetensors");
        write(testing::hf_weight_files(tensors, shards));
        for (bool sentencepiece : {true, false}) {
            remove("tokenizer.model");
            remove("tokenizer.json");
            sentencepiece ? write("tokenizer.model", testing::sentencepiece_model(default_vocabulary()))
                          : write("tokenizer.json", testing::tokenizer_json(default_vocabulary()));
            ASSERT_EQ(import(), "");
            Image made = image();
            expect_same_model(made, expected);
        }
    }
}

TEST_F(HfImport, TheDefaultModelAsItWasTrainedIsTheSameByBothRoads) {
    SKIP_WITHOUT(shared_model("hf/model.safetensors"));
    Image expected = image_by_llama2c_road(output);
    const auto summary =
        import_model({.model = shared_model("hf"), .tokenizer = {}, .chat_template = {}}, output / "m.wllm");
    ASSERT_TRUE(summary.ok()) << summary.error().message();
    Image made = image();
    expect_same_model(made, expected);
}

TEST_F(HfImport, AnotherProgramConvertsAFolderOnTheFly) {
    write_model(MadeUpModel(config_of_300()));
    EXPECT_FALSE(is_wllm(folder / "").value());
    const auto opened = open_model(folder / "", "", false);
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    EXPECT_TRUE(load_weights(opened.value().bytes(), allocator).ok());
}

TEST_F(HfImport, TakesAnotherTokenizerInAnyFormat) {
    write_model(MadeUpModel(config_of_300()));
    remove("tokenizer.model");
    EXPECT_THAT(import(), HasSubstr("holds no tokenizer.model and no tokenizer.json"));
    const std::string model =
        output.write("other.model", as_bytes(testing::sentencepiece_model(vocabulary_of_300())));
    const std::string json =
        output.write("other.json", as_bytes(testing::tokenizer_json(vocabulary_of_300())));
    for (const std::string& path : {model, json}) {
        ASSERT_EQ(import(path), "") << path;
        Image made = image();
        EXPECT_THAT(std::string(load_weights(made.bytes(), allocator).value().provenance),
                    HasSubstr("tokenizer=other."));
    }
    EXPECT_THAT(import("model/bareflow-stories.tokenizer.bin"), HasSubstr("has 1024 pieces"));
}

TEST_F(HfImport, CarriesChatTemplateSpecialTokensAndSamplingDefaults) {
    write_model(MadeUpModel(config_of_300()));
    write(
        "tokenizer_config.json",
        R"({"chat_template":"{{ messages }}","added_tokens_decoder":{"0":{"content":"<unk>","special":true},)"
        R"("285":{"content":"<|im_end|>","special":true}}})");
    EXPECT_TRUE(open_hf_folder(folder / "", true).value()->vocabulary()->add_bos);
    write("generation_config.json", R"({"temperature":0.6,"do_sample":true,"eos_token_id":[285,2]})");
    std::unique_ptr<ModelSource> model = open_hf_folder(folder / "", true).take();
    EXPECT_EQ(model->chat_template(), "{{ messages }}");
    EXPECT_EQ(model->sampling_defaults(), "temp=0.6\n");
    EXPECT_EQ(model->config().eos_id, 285u);
    ASSERT_EQ(model->vocabulary()->pieces.size(), 286u);
    EXPECT_EQ(model->vocabulary()->pieces[285].text, "<|im_end|>");
    EXPECT_EQ(model->vocabulary()->pieces[285].type, kControl);
    write("chat_template.jinja", "newer");
    write("tokenizer_config.json", R"({"add_bos_token":false})");
    EXPECT_FALSE(open_hf_folder(folder / "", true).value()->vocabulary()->add_bos);
    EXPECT_EQ(open_hf_folder(folder / "", true).value()->chat_template(), "newer");
    remove("tokenizer_config.json");
    write("added_tokens.json", R"({"<pad>":286,"<|im_end|>":285})");
    model = open_hf_folder(folder / "", true).take();
    EXPECT_EQ(model->vocabulary()->pieces[286].text, "<pad>");
    write("added_tokens.json", R"({"<pad>":287})");
    EXPECT_THAT(import(), HasSubstr("added_tokens.json: added token 287 leaves a gap"));
}

TEST_F(HfImport, LeavesOutAddedTokensThatHaveNoEmbedding) {
    ModelConfig config = config_of_300();
    config.vocab_size = 285;
    write_model(MadeUpModel(config));
    write("tokenizer_config.json", R"({"added_tokens_decoder":{"285":{"content":"<pad>","special":true}}})");
    ASSERT_EQ(import(), "");
    EXPECT_EQ(open_hf_folder(folder / "", true).value()->vocabulary()->pieces.size(), 285u);
}

TEST_F(HfImport, FindsSpecialTokensByNameWhereNoIdIsSaid) {
    const MadeUpModel model(config_of_300());
    write_model(model);
    std::string config = config_json(model.config());
    for (const char* member : {",\"bos_token_id\":1", ",\"eos_token_id\":2"})
        config.erase(config.find(member), 17);
    write("config.json", config);
    write("tokenizer_config.json", R"({"bos_token":"a","eos_token":{"content":"z"}})");
    const std::unique_ptr<ModelSource> opened = open_hf_folder(folder / "", true).take();
    EXPECT_EQ(opened->config().bos_id, 259u);
    EXPECT_EQ(opened->config().eos_id, 284u);
    write("generation_config.json", R"({"eos_token_id":300})");
    EXPECT_THAT(import(), HasSubstr("token 300 is no token; vocab_size is 300"));
}

TEST_F(HfImport, IgnoresWhatTransformersLeavesInFiles) {
    const MadeUpModel model(config_of_300());
    write_model(model);
    std::vector<HfTensor> tensors = testing::hf_tensors(model, "F32");
    tensors.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", "F32", "[2]", std::string(8, '\0')});
    tensors.push_back({"lm_head.weight", "F32", "[2]", std::string(8, '\0')});  // tied: not used
    write("model.safetensors", testing::safetensors(tensors));
    EXPECT_EQ(import(), "");
}

TEST_F(HfImport, RefusesTensorsThatDoNotFitTheConfiguration) {
    const MadeUpModel model(config_of_300(false));
    write_model(model);
    const std::vector<HfTensor> good = testing::hf_tensors(model, "F16");
    const auto with = [&](const std::string& name,
                          const std::function<void(std::vector<HfTensor>&, HfTensor&)>& change) {
        std::vector<HfTensor> tensors = good;
        for (size_t i = 0; i < tensors.size(); ++i) {
            if (tensors[i].name != name) continue;
            change(tensors, tensors[i]);
            break;
        }
        write("model.safetensors", testing::safetensors(tensors));
        return import();
    };
    const std::string key = "model.layers.1.self_attn.k_proj.weight";
    EXPECT_EQ(with("", {}), "");
    EXPECT_THAT(with(key, [](auto&, HfTensor& tensor) { tensor.name = "x"; }),
                HasSubstr("no tensor model.layers.1.self_attn.k_proj.weight"));
    EXPECT_THAT(with("lm_head.weight", [](auto&, HfTensor& tensor) { tensor.name = "x"; }),
                HasSubstr("no tensor lm_head.weight"));
    EXPECT_THAT(with(key, [](auto&, HfTensor& tensor) { tensor.shape = "[4,16]"; }),
                HasSubstr("k_proj.weight (offset"));
    EXPECT_THAT(with(key, [](auto&, HfTensor& tensor) { tensor.shape = "[4,16]"; }),
                HasSubstr("is 4 x 16, config.json asks for 8 x 8"));
    EXPECT_THAT(with(key, [](auto&, HfTensor& tensor) { tensor.shape = "[64]"; }),
                HasSubstr("is 64, config.json asks for"));
    EXPECT_THAT(with("model.norm.weight", [](auto&, HfTensor& tensor) { tensor.shape = "[8,1]"; }),
                HasSubstr("is 8 x 1"));
    EXPECT_THAT(with(key, [](auto&, HfTensor& tensor) { tensor.dtype = "I16"; }),
                HasSubstr("is of type I16; F32, F16 and BF16 can be read"));
    EXPECT_THAT(with(key,
                     [](auto& tensors, HfTensor&) {
                         tensors.push_back(
                             {"model.layers.0.self_attn.q_proj.bias", "F16", "[16]", std::string(32, '\0')});
                     }),
                HasSubstr("holds model.layers.0.self_attn.q_proj.bias (offset"));
    EXPECT_THAT(with(key, [](auto&, HfTensor& tensor) { tensor.bytes[1] = '\x7C', tensor.bytes[0] = 0; }),
                HasSubstr("key of layer 1, row 0, column 0: a weight not finite"));
}

TEST_F(HfImport, RefusesFoldersThatLackSomething) {
    EXPECT_THAT(import(), HasSubstr("holds no config.json"));
    write_model(MadeUpModel(config_of_300()));
    remove("model.safetensors");
    EXPECT_THAT(import(), HasSubstr("holds no model.safetensors and no model.safetensors.index.json"));
    write_model(MadeUpModel(config_of_300()));
    write("config.json", "{");
    EXPECT_THAT(import(), HasSubstr("config.json: is no JSON from offset"));
    write("config.json", std::string((1 << 20) + 1, ' '));
    EXPECT_THAT(import(), HasSubstr("config.json: 1048577 bytes, more than 1048576"));
    write_model(MadeUpModel(config_of_300()));
    ModelConfig small = config_of_300();
    small.vocab_size = 284;
    write_model(MadeUpModel(small));
    EXPECT_THAT(import(), HasSubstr("tokenizer.model: has 285 pieces, but config.json's vocab_size is 284"));
}

TEST_F(HfImport, InspectPrintsWhatAFolderItsWeightsAndItsTokenizerHold) {
    write_model(MadeUpModel(config_of_300()), "BF16", 2);
    write("tokenizer.json", testing::tokenizer_json(vocabulary_of_300()));
    const auto shown = [](const std::string& path) {
        std::ostringstream out;
        EXPECT_TRUE(is_hugging_face(path));
        const auto done = inspect_hugging_face(path, out);
        return done.ok() ? out.str() : std::string(done.error().message());
    };
    for (const char* part :
         {"Hugging Face safetensors (BF16)", "2 layers, hidden 8", "4 heads of 4, 2 kv heads", "pieces: 285",
          "model.layers.1.mlp.up_proj.weight", "18 x 8", "model-00002-of-00002.safetensors"}) {
        EXPECT_THAT(shown(folder / ""), HasSubstr(part));
    }
    EXPECT_THAT(shown(folder / "model-00001-of-00002.safetensors"), HasSubstr("tensors: 10\n"));
    EXPECT_THAT(shown(folder / "model.safetensors.index.json"), HasSubstr("tensors: 20\n"));
    EXPECT_THAT(shown(folder / "tokenizer.model"), HasSubstr("byte             256"));
    EXPECT_THAT(shown(folder / "tokenizer.json"), HasSubstr("pieces: 285, dummy prefix"));
    write("tokenizer.model", "no");
    EXPECT_THAT(shown(folder / "tokenizer.model"), HasSubstr("no SentencePiece model from offset"));
    EXPECT_FALSE(is_hugging_face("m.wllm"));
}

TEST_F(HfImport, AFolderIsKeptLikeAFileUntilOneOfItsFilesChanges) {
    write_model(MadeUpModel(config_of_300()));
    const ModelCache cache{.folder = output / "kept", .least_bytes = 1};
    const auto open = [&] {
        const auto file = open_model(folder / "", "", false, cache);
        EXPECT_TRUE(file.ok()) << file.error().message();
        return std::distance(std::filesystem::directory_iterator(cache.folder),
                             std::filesystem::directory_iterator());
    };
    EXPECT_EQ(open(), 1);
    EXPECT_EQ(open(), 1);
    write("config.json", config_json(config_of_300(), ",\"rope_theta\":20000"));
    EXPECT_EQ(open(), 2);
    EXPECT_FALSE(ModelCache({.folder = output / "", .least_bytes = uint64_t{1} << 30}).keeps(folder / ""));
}

}  // namespace
}  // namespace bareflow
