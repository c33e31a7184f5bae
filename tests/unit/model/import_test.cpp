#include "model/tools/import.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <sstream>

#include "arch/base/float16.h"
#include "model/tools/inspect.h"
#include "model/tools/llama2c_tokenizer.h"
#include "model/tools/quantise.h"
#include "tests/unit/model/test_models.h"

namespace bareflow {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using wllm::TensorKind;

StdAllocator allocator;

/// Writes llama2.c files by their description (llama2.c.h): what the tests read is not what they test.
class Llama2cFile {
 public:
    explicit Llama2cFile(ModelConfig config) : config_(config) {}

    Bytes v0() {
        put_config(config_.tied_embedding ? config_.vocab_size : -config_.vocab_size);
        for (auto kind : {TensorKind::kEmbedding, TensorKind::kAttentionNorm, TensorKind::kQuery,
                          TensorKind::kKey, TensorKind::kValue, TensorKind::kOutput, TensorKind::kFfnNorm,
                          TensorKind::kGate, TensorKind::kDown, TensorKind::kUp, TensorKind::kFinalNorm}) {
            put_tensors(kind);
        }
        for (uint32_t i = 0; i < config_.context_length * config_.head_size; ++i)
            put(12345.0f);  // rope, unused
        if (!config_.tied_embedding) put_tensors(TensorKind::kLmHead);
        return std::move(bytes_);
    }
    Bytes v1() { return versioned(1, 0); }
    Bytes v2(int32_t group_size) { return versioned(2, group_size); }

    /// A weight as v2 stores it.
    static int8_t quantised(TensorName tensor, uint32_t row, uint32_t column) {
        return static_cast<int8_t>(MadeUpModel::weight(tensor, row, column) * 127);
    }
    static float scale(TensorName tensor, uint32_t group) {
        return 0.25f + static_cast<float>(group + tensor.layer);
    }

 private:
    template <typename T>
    void put(T value) {
        const auto* begin = reinterpret_cast<const uint8_t*>(&value);
        bytes_.insert(bytes_.end(), begin, begin + sizeof value);
    }
    void put_config(uint32_t vocabulary) {
        for (uint32_t value : {config_.hidden_size, config_.intermediate_size, config_.num_layers,
                               config_.num_heads, config_.num_kv_heads, vocabulary, config_.context_length}) {
            put(value);
        }
    }
    Bytes versioned(uint32_t version, int32_t group_size) {
        group_size_ = group_size;
        put(0x616B3432);
        put(version);
        put_config(config_.vocab_size);
        put(static_cast<uint8_t>(config_.tied_embedding));
        if (version == 2) put(group_size);
        bytes_.resize(256);
        for (auto kind : {TensorKind::kAttentionNorm, TensorKind::kFfnNorm, TensorKind::kFinalNorm,
                          TensorKind::kEmbedding, TensorKind::kQuery, TensorKind::kKey, TensorKind::kValue,
                          TensorKind::kOutput, TensorKind::kGate, TensorKind::kDown, TensorKind::kUp}) {
            put_tensors(kind);
        }
        if (!config_.tied_embedding) put_tensors(TensorKind::kLmHead);
        return std::move(bytes_);
    }
    void put_tensors(TensorKind kind) {
        const TensorShape shape = shape_of(config_, kind);
        const uint32_t layers = is_per_layer(kind) ? config_.num_layers : 1;
        for (uint32_t layer = 0; layer < layers; ++layer) {
            const TensorName name{kind, is_per_layer(kind) ? layer : wllm::kNoLayer};
            const bool integers = group_size_ != 0 && !is_norm(kind);
            for (uint32_t n = 0; n < shape.rows; ++n) {
                for (uint32_t k = 0; k < shape.columns; ++k) {
                    if (integers) {
                        put(quantised(name, n, k));
                    } else {
                        put(MadeUpModel::weight(name, n, k));
                    }
                }
            }
            if (!integers) continue;
            const uint32_t groups = shape.rows * shape.columns / static_cast<uint32_t>(group_size_);
            for (uint32_t group = 0; group < groups; ++group)
                put(scale({kind, is_per_layer(kind) ? layer : 0}, group));
        }
    }
    ModelConfig config_;
    int32_t group_size_ = 0;
    Bytes bytes_;
};

ModelConfig llama2c_config(bool tied = true) {
    ModelConfig config = small_config(tied);
    config.hidden_size = config.num_heads * config.head_size;
    return config;
}

Bytes tokenizer_bin(uint32_t pieces) {
    Bytes bytes;
    const auto put = [&](auto value) {
        const auto* begin = reinterpret_cast<const uint8_t*>(&value);
        bytes.insert(bytes.end(), begin, begin + sizeof value);
    };
    put(uint32_t{7});
    for (uint32_t i = 0; i < pieces; ++i) {
        const std::string text = i == 0   ? "<unk>"
                                 : i == 1 ? "\n<s>\n"
                                 : i == 2 ? "\n</s>\n"
                                 : i == 3 ? "<0x41>"
                                          : std::string(1, static_cast<char>('a' + i % 26));
        put(-static_cast<float>(i));
        put(static_cast<uint32_t>(text.size()));
        bytes.insert(bytes.end(), text.begin(), text.end());
    }
    return bytes;
}

class Import : public ::testing::Test {
 protected:
    /// Imports what stands in `folder` as m.bin to m.wllm; "" or the message.
    std::string import(ImportRequest request = {}) {
        if (request.model.empty()) request.model = folder / "m.bin";
        const auto summary = import_model(request, folder / "m.wllm");
        return summary.ok() ? "" : std::string(summary.error().message());
    }
    std::string import_bytes(const Bytes& model) {
        folder.write("m.bin", model);
        return import();
    }
    Image output() { return Image(read_file(folder / "m.wllm")); }

    TemporaryFolder folder;
    std::string tokenizer = folder.write("m.tokenizer.bin", tokenizer_bin(10));
};

TEST_F(Import, ReadsVersions0And1TiedAndUntiedInEachTypeAndLayout) {
    for (bool tied : {true, false}) {
        const ModelConfig config = llama2c_config(tied);
        for (const Bytes& model : {Llama2cFile(config).v0(), Llama2cFile(config).v1()}) {
            for (ElementType type : {ElementType::kF32, ElementType::kF16}) {
                for (Layout layout : {Layout::kRowMajor, Layout::kPanels16}) {
                    folder.write("m.bin", model);
                    ASSERT_EQ(import({.model = {},
                                      .tokenizer = {},
                                      .chat_template = {},
                                      .types = {.all = type},
                                      .layout = layout}),
                              "");
                    Image image = output();
                    expect_weights(image, config, MadeUpModel::weight);
                    EXPECT_EQ(image.tensor(2).type, type);
                    EXPECT_EQ(image.tensor(2).layout, layout);
                }
            }
        }
    }
}

TEST_F(Import, DequantisesVersion2ByItsOwnGroupSize) {
    for (bool tied : {true, false}) {
        for (int32_t group_size : {1, 4, 16, 32}) {  // 32 spans two rows of 16
            const ModelConfig config = llama2c_config(tied);
            ASSERT_EQ(import_bytes(Llama2cFile(config).v2(group_size)), "");
            Image image = output();
            expect_weights(image, config, [&](TensorName name, uint32_t n, uint32_t k) {
                if (is_norm(name.kind)) return MadeUpModel::weight(name, n, k);
                const uint32_t element = n * shape_of(config, name.kind).columns + k;
                const TensorName scaled{name.kind, is_per_layer(name.kind) ? name.layer : 0};
                return Llama2cFile::quantised(name, n, k) *
                       Llama2cFile::scale(scaled, element / static_cast<uint32_t>(group_size));
            });
        }
    }
}

/// The dequantised weights are quantised anew, by their own largest value: where each group has one of 127, as export.py
/// leaves them, that gives back what was there.
TEST_F(Import, KeepsVersion2sWholeNumbersAsQ8_0WhereItsGroupsAre32) {
    ModelConfig config = llama2c_config();
    config.head_size = 8;
    config.hidden_size = 32;
    Bytes model = Llama2cFile(config).v2(32);
    const size_t norms = (2 * config.num_layers + 1) * config.hidden_size * sizeof(float);
    const size_t embedding = config.vocab_size * (config.hidden_size + sizeof(float));
    const size_t query = 256 + norms + embedding;  // of layer 0
    for (size_t row = 0; row < config.query_size(); ++row) model[query + row * kGroup] = 127;
    folder.write("m.bin", model);
    ASSERT_EQ(
        import({.model = {}, .tokenizer = {}, .chat_template = {}, .types = {.all = ElementType::kQ8_0}}),
        "");
    Image image = output();
    const wllm::TensorEntry& stored = image.tensor(2);
    ASSERT_EQ(stored.kind, TensorKind::kQuery);
    ASSERT_EQ(stored.type, ElementType::kQ8_0);
    for (uint32_t n = 0; n < stored.rows; ++n) {
        for (uint32_t k = 0; k < stored.columns; ++k) {
            const auto q = static_cast<int8_t>(model[query + n * stored.columns + k]);
            const float scale = Llama2cFile::scale({TensorKind::kQuery, 0}, n);  // exact in f16
            ASSERT_EQ(dequantised(stored.type, image.data() + stored.offset, stored.columns, n, k), q * scale)
                << n << ' ' << k;
        }
    }
}

TEST_F(Import, ReadsTensorsThatTakeSeveralSteps) {
    ModelConfig config = llama2c_config();
    config.vocab_size = 5003;  // more values than are in memory at once
    for (int32_t group_size : {0, 16}) {
        ASSERT_EQ(
            import_bytes(group_size == 0 ? Llama2cFile(config).v0() : Llama2cFile(config).v2(group_size)),
            "");
        Image image = output();
        const wllm::TensorEntry& embedding = image.tensor(0);
        const TensorName name{embedding.kind, embedding.layer};
        for (uint32_t n : {0u, 4095u, 4096u, 5002u}) {
            const float expected = group_size == 0
                                       ? MadeUpModel::weight(name, n, 3)
                                       : Llama2cFile::quantised(name, n, 3) *
                                             Llama2cFile::scale({name.kind, 0}, n);  // a row is a group
            EXPECT_EQ(image.at<float>(embedding.offset + 4 * (n / 16 * 16 * 16 + 3 * 16 + n % 16)), expected)
                << n;
        }
    }
}

TEST_F(Import, RefusesEachVersionCutShortAtAnyLength) {
    const ModelConfig config = llama2c_config(false);
    for (const Bytes& model :
         {Llama2cFile(config).v0(), Llama2cFile(config).v1(), Llama2cFile(config).v2(16)}) {
        for (size_t size = 0; size < model.size(); size += size < 64 ? 1 : 97) {
            ASSERT_NE(import_bytes(Bytes(model.begin(), model.begin() + static_cast<long>(size))), "")
                << size;
        }
        ASSERT_NE(import_bytes(Bytes(model.begin(), model.end() - 1)), "");
    }
}

TEST_F(Import, RefusesTrailingBytes) {
    for (Bytes model : {Llama2cFile(llama2c_config()).v0(), Llama2cFile(llama2c_config()).v2(16)}) {
        model.push_back(0);
        EXPECT_THAT(import_bytes(model), HasSubstr("its header explains"));
    }
}

TEST_F(Import, RefusesHeadersThatCannotBeTrueNamingTheFieldAndItsOffset) {
    struct Case {
        size_t word;
        int32_t value;
        const char* expected;
    };
    const int32_t lowest = std::numeric_limits<int32_t>::min(), highest = std::numeric_limits<int32_t>::max();
    const Case cases[] = {
        {0, 0, "dim (offset 0) is 0"},
        {0, -16, "dim (offset 0) is -16"},
        {0, highest, "dim (offset 0)"},
        {0, 1 << 24, "cut short"},
        {0, 18, "even size"},
        {0, 12, "even size"},
        {1, 0, "hidden_dim (offset 4)"},
        {1, lowest, "hidden_dim (offset 4)"},
        {1, 1 << 24, "would end at"},
        {2, 0, "n_layers (offset 8)"},
        {2, highest, "n_layers (offset 8)"},
        {2, 4096, "would end at"},
        {3, 0, "n_heads (offset 12)"},
        {3, 3, "even size"},
        {3, 17, "n_heads (offset 12)"},
        {4, 0, "n_kv_heads (offset 16)"},
        {4, 3, "no multiple of n_kv_heads"},
        {4, 5, "n_kv_heads (offset 16)"},
        {5, 0, "vocab_size (offset 20)"},
        {5, 2, "vocab_size (offset 20)"},
        {5, lowest, "vocab_size (offset 20) is 2147483648"},
        {6, 0, "seq_len (offset 24)"},
        {6, -1, "seq_len (offset 24)"},
        {6, 15, "its header explains"},
    };
    const Bytes model = Llama2cFile(llama2c_config()).v0();
    for (const Case& c : cases) {
        Bytes changed = model;
        std::memcpy(changed.data() + c.word * 4, &c.value, 4);
        EXPECT_THAT(import_bytes(changed), HasSubstr(c.expected)) << c.word << ": " << c.value;
    }
}

TEST_F(Import, RefusesVersionedHeadersThatCannotBeTrue) {
    const Bytes v2 = Llama2cFile(llama2c_config()).v2(16);
    const auto with = [&](size_t offset, uint8_t value) {
        Bytes changed = v2;
        changed[offset] = value;
        return import_bytes(changed);
    };
    EXPECT_THAT(with(4, 3), HasSubstr("version (offset 4) is 3"));
    EXPECT_THAT(with(8, 0), HasSubstr("dim (offset 8) is 0"));
    EXPECT_THAT(with(36, 2), HasSubstr("shared classifier flag (offset 36) is 2"));
    EXPECT_THAT(with(37, 0), HasSubstr("group size (offset 37) is 0"));
    EXPECT_THAT(with(37, 5), HasSubstr("no multiple of the group size (offset 37), 5"));
    EXPECT_THAT(with(40, 0xFF), HasSubstr("group size (offset 37) is -"));
    EXPECT_THAT(with(255, 1), HasSubstr("the byte at 255 is 1"));
    EXPECT_THAT(with(36, 0), HasSubstr("would end at"));  // untied, but no classifier is there
}

TEST_F(Import, RefusesScalesThatCannotBeTrue) {
    // As the early exporters of version 2 wrote: int8 values where a reader expects scales.
    const ModelConfig config = llama2c_config();
    Bytes model = Llama2cFile(config).v2(16);
    const size_t norms = (2 * config.num_layers + 1) * config.hidden_size * sizeof(float);
    const size_t scales = 256 + norms + config.vocab_size * config.hidden_size;
    model[scales + 3] = 0xBF;
    EXPECT_THAT(import_bytes(model), HasSubstr("the scale at " + std::to_string(scales)));
}

TEST_F(Import, RefusesWeightsThatF16CannotHoldAndNamesThem) {
    const ModelConfig config = llama2c_config();
    Bytes model = Llama2cFile(config).v0();
    const size_t embedding = 28;
    const size_t norms = config.num_layers * config.hidden_size, key_rows = config.kv_size();
    const size_t key0 = embedding + 4 * (config.vocab_size * config.hidden_size + norms +
                                         config.num_layers * config.hidden_size * config.hidden_size);
    const size_t key1_row3_column5 = key0 + 4 * (config.hidden_size * (key_rows + 3) + 5);
    const auto set = [&](float value) { std::memcpy(model.data() + key1_row3_column5, &value, 4); };
    const ImportRequest half{
        .model = folder / "m.bin", .tokenizer = {}, .chat_template = {}, .types = {.all = ElementType::kF16}};
    set(65519.0f);  // rounds to f16's largest
    folder.write("m.bin", model);
    EXPECT_EQ(import(half), "");
    set(65520.0f);  // rounds to infinity
    folder.write("m.bin", model);
    EXPECT_THAT(import(half), HasSubstr("key of layer 1, row 3, column 5: a weight too large in f16"));
    EXPECT_EQ(import(), "");
    set(std::numeric_limits<float>::quiet_NaN());
    folder.write("m.bin", model);
    EXPECT_THAT(import(), HasSubstr("key of layer 1, row 3, column 5: a weight not finite"));
}

TEST_F(Import, LeavesTheOldOutputAndNothingElseWhenItFails) {
    ASSERT_EQ(import_bytes(Llama2cFile(llama2c_config()).v0()), "");
    const Bytes before = read_file(folder / "m.wllm");
    Bytes damaged = Llama2cFile(llama2c_config()).v0();
    const float nan = std::numeric_limits<float>::quiet_NaN();
    std::memcpy(damaged.data() + 28, &nan, 4);  // found only while writing
    ASSERT_NE(import_bytes(damaged), "");
    EXPECT_EQ(read_file(folder / "m.wllm"), before);
    EXPECT_THAT(folder.names(), ElementsAre("m.bin", "m.tokenizer.bin", "m.wllm"));
}

TEST_F(Import, RefusesAnOutputThatIsNoFile) {
    folder.write("m.bin", Llama2cFile(llama2c_config()).v0());
    const auto to = [&](const std::string& output) {
        const auto summary =
            import_model({.model = folder / "m.bin", .tokenizer = {}, .chat_template = {}}, output);
        return summary.ok() ? std::string() : std::string(summary.error().message());
    };
    EXPECT_THAT(to("/dev/null"), HasSubstr("not a regular file"));
    EXPECT_THAT(to(folder / "no/such/folder.wllm"), HasSubstr("cannot be created"));
}

TEST_F(Import, WritesOverAWllmAndNoOtherFile) {
    const Bytes model = Llama2cFile(llama2c_config()).v0();
    folder.write("m.bin", model);
    folder.write("empty", {});
    const auto to = [&](const std::string& output) {
        const auto summary =
            import_model({.model = folder / "m.bin", .tokenizer = {}, .chat_template = {}}, output);
        return summary.ok() ? std::string() : std::string(summary.error().message());
    };
    for (const char* other : {"m.bin", "m.tokenizer.bin"}) {
        const Bytes before = read_file(folder / other);
        EXPECT_THAT(to(folder / other), HasSubstr("is there and is no .wllm; name another output"));
        EXPECT_EQ(read_file(folder / other), before);
    }
    EXPECT_EQ(to(folder / "empty"), "");
    EXPECT_EQ(to(folder / "empty"), "");
}

TEST_F(Import, RefusesAnExceptionForAMatrixThatTheModelHasNot) {
    folder.write("m.bin", Llama2cFile(llama2c_config()).v0());
    const auto with = [&](std::string_view exception) {
        ImportRequest request;
        request.model = folder / "m.bin";
        request.types.overrides.push_back(parse_override(exception).take());
        return import(request);
    };
    EXPECT_EQ(with("down.1=f16"), "");
    EXPECT_THAT(with("down.2=f16"), HasSubstr("--tensor down.2: the model has 2 layers, from 0"));
    EXPECT_THAT(with("lm-head=f16"), HasSubstr("this model has none of its own"));
}

TEST_F(Import, WritesIntoADescriptorForWhoeverConvertsOnTheFly) {
    folder.write("m.bin", Llama2cFile(llama2c_config()).v0());
    Descriptor fd(memfd_create("wllm", MFD_CLOEXEC));
    const auto summary =
        import_model({.model = folder / "m.bin", .tokenizer = {}, .chat_template = {}}, fd.get());
    ASSERT_TRUE(summary.ok());
    const auto mapped = MappedFile::map(fd.get(), "memfd");
    const auto loaded = load_weights(mapped.value().bytes(), allocator);
    ASSERT_TRUE(loaded.ok());
    EXPECT_EQ(loaded.value().hash, summary.value().hash);
    EXPECT_EQ(loaded.value().weight_bytes, summary.value().weight_bytes);
}

TEST_F(Import, SaysWhereAModelCameFrom) {
    folder.write("m.bin", Llama2cFile(llama2c_config()).v1());
    ASSERT_EQ(import({.model = {}, .tokenizer = {}, .chat_template = "zephyr"}), "");
    Image image = output();
    const auto loaded = load_weights(image.bytes(), allocator);
    const std::string provenance(loaded.value().provenance);
    EXPECT_THAT(provenance, StartsWith("source=m.bin\nsource_format=llama2.c v1\n"));
    const auto crc =
        FixedString<40>::formatted("\nsource_crc32c={:08x}\n", crc32c(read_file(folder / "m.bin")));
    EXPECT_THAT(provenance, HasSubstr(std::string(crc.view())));
    EXPECT_THAT(provenance, HasSubstr("\ntokenizer=m.tokenizer.bin\n"));
    EXPECT_THAT(provenance, HasSubstr("\nimporter=bareflow-import "));
    EXPECT_EQ(loaded.value().chat_template, "zephyr");
}

TEST_F(Import, SaysWhatAForeignFileIs) {
    EXPECT_THAT(import({.model = folder / "none.bin", .tokenizer = {}, .chat_template = {}}),
                HasSubstr("cannot be opened: No such file"));
    EXPECT_THAT(import({.model = folder / "", .tokenizer = {}, .chat_template = {}}),
                HasSubstr("holds no config.json: it is no Hugging Face model"));
    const std::string part = folder.write("model.safetensors", Bytes(8));
    EXPECT_THAT(import({.model = part, .tokenizer = {}, .chat_template = {}}), HasSubstr("name its folder"));
    EXPECT_THAT(import_bytes({'G', 'G', 'U', 'F', 3, 0, 0, 0}),
                HasSubstr("tensor_count (offset 8) would end behind"));
    EXPECT_THAT(import_bytes({}), HasSubstr("too few"));
    const Image wllm = small_image();
    EXPECT_THAT(import_bytes(Bytes(wllm.bytes().begin(), wllm.bytes().end())),
                HasSubstr("is a .wllm already"));
    EXPECT_TRUE(is_wllm(folder / "m.bin").value());
    EXPECT_FALSE(is_wllm(tokenizer).value());
}

TEST_F(Import, FindsTheTokenizerByNameElseTheOneThatFits) {
    const auto find = [&] {
        const auto found = find_llama2c_tokenizer(folder / "m.bin", 10);
        return found.ok() ? base_name(found.value()) : std::string(found.error().message());
    };
    folder.write("m.bin", Llama2cFile(llama2c_config()).v0());
    folder.write("other.bin", tokenizer_bin(10));
    EXPECT_EQ(find(), "m.tokenizer.bin");
    std::filesystem::remove(tokenizer);
    folder.write("larger.bin", tokenizer_bin(11));
    folder.write("notes.txt", tokenizer_bin(10));
    EXPECT_EQ(find(), "other.bin");
    folder.write("second.bin", tokenizer_bin(10));
    EXPECT_THAT(find(), HasSubstr("2 tokenizers of 10 pieces are beside it, other.bin and second.bin"));
    std::filesystem::remove(folder / "other.bin");
    std::filesystem::remove(folder / "second.bin");
    EXPECT_THAT(find(), HasSubstr("no tokenizer of 10 pieces is beside it"));
}

TEST_F(Import, TakesASmallerTokenizerButNoLargerOne) {
    folder.write("m.bin", Llama2cFile(llama2c_config()).v0());
    const auto with = [&](uint32_t pieces) {
        return import(
            {.model = {}, .tokenizer = folder.write("t.bin", tokenizer_bin(pieces)), .chat_template = {}});
    };
    EXPECT_EQ(with(9), "");
    EXPECT_THAT(with(11), HasSubstr("t.bin: has 11 pieces, the model's vocabulary (vocab_size) only 10"));
}

TEST_F(Import, InfersTheTypesOfPieces) {
    using enum wllm::PieceType;
    const auto file = InputFile::open(tokenizer);
    const Vocabulary vocabulary = read_llama2c_tokenizer(file.value()).take();
    ASSERT_EQ(vocabulary.pieces.size(), 10u);
    EXPECT_EQ(vocabulary.pieces[0].type, kUnknown);
    EXPECT_EQ(vocabulary.pieces[1].type, kControl);
    EXPECT_EQ(vocabulary.pieces[1].text, "<s>");
    EXPECT_EQ(vocabulary.pieces[2].type, kControl);
    EXPECT_EQ(vocabulary.pieces[2].text, "</s>");
    EXPECT_EQ(vocabulary.pieces[3].type, kByte);
    EXPECT_EQ(vocabulary.pieces[4].type, kNormal);
    EXPECT_EQ(vocabulary.pieces[4].score, -4.0f);
}

TEST_F(Import, RefusesDamagedTokenizersNamingThePieceAndItsOffset) {
    const Bytes good = tokenizer_bin(10);
    const auto refusal = [&](const Bytes& bytes) {
        const auto file = InputFile::open(folder.write("t.bin", bytes));
        const auto read = read_llama2c_tokenizer(file.value());
        return read.ok() ? "" : std::string(read.error().message());
    };
    ASSERT_EQ(refusal(good), "");
    size_t pieces_whole = 0;  // cut at the end of a piece, only the count tells
    for (size_t size = 0; size < good.size(); ++size) {
        pieces_whole += refusal(Bytes(good.begin(), good.begin() + static_cast<long>(size))).empty();
    }
    EXPECT_EQ(pieces_whole, 9u);
    const auto with = [&](size_t offset, std::initializer_list<uint8_t> values) {
        Bytes changed = good;
        std::copy(values.begin(), values.end(), changed.begin() + static_cast<long>(offset));
        return refusal(changed);
    };
    EXPECT_THAT(with(0, {0, 0, 0, 0}), HasSubstr("(offset 0)"));
    EXPECT_THAT(with(0, {0, 0, 0, 0x80}), HasSubstr("(offset 0)"));
    EXPECT_THAT(with(4, {0, 0, 0xC0, 0x7F}), HasSubstr("score of piece 0 (offset 4)"));
    EXPECT_THAT(with(8, {8}), HasSubstr("piece 0 (offset 4) has 8 bytes"));
    EXPECT_THAT(with(8, {0}), HasSubstr("piece 0 (offset 4) has 0 bytes"));
    EXPECT_THAT(with(8, {0xFF, 0xFF, 0xFF, 0xFF}), HasSubstr("piece 0 (offset 4) has -1 bytes"));
    EXPECT_THAT(with(12, {0xFF}), HasSubstr("piece 0 (offset 4) is not UTF-8"));
}

TEST_F(Import, InspectPrintsWhatAFileHolds) {
    ASSERT_EQ(import_bytes(Llama2cFile(llama2c_config()).v0()), "");
    std::ostringstream out;
    ASSERT_TRUE(inspect_wllm(folder / "m.wllm", out).ok());
    for (const char* part : {"wllm version 2", "2 layers, hidden 16", "tied embedding", "tensor-directory",
                             "query", "panels16", "10 pieces", "plain", "source=m.bin"}) {
        EXPECT_THAT(out.str(), HasSubstr(part));
    }
    EXPECT_FALSE(inspect_wllm(folder / "m.bin", out).ok());
}

TEST_F(Import, KeepsEveryBitOfTheDefaultModel) {
    ASSERT_EQ(import({.model = "model/bareflow-stories.bin",
                      .tokenizer = {},
                      .chat_template = {},
                      .types = {.all = ElementType::kF32},
                      .layout = Layout::kRowMajor}),
              "");
    Image image = output();
    const Bytes source = read_file("model/bareflow-stories.bin");
    const Weights weights = load_weights(image.bytes(), allocator).take();
    // MODEL_CARD.md: 1,312,384 parameters, 128 wide, 384 hidden, 6 layers, 8 heads, 4 KV heads of 16, context 512.
    EXPECT_EQ(weights.weight_bytes, 1312384u * 4);
    const ModelConfig& config = weights.config;
    EXPECT_EQ(config.hidden_size, 128u);
    EXPECT_EQ(config.intermediate_size, 384u);
    EXPECT_EQ(config.num_layers, 6u);
    EXPECT_EQ(config.num_kv_heads, 4u);
    EXPECT_EQ(config.vocab_size, 1024u);
    EXPECT_EQ(config.context_length, 512u);
    uint64_t offset = 28;
    const auto expect_next = [&](const void* data, uint64_t size, const char* what) {
        EXPECT_EQ(std::memcmp(data, source.data() + offset, size), 0) << what;
        offset += size;
    };
    const auto& layers = weights.layers;
    expect_next(weights.embedding.data, 1024 * 128 * 4, "embedding");
    for (const auto& layer : layers) expect_next(layer.attention_norm, 128 * 4, "attention norm");
    for (const auto& layer : layers) expect_next(layer.query.data, 128 * 128 * 4, "query");
    for (const auto& layer : layers) expect_next(layer.key.data, 64 * 128 * 4, "key");
    for (const auto& layer : layers) expect_next(layer.value.data, 64 * 128 * 4, "value");
    for (const auto& layer : layers) expect_next(layer.output.data, 128 * 128 * 4, "output");
    for (const auto& layer : layers) expect_next(layer.ffn_norm, 128 * 4, "ffn norm");
    for (const auto& layer : layers) expect_next(layer.gate.data, 384 * 128 * 4, "gate");
    for (const auto& layer : layers) expect_next(layer.down.data, 128 * 384 * 4, "down");
    for (const auto& layer : layers) expect_next(layer.up.data, 384 * 128 * 4, "up");
    expect_next(weights.final_norm, 128 * 4, "final norm");
    EXPECT_EQ(offset + 512 * 16 * 4, source.size());
}

TEST_F(Import, ReadsStories260KWithTheTokenizerThatFits) {
    SKIP_WITHOUT(shared_model("stories260K.bin"));
    const auto summary = import_model(
        {.model = shared_model("stories260K.bin"), .tokenizer = {}, .chat_template = {}}, folder / "s.wllm");
    ASSERT_TRUE(summary.ok()) << summary.error().message();
    EXPECT_EQ(summary.value().tokenizer, "tok512.bin");
    EXPECT_EQ(summary.value().pieces, 512u);
}

}  // namespace
}  // namespace bareflow
