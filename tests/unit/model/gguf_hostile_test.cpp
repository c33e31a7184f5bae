// GGUF files that cannot be true, or ask for what there is not: each is refused by name and offset.
#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "model/tools/gguf_file.h"
#include "tests/unit/model/gguf_support.h"

namespace bareflow::gguf {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class HostileGguf : public GgufTest {
 protected:
    template <typename Change>
    std::string with(Change change) {
        Parts parts;
        change(parts);
        const std::string message = import(parts);
        EXPECT_LT(message.size(), 232u) << "cut off: " << message;
        return message;
    }
    /// The whole file with some bytes changed.
    template <typename T>
    std::string with_value(uint64_t offset, T value) {
        Bytes bytes = Parts().bytes();
        std::memcpy(bytes.data() + offset, &value, sizeof value);
        return import(bytes);
    }
};

constexpr uint64_t kHuge = std::numeric_limits<uint64_t>::max();

TEST_F(HostileGguf, HeadersThatCannotBeTrue) {
    EXPECT_THAT(with_value(4, 0u), HasSubstr("version (offset 4) is 0"));
    EXPECT_THAT(with_value(4, 4u), HasSubstr("version (offset 4) is 4"));
    EXPECT_THAT(with_value(4, 0x03000000u), HasSubstr("is 3, and the file is big-endian"));
    EXPECT_THAT(with_value(8, kHuge), HasSubstr("tensor_count (offset 8)"));
    EXPECT_THAT(with_value(8, uint64_t{1} << 16), HasSubstr("tensor 20"));
    EXPECT_THAT(with_value(16, kHuge), HasSubstr("metadata_kv_count (offset 16)"));
    EXPECT_THAT(with_value(24, kHuge),
                HasSubstr("metadata key 0 (offset 24) has 18446744073709551615 bytes"));
}

TEST_F(HostileGguf, AFileCutShortAnywhere) {
    for (const uint32_t version : {1u, 3u}) {
        const Bytes whole = Parts(gguf_config(), TensorType::kQ8_0, version).bytes();
        ASSERT_EQ(import(whole), "");
        for (size_t size = 0; size < whole.size(); size += size < 2500 ? 7 : 631) {
            EXPECT_NE(import(Bytes(whole.begin(), whole.begin() + static_cast<long>(size))), "") << size;
        }
    }
}

TEST_F(HostileGguf, MetadataThatCannotBeTrue) {
    EXPECT_THAT(with([](Parts& p) { p.metadata.repeat("llama.block_count"); }),
                HasSubstr("llama.block_count (offset"));
    EXPECT_THAT(with([](Parts& p) { p.metadata.repeat("llama.block_count"); }), HasSubstr("a second time"));
    EXPECT_THAT(with([](Parts& p) { p.metadata.set("x", 13, [](Encoder&) {}); }),
                HasSubstr("x: its type (offset"));
    EXPECT_THAT(with([](Parts& p) { p.metadata.set("x", 9, [](Encoder& e) { e.put(9u).count(0); }); }),
                HasSubstr("an array of arrays"));
    EXPECT_THAT(with([](Parts& p) { p.metadata.set("x", 9, [](Encoder& e) { e.put(77u).count(0); }); }),
                HasSubstr("is 77, which there is not"));
    EXPECT_THAT(
        with([](Parts& p) { p.metadata.set("x", 9, [](Encoder& e) { e.put(12u).count(kHuge / 8 + 1); }); }),
        HasSubstr("more than the file holds"));
    EXPECT_THAT(with([](Parts& p) { p.metadata.set("x", 9, [](Encoder& e) { e.put(8u).count(kHuge); }); }),
                HasSubstr("would end behind"));
    EXPECT_THAT(with([](Parts& p) { p.metadata.set("x", 8, [](Encoder& e) { e.count(kHuge); }); }),
                HasSubstr("would end behind"));
    EXPECT_THAT(with([](Parts& p) { p.metadata.number(std::string(1025, 'k'), 1u); }),
                HasSubstr("has 1025 bytes"));
    for (const uint32_t alignment : {0u, 1u, 4u, 24u, 1u << 21}) {
        EXPECT_THAT(with([=](Parts& p) { p.metadata.number("general.alignment", alignment); }),
                    HasSubstr("general.alignment (offset"))
            << alignment;
    }
    EXPECT_EQ(with([](Parts& p) {
                  p.metadata.number("general.alignment", 64u);
                  p.options.alignment = 64;
                  p.tensors = tensors_of(p.config, p.options);
                  std::ostringstream out;
                  write_tensors(MadeUpModel(p.config), p.options, out);
                  const std::string text = out.str();
                  p.data.assign(text.begin(), text.end());
              }),
              "");
}

TEST_F(HostileGguf, TensorsThatCannotBeTrue) {
    const auto tensor = [&](auto change) { return with([&](Parts& p) { change(p.tensors[2]); }); };
    EXPECT_THAT(tensor([](TensorInfo& t) { t.name = "blk.0.attn_norm.weight"; }), HasSubstr("a second time"));
    EXPECT_THAT(tensor([](TensorInfo& t) { t.name = std::string(65, 'n'); }), HasSubstr("has 65 bytes"));
    EXPECT_THAT(tensor([](TensorInfo& t) { t.sizes = {}; }), HasSubstr("n_dims (offset"));
    EXPECT_THAT(tensor([](TensorInfo& t) {
                    t.sizes = {32, 32, 1, 1, 1};
                }),
                HasSubstr("is 5, must be 1 to 4"));
    EXPECT_EQ(tensor([](TensorInfo& t) { t.sizes = {32, 32, 1, 1}; }), "");
    EXPECT_THAT(tensor([](TensorInfo& t) { t.sizes = {32, 0}; }), HasSubstr("dimension 1 (offset"));
    EXPECT_THAT(tensor([](TensorInfo& t) { t.sizes = {uint64_t{1} << 62, 4}; }), HasSubstr("overflows"));
    EXPECT_THAT(tensor([](TensorInfo& t) {
                    t.sizes = {uint64_t{1} << 32, uint64_t{1} << 32, 2};
                }),
                HasSubstr("overflows"));
    EXPECT_THAT(tensor([](TensorInfo& t) {
                    t.sizes = {1024, 1024};
                }),
                HasSubstr("would end behind the file"));
    EXPECT_THAT(tensor([](TensorInfo& t) { t.sizes = {16, 64}; }), HasSubstr("the metadata ask for 32 x 32"));
    EXPECT_THAT(tensor([](TensorInfo& t) { t.type = 1; }), "");
    EXPECT_THAT(tensor([](TensorInfo& t) { t.type = 12; }), HasSubstr("32 columns are no multiple of 256"));
    EXPECT_THAT(tensor([](TensorInfo& t) { t.type = 23; }), HasSubstr("is of type 23 (IQ4_XS)"));
    EXPECT_THAT(tensor([](TensorInfo& t) { t.type = 4711; }), HasSubstr("is of type 4711 (unknown)"));
    EXPECT_THAT(tensor([](TensorInfo& t) { t.offset += 4; }), HasSubstr("no multiple of the alignment, 32"));
    EXPECT_THAT(tensor([](TensorInfo& t) { t.offset += 32; }), HasSubstr("overlap at"));
    EXPECT_THAT(tensor([](TensorInfo& t) { t.offset = 0; }), HasSubstr("overlap at"));
    EXPECT_THAT(tensor([](TensorInfo& t) { t.offset = kHuge - 31; }), HasSubstr("would end behind the file"));
    EXPECT_THAT(tensor([](TensorInfo& t) { t.name = "blk.0.attn_q.bias"; }),
                HasSubstr("there is no tensor blk.0.attn_q.weight"));
    EXPECT_THAT(with([](Parts& p) { p.tensors[1].type = 8; }), HasSubstr("norms can be read in"));
}

TEST_F(HostileGguf, TensorsThatAPlainModelDoesNotHave) {
    const auto more = [&](const std::string& name) {
        return with([&](Parts& p) {
            p.tensors.push_back({name, {4}, 0, p.data.size()});
            p.data.resize(p.data.size() + 32);
        });
    };
    EXPECT_THAT(more("rope_freqs.weight"), HasSubstr("RoPE frequencies of its own"));
    EXPECT_THAT(more("blk.0.attn_q.bias"), HasSubstr("a plain llama model has no such tensor"));
    EXPECT_THAT(more("blk.2.attn_q.weight"), HasSubstr("blk.2.attn_q.weight (at"));
    EXPECT_THAT(with([](Parts& p) {
                    p.tensors[1].sizes = {16, 2};
                }),
                HasSubstr("the metadata ask for 32 x 1"));
}

TEST_F(HostileGguf, NumbersThatCannotBeTrueAreNamedWithTheirOffset) {
    struct Case {
        const char* key;
        uint32_t value;
    };
    const Case cases[] = {{"llama.block_count", 0},
                          {"llama.block_count", 4097},
                          {"llama.embedding_length", 0},
                          {"llama.embedding_length", (1u << 24) + 1},
                          {"llama.feed_forward_length", 0},
                          {"llama.context_length", 0},
                          {"llama.vocab_size", 0},
                          {"llama.vocab_size", 8},
                          {"llama.attention.head_count", 0},
                          {"llama.attention.head_count_kv", 0},
                          {"llama.attention.head_count_kv", 3},
                          {"llama.attention.head_count_kv", 8},
                          {"llama.rope.dimension_count", 4},
                          {"llama.attention.value_length", 16},
                          {"llama.expert_count", 8},
                          {"general.quantization_version", 1},
                          {"split.count", 2},
                          {"tokenizer.ggml.bos_token_id", 9},
                          {"tokenizer.ggml.eos_token_id", 0xFFFFFFFF}};
    for (const Case& c : cases) {
        Parts parts;
        parts.metadata.number(c.key, c.value);
        const auto place = FixedString<80>::formatted("{} (offset {})", c.key, parts.offset_of(c.key));
        EXPECT_THAT(import(parts), HasSubstr(std::string(place.view()))) << c.value;
    }
    EXPECT_THAT(with([](Parts& p) { p.metadata.number("llama.attention.head_count", 3u); }),
                HasSubstr("does not divide llama.attention.head_count, 3"));
    EXPECT_THAT(with([](Parts& p) {
                    p.metadata.number("llama.attention.head_count", 3u);
                    p.metadata.number("llama.attention.head_count_kv", 3u);
                }),
                HasSubstr("no multiple of llama.attention.head_count (offset"));
    const float nan = std::numeric_limits<float>::quiet_NaN();
    for (const char* key : {"llama.rope.freq_base", "llama.attention.layer_norm_rms_epsilon"}) {
        for (const float value : {0.0f, -1.0f, nan})
            EXPECT_THAT(with([&](Parts& p) { p.metadata.number(key, value); }), HasSubstr(key)) << value;
    }
}

TEST_F(HostileGguf, ValuesOfAnotherTypeOrMissing) {
    for (const char* key :
         {"general.architecture", "llama.block_count", "llama.embedding_length", "llama.feed_forward_length",
          "llama.context_length", "llama.attention.head_count", "llama.attention.layer_norm_rms_epsilon",
          "tokenizer.ggml.model", "tokenizer.ggml.tokens", "tokenizer.ggml.scores"}) {
        EXPECT_THAT(with([&](Parts& p) { p.metadata.remove(key); }),
                    HasSubstr(std::string(key) + " is not among"));
    }
    EXPECT_THAT(with([](Parts& p) { p.metadata.text("llama.block_count", "2"); }),
                HasSubstr("is of type string, must be a whole number"));
    EXPECT_THAT(with([](Parts& p) { p.metadata.number("llama.block_count", 2.0f); }),
                HasSubstr("is of type f32, must be a whole number"));
    EXPECT_THAT(with([](Parts& p) { p.metadata.signed_number("llama.block_count", -2); }),
                HasSubstr("is -2, must be"));
    EXPECT_EQ(with([](Parts& p) {
                  p.metadata.set("llama.block_count", 10, [](Encoder& e) { e.put(uint64_t{2}); });
              }),
              "");
    EXPECT_THAT(with([](Parts& p) {
                    p.metadata.numbers("llama.attention.head_count", 4, std::vector{4u, 4u});
                }),
                HasSubstr("is of type array"));
    EXPECT_THAT(with([](Parts& p) { p.metadata.number("general.architecture", 1u); }),
                HasSubstr("must be a string"));
    EXPECT_THAT(with([](Parts& p) { p.metadata.text("general.architecture", "qwen2"); }),
                HasSubstr("it is qwen2; only llama"));
    EXPECT_THAT(with([](Parts& p) { p.metadata.text("general.architecture", "\xFF"); }),
                HasSubstr("is not UTF-8"));
    EXPECT_THAT(with([](Parts& p) { p.metadata.number("tokenizer.ggml.add_bos_token", 1u); }),
                HasSubstr("neither true nor false"));
    EXPECT_THAT(with([](Parts& p) {
                    p.metadata.set("tokenizer.ggml.add_bos_token", 7, [](Encoder& e) { e.put(uint8_t{2}); });
                }),
                HasSubstr("neither true nor false"));
    EXPECT_THAT(
        with([](Parts& p) { p.metadata.text("tokenizer.chat_template", std::string((1 << 20) + 1, 'x')); }),
        HasSubstr("tokenizer.chat_template (offset"));
}

TEST_F(HostileGguf, VocabulariesThatCannotBeTrue) {
    EXPECT_THAT(with([](Parts& p) { p.metadata.text("tokenizer.ggml.model", "gpt2"); }),
                HasSubstr("is \"gpt2\"; only \"llama\""));
    EXPECT_THAT(with([](Parts& p) { p.metadata.texts("tokenizer.ggml.tokens", {}); }),
                HasSubstr("has 0 elements, must have 1"));
    EXPECT_THAT(with([](Parts& p) { p.metadata.number("tokenizer.ggml.tokens", 1u); }),
                HasSubstr("is no array of string"));
    EXPECT_THAT(with([](Parts& p) { p.metadata.numbers("tokenizer.ggml.scores", 6, std::vector<float>(8)); }),
                HasSubstr("has 8 elements for 9 tokens"));
    EXPECT_THAT(
        with([](Parts& p) { p.metadata.texts("tokenizer.ggml.scores", std::vector<std::string>(9)); }),
        HasSubstr("is no array of f32"));
    std::vector<float> scores(9);
    scores[3] = std::numeric_limits<float>::infinity();
    EXPECT_THAT(with([&](Parts& p) { p.metadata.numbers("tokenizer.ggml.scores", 6, scores); }),
                HasSubstr("tokenizer.ggml.scores[3] (offset"));
    for (const int32_t type : {0, 7, -1}) {
        std::vector<int32_t> types(9, 1);
        types[4] = type;
        EXPECT_THAT(with([&](Parts& p) { p.metadata.numbers("tokenizer.ggml.token_type", 5, types); }),
                    HasSubstr("tokenizer.ggml.token_type[4] (offset"));
    }
    EXPECT_THAT(with([&](Parts& p) {
                    p.metadata.numbers("tokenizer.ggml.token_type", 5, std::vector<int32_t>(9, 6));
                }),
                HasSubstr("says byte, but"));
    std::vector<std::string> tokens(9, "x");
    tokens[5] = "\xC3";
    EXPECT_THAT(with([&](Parts& p) { p.metadata.texts("tokenizer.ggml.tokens", tokens); }),
                HasSubstr("tokenizer.ggml.tokens[5] (offset"));
    tokens[5] = std::string(481, 'y');
    EXPECT_THAT(with([&](Parts& p) { p.metadata.texts("tokenizer.ggml.tokens", tokens); }),
                HasSubstr("has 481 bytes, more than 480"));
}

TEST_F(HostileGguf, ScalesThatAreNotFiniteAreNamed) {
    for (const TensorType type : {TensorType::kQ8_0, TensorType::kQ4_0, TensorType::kQ5_1}) {
        Parts parts(gguf_config(), type);
        // The query of layer 0, its second row: a row is one block.
        const uint32_t bytes = block_shape(type)->bytes;
        parts.data[parts.tensors[2].offset + bytes + 1] = 0x7C;
        parts.data[parts.tensors[2].offset + bytes] = 0;
        EXPECT_THAT(import(parts), HasSubstr("query of layer 0, row 1, column 0: a weight not finite"));
        // A group of Q8_0 with -128 is quantised anew; by an infinite scale that once was a NaN as a whole number.
        parts.data[parts.tensors[2].offset + bytes + 2] = 0x80;
        EXPECT_THAT(import(parts), HasSubstr("query of layer 0, row 1, column 0: a weight not finite"));
    }
}

TEST_F(HostileGguf, NothingCrashesOnRandomDamage) {
    const Bytes whole = Parts(gguf_config(), TensorType::kQ4_0).bytes();
    const size_t tables = Parts(gguf_config(), TensorType::kQ4_0).bytes().size() -
                          Parts(gguf_config(), TensorType::kQ4_0).data.size();
    std::mt19937 random(11);
    size_t refused = 0;
    constexpr size_t kRounds = 1500;
    for (size_t round = 0; round < kRounds; ++round) {
        Bytes bytes = whole;
        for (uint32_t change = 0; change <= random() % 3; ++change) {
            const uint8_t values[] = {0, 1, 8, 0x7F, 0x80, 0xFF, static_cast<uint8_t>(random())};
            bytes[random() % tables] = values[random() % std::size(values)];
        }
        refused += !import(bytes).empty();
    }
    EXPECT_GT(refused, kRounds / 4);
    EXPECT_LT(refused, kRounds);
}

}  // namespace
}  // namespace bareflow::gguf
