// Models in GGUF become the .wllm that they would be from elsewhere.
#include "model/tools/gguf.h"

#include "arch/base/float16.h"
#include "arch/base/quantised.h"
#include "model/tokenizer_section.h"
#include "model/tools/inspect.h"
#include "model/tools/llama2c.h"
#include "model/tools/llama2c_tokenizer.h"
#include "tests/gguf/doubled_model.h"
#include "tests/gguf/gguf_encode.h"
#include "tests/unit/model/gguf_support.h"

namespace bareflow::gguf {
namespace {

using ::testing::HasSubstr;

/// Element (n, k) of a stored tensor.
float stored(Image& image, const wllm::TensorEntry& entry, uint32_t n, uint32_t k) {
    const uint64_t index = entry.layout == Layout::kRowMajor
                               ? uint64_t{n} * entry.columns + k
                               : n / 16 * 16 * uint64_t{entry.columns} + k * 16 + n % 16;
    if (entry.type == ElementType::kF32) return image.at<float>(entry.offset + index * 4);
    if (entry.type == ElementType::kF16) return f32_from_f16(image.at<uint16_t>(entry.offset + index * 2));
    return dequantised(entry.type, image.data() + entry.offset, entry.columns, n, k);
}

TEST_F(GgufTest, EveryVersionTiedOrNotGivesTheWeightsThatWereWritten) {
    for (const uint32_t version : {1u, 2u, 3u}) {
        for (const bool tied : {true, false}) {
            for (const TensorType type : {TensorType::kF32, TensorType::kF16, TensorType::kBF16}) {
                const ModelConfig config = gguf_config(tied);
                // Its weights are multiples of 2^-10 up to 1: BF16 keeps them where they have eight bits.
                ASSERT_EQ(import(Parts(config, type, version).bytes(), {.all = ElementType::kF32}), "");
                EXPECT_EQ(summary.source_format, "GGUF v" + std::to_string(version));
                Image image = output();
                const Weights weights = load_weights(image.bytes(), allocator).take();
                EXPECT_EQ(weights.config, config);
                for (uint32_t i = 0; i < image.tensor_count(); ++i) {
                    const wllm::TensorEntry& entry = image.tensor(i);
                    for (uint32_t n = 0; n < entry.rows; ++n) {
                        for (uint32_t k = 0; k < entry.columns; ++k) {
                            const float expected = MadeUpModel::weight({entry.kind, entry.layer}, n, k);
                            const float bound = type == TensorType::kBF16 ? std::abs(expected) / 256 : 0;
                            ASSERT_NEAR(stored(image, entry, n, k), expected, bound)
                                << wllm::name_of(entry.kind) << " " << n << " " << k;
                        }
                    }
                }
            }
        }
    }
}

TEST_F(GgufTest, HeadsNeedNotFillTheHiddenSize) {
    ModelConfig config = gguf_config(false);
    config.head_size = 16;  // four of them: 64, of a hidden size of 32
    ASSERT_EQ(import(Parts(config)), "");
    Image image = output();
    EXPECT_EQ(load_weights(image.bytes(), allocator).value().config, config);
}

TEST_F(GgufTest, Q8_0AndQ4_0KeepEveryBit) {
    for (const TensorType type : {TensorType::kQ8_0, TensorType::kQ4_0}) {
        Parts parts(gguf_config(false), type);
        // Scales and values that no quantiser would choose, so that nothing but copying can keep them.
        for (size_t i = 0; i < parts.data.size(); ++i) {
            if (parts.data[i] % 3 == 0 && parts.data[i] != 0x81) parts.data[i] ^= 1;
        }
        ASSERT_EQ(import(parts), "");
        Image image = output();
        size_t matrices = 0;
        for (uint32_t i = 0; i < image.tensor_count(); ++i) {
            const wllm::TensorEntry& entry = image.tensor(i);
            if (is_norm(entry.kind)) continue;
            ASSERT_EQ(entry.type, type == TensorType::kQ8_0 ? ElementType::kQ8_0 : ElementType::kQ4_0);
            EXPECT_TRUE(summary.tensors[i].kept);
            ++matrices;
            const uint32_t block_bytes = block_shape(type)->bytes;
            const uint8_t* source = parts.data.data() + parts.tensors[i].offset;
            std::vector<float> expected(size_t{entry.rows} * entry.columns);
            dequantise(type, {source, expected.size() / kGroup * block_bytes}, expected);
            for (uint32_t n = 0; n < entry.rows; ++n) {
                for (uint32_t k = 0; k < entry.columns; ++k)
                    ASSERT_EQ(stored(image, entry, n, k), expected[n * entry.columns + k]) << n << " " << k;
            }
        }
        EXPECT_EQ(matrices, 2 * 7 + 2u);
    }
}

TEST_F(GgufTest, EachTensorBecomesWhatComesNearestToItUnlessAskedOtherwise) {
    using enum TensorType;
    const std::map<TensorType, ElementType> rule = {{kF32, ElementType::kF32},   {kF16, ElementType::kF16},
                                                    {kBF16, ElementType::kF16},  {kQ8_0, ElementType::kQ8_0},
                                                    {kQ4_0, ElementType::kQ4_0}, {kQ4_1, ElementType::kQ8_0},
                                                    {kQ5_0, ElementType::kQ8_0}, {kQ5_1, ElementType::kQ8_0}};
    for (const auto& [from, to] : rule) {
        ASSERT_EQ(import(Parts(gguf_config(), from)), "") << name_of(from);
        EXPECT_EQ(output().tensor(2).type, to) << name_of(from);
        ASSERT_EQ(import(Parts(gguf_config(), from).bytes(), {.all = ElementType::kQ4_0}), "");
        EXPECT_EQ(output().tensor(2).type, ElementType::kQ4_0) << name_of(from);
    }
    EXPECT_THAT(import(Parts(gguf_config(), kQ5_0).bytes(), {}, Layout::kRowMajor), HasSubstr("--quant f16"));
    EXPECT_EQ(import(Parts(gguf_config(), kQ5_0).bytes(), {.all = ElementType::kF16}, Layout::kRowMajor), "");
}

TEST_F(GgufTest, AMixtureOfKQuantsIsReadTensorByTensor) {
    ModelConfig config = gguf_config(false);
    config.hidden_size = config.intermediate_size = 256;
    config.head_size = 64;
    Parts parts(config);
    parts.options.type_of = [&](TensorName name) { return q4_k_m(name, config.num_layers); };
    parts.tensors = tensors_of(config, parts.options);
    std::ostringstream out;
    write_tensors(MadeUpModel(config), parts.options, out);
    const std::string text = out.str();
    parts.data.assign(text.begin(), text.end());
    ASSERT_EQ(import(parts.bytes(), {.all = ElementType::kF32}), "");
    Image image = output();
    std::set<TensorType> types;
    for (uint32_t i = 0; i < image.tensor_count(); ++i) {
        const wllm::TensorEntry& entry = image.tensor(i);
        const TensorType type{parts.tensors[i].type};
        types.insert(type);
        const BlockShape& shape = *block_shape(type);
        std::vector<float> expected(size_t{entry.rows} * entry.columns);
        dequantise(
            type, {parts.data.data() + parts.tensors[i].offset, expected.size() / shape.values * shape.bytes},
            expected);
        for (uint32_t n = 0; n < entry.rows; n += 7)
            ASSERT_EQ(stored(image, entry, n, entry.columns - 1), expected[(n + 1) * entry.columns - 1]);
    }
    EXPECT_EQ(types, (std::set{TensorType::kF32, TensorType::kQ4_K, TensorType::kQ6_K}));
    ASSERT_EQ(import(parts), "");
    EXPECT_EQ(output().tensor(2).type, ElementType::kQ8_0);
}

TEST_F(GgufTest, TheVocabularyIsTheOneThatWasWritten) {
    Parts parts;
    parts.metadata.flag("tokenizer.ggml.add_space_prefix", false);
    parts.metadata.flag("tokenizer.ggml.add_bos_token", false);
    ASSERT_EQ(import(parts), "");
    Image image = output();
    const Weights weights = load_weights(image.bytes(), allocator).take();
    const TokenizerSection section = read_tokenizer_section(weights.tokenizer).take();
    EXPECT_FALSE(section.add_dummy_prefix);
    EXPECT_FALSE(section.add_bos);
    const Vocabulary expected = small_vocabulary();
    ASSERT_EQ(section.count(), expected.pieces.size());
    for (uint32_t i = 0; i < section.count(); ++i) {
        EXPECT_EQ(section.piece(i), expected.pieces[i].text);
        EXPECT_EQ(section.scores[i], expected.pieces[i].score);
        EXPECT_EQ(section.types[i], expected.pieces[i].type);
    }
    parts.metadata.remove("tokenizer.ggml.add_space_prefix");
    parts.metadata.remove("tokenizer.ggml.add_bos_token");
    parts.metadata.remove("tokenizer.ggml.token_type");
    ASSERT_EQ(import(parts), "");
    Image without = output();
    const Weights inferred = load_weights(without.bytes(), allocator).take();
    const TokenizerSection by_text = read_tokenizer_section(inferred.tokenizer).take();
    EXPECT_TRUE(by_text.add_dummy_prefix);
    EXPECT_TRUE(by_text.add_bos);
    for (uint32_t i = 0; i < section.count(); ++i) EXPECT_EQ(by_text.types[i], expected.pieces[i].type) << i;
}

TEST_F(GgufTest, WhatTheMetadataLeaveOutIsWhatLlamaCppTakes) {
    Parts parts;
    for (const char* key : {"llama.rope.freq_base", "llama.vocab_size", "llama.attention.head_count_kv",
                            "llama.rope.dimension_count", "tokenizer.ggml.bos_token_id",
                            "tokenizer.ggml.eos_token_id", "tokenizer.ggml.unknown_token_id"}) {
        parts.metadata.remove(key);
    }
    parts.metadata.number("llama.attention.head_count_kv", 2u);
    EXPECT_THAT(import(parts), HasSubstr("token_embd.weight"));  // 9 pieces, but 10 rows
    parts.metadata.number("llama.vocab_size", 10u);
    ASSERT_EQ(import(parts), "");
    Image image = output();
    EXPECT_EQ(load_weights(image.bytes(), allocator).value().config, gguf_config());
}

TEST_F(GgufTest, RopeScalingIsLinearOrRefused) {
    const auto scaling = [&](const Parts& parts) {
        EXPECT_EQ(import(parts), "");
        Image image = output();
        return load_weights(image.bytes(), allocator).value().config.rope_scaling;
    };
    Parts parts;
    parts.metadata.number("llama.rope.scale_linear", 2.0f);
    EXPECT_EQ(scaling(parts), 2);
    parts.metadata.number("llama.rope.scaling.factor", 4.0f);
    EXPECT_EQ(scaling(parts), 4);
    parts.metadata.text("llama.rope.scaling.type", "linear");
    EXPECT_EQ(scaling(parts), 4);
    parts.metadata.number("llama.rope.scaling.factor", 1.0f);
    EXPECT_EQ(scaling(parts), 0);
    parts.metadata.number("llama.rope.scaling.factor", 4.0f);
    parts.metadata.text("llama.rope.scaling.type", "none");
    EXPECT_EQ(scaling(parts), 0);
    parts.metadata.text("llama.rope.scaling.type", "yarn");
    EXPECT_THAT(import(parts), HasSubstr("scaling \"yarn\" cannot be computed"));
    parts.metadata.text("llama.rope.scaling.type", "linear");
    parts.metadata.number("llama.rope.scaling.factor", -1.0f);
    EXPECT_THAT(import(parts), HasSubstr("no positive factor"));
}

TEST_F(GgufTest, TemplateSamplingDefaultsAndOriginComeAlong) {
    Parts parts;
    const std::string jinja = "{% for message in messages %}{{ message['content'] }}{% endfor %}";
    parts.metadata.text("tokenizer.chat_template", jinja);
    parts.metadata.number("general.sampling.temp", 0.6f);
    parts.metadata.signed_number("general.sampling.top_k", 20);
    parts.metadata.number("general.sampling.top_p", 0.95f);
    parts.metadata.number("general.sampling.min_p", 0.0f);
    parts.metadata.number("general.sampling.penalty_repeat", 1.1f);
    parts.metadata.text("general.license", "MIT\nnot=a line");
    ASSERT_EQ(import(parts), "");
    Image image = output();
    const Weights weights = load_weights(image.bytes(), allocator).take();
    EXPECT_EQ(weights.chat_template, jinja);
    EXPECT_EQ(weights.defaults, "temp=0.6\ntop-k=20\ntop-p=0.95\nmin-p=0\nrepeat-penalty=1.1\n");
    const std::string provenance(weights.provenance);
    EXPECT_THAT(provenance, HasSubstr("source=m.gguf\nsource_format=GGUF v3\n"));
    EXPECT_THAT(provenance, HasSubstr("\nname=test\nlicense=MIT?not=a line\n"));
    parts.metadata.signed_number("general.sampling.top_k", -1);
    ASSERT_EQ(import(parts), "");
    Image all = output();
    EXPECT_THAT(std::string(load_weights(all.bytes(), allocator).value().defaults), HasSubstr("top-k=0\n"));
    parts.metadata.number("general.sampling.top_p", 1.5f);
    EXPECT_THAT(import(parts), HasSubstr("general.sampling.top_p (offset"));
}

TEST_F(GgufTest, InspectShowsMetadataAndTensorsAndCutsWhatIsLong) {
    Parts parts(gguf_config(), TensorType::kQ5_1);
    parts.metadata.text("tokenizer.chat_template", std::string(5000, 'x') + "\n");
    parts.metadata.text("general.name", std::string(79, 'a') + "\xC3\xA9z");  // é is cut in two
    folder.write("m.gguf", parts.bytes());
    std::ostringstream out;
    ASSERT_TRUE(inspect_model(folder / "m.gguf", out).ok());
    for (const char* part :
         {"gguf version 3", "general.architecture (string) = \"llama\"", "5001 bytes",
          "tokenizer.ggml.tokens (string[9]) = \"<unk>\", \"<s>\"", "blk.1.ffn_down.weight", "64 x 32",
          "Q5_1", "aaa\" ... 82 bytes", "tokenizer.ggml.add_bos_token (bool) = true"}) {
        EXPECT_THAT(out.str(), HasSubstr(part));
    }
    EXPECT_LT(out.str().size(), 6000u);
    EXPECT_TRUE(is_utf8(out.str()));
}

TEST_F(GgufTest, InspectShowsAModelThatCannotBeImported) {
    Parts parts;
    parts.tensors[2].type = 23;
    parts.metadata.text("general.architecture", "qwen2");
    folder.write("m.gguf", parts.bytes());
    std::ostringstream out;
    ASSERT_TRUE(inspect_model(folder / "m.gguf", out).ok());
    EXPECT_THAT(out.str(), HasSubstr("IQ4_XS"));
    EXPECT_THAT(out.str(), HasSubstr("\"qwen2\""));
}

/// The default model, from llama2.c's file and by way of a GGUF.
class DefaultModelAsGguf : public GgufTest {
 protected:
    void SetUp() override {
        model = open_llama2c("model/bareflow-stories.bin").take();
        const auto file = InputFile::open("model/bareflow-stories.tokenizer.bin").take();
        vocabulary = read_llama2c_tokenizer(file).take();
    }
    std::string import_as(TensorType type, ElementType stored) {
        std::ofstream out(folder / "d.gguf", std::ios::binary);
        write_model(*model, vocabulary, {.type_of = [type](TensorName) { return type; }}, out);
        out.close();
        return import(Bytes(read_file(folder / "d.gguf")), {.all = stored});
    }
    Image direct(ElementType stored) {
        ImportRequest request;
        request.model = "model/bareflow-stories.bin";
        request.types.all = stored;
        import_model(request, folder / "direct.wllm").take();
        return Image(read_file(folder / "direct.wllm"));
    }
    std::unique_ptr<ModelSource> model;
    Vocabulary vocabulary;
};

TEST_F(DefaultModelAsGguf, IsTheSameModelByEitherRoadInEachTypeThatIsTaken) {
    const std::pair<TensorType, ElementType> types[] = {{TensorType::kF32, ElementType::kF32},
                                                        {TensorType::kF32, ElementType::kQ4_0},
                                                        {TensorType::kF16, ElementType::kF16},
                                                        {TensorType::kQ8_0, ElementType::kQ8_0},
                                                        {TensorType::kQ4_0, ElementType::kQ4_0}};
    for (const auto& [in_file, in_memory] : types) {
        ASSERT_EQ(import_as(in_file, in_memory), "");
        Image ours = output(), expected = direct(in_memory);
        const Weights a = load_weights(ours.bytes(), allocator).take();
        const Weights b = load_weights(expected.bytes(), allocator).take();
        EXPECT_EQ(a.config, b.config);
        EXPECT_TRUE(
            std::equal(a.tokenizer.begin(), a.tokenizer.end(), b.tokenizer.begin(), b.tokenizer.end()));
        for (uint32_t i = 0; i < ours.tensor_count(); ++i) {  // so every text is the same, and every logit
            EXPECT_EQ(ours.tensor(i).crc32c, expected.tensor(i).crc32c)
                << name_of(in_file) << " " << wllm::name_of(ours.tensor(i).kind);
        }
    }
}

TEST_F(DefaultModelAsGguf, TwiceAsWideItIsWithinTheRoundingOfEachKQuant) {
    const DoubledModel doubled(*model);
    for (const TensorType type : {TensorType::kQ2_K, TensorType::kQ6_K}) {
        std::ofstream out(folder / "d.gguf", std::ios::binary);
        write_model(doubled, vocabulary, {.type_of = [type](TensorName) { return type; }}, out);
        out.close();
        ASSERT_EQ(import(Bytes(read_file(folder / "d.gguf")), {.all = ElementType::kF32}), "");
        Image image = output();
        double error = 0, squares = 0;
        std::vector<float> row(256);
        const wllm::TensorEntry& embedding = image.tensor(0);
        for (uint32_t n = 0; n < embedding.rows; ++n) {
            ASSERT_TRUE(doubled.read_rows({embedding.kind, embedding.layer}, n, 1, row).ok());
            for (uint32_t k = 0; k < embedding.columns; ++k) {
                error += std::pow(double{stored(image, embedding, n, k)} - double{row[k]}, 2);
                squares += std::pow(double{row[k]}, 2);
            }
        }
        EXPECT_LT(std::sqrt(error / squares), type == TensorType::kQ2_K ? 0.35 : 0.025);
    }
}

}  // namespace
}  // namespace bareflow::gguf
