// Quantised weights: GGML's quantisers, the panels that hold them, and the reference's sums over them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cfenv>
#include <cmath>
#include <limits>
#include <random>

#include "arch/base/crc32c.h"
#include "model/tools/import.h"
#include "model/tools/quantise.h"
#include "tests/unit/model/compute_support.h"
#include "tests/unit/model/test_models.h"

namespace bareflow {
namespace {

using testing::classes;
using ::testing::HasSubstr;
using testing::operators_of;
using testing::random_floats;

constexpr ElementType kQuantisedTypes[] = {ElementType::kQ8_0, ElementType::kQ4_0};

// ---------------------------------------------------------------- GGML's definitions, in other words

struct Stored {
    uint16_t scale;
    std::vector<int> values;
};
Stored ggml_q8_0(const float* x) {
    float amax = 0;
    for (int j = 0; j < 32; ++j) amax = std::fmax(amax, std::fabs(x[j]));
    const float d = amax / 127, id = d != 0 ? 1 / d : 0;
    Stored stored{f16_from_f32(d), {}};
    for (int j = 0; j < 32; ++j) stored.values.push_back(static_cast<int>(std::lround(x[j] * id)));
    return stored;
}
Stored ggml_q4_0(const float* x) {
    float amax = 0, max = 0;
    for (int j = 0; j < 32; ++j) {
        if (amax < std::fabs(x[j])) {
            amax = std::fabs(x[j]);
            max = x[j];
        }
    }
    const float d = max / -8, id = d != 0 ? 1 / d : 0;
    Stored stored{f16_from_f32(d), {}};
    for (int j = 0; j < 32; ++j) stored.values.push_back(std::min(15, int{int8_t(x[j] * id + 8.5f)}) - 8);
    return stored;
}

void expect_ggml(const std::vector<float>& weights) {
    const std::span<const float, kGroup> group(weights.data(), kGroup);
    const QuantisedGroup q8 = quantise_q8_0(group), q4 = quantise_q4_0(group);
    const Stored wanted8 = ggml_q8_0(weights.data()), wanted4 = ggml_q4_0(weights.data());
    EXPECT_EQ(q8.scale, wanted8.scale);
    EXPECT_EQ(q4.scale, wanted4.scale);
    for (size_t k = 0; k < kGroup; ++k) {
        EXPECT_EQ(q8.values[k], wanted8.values[k]) << k;
        EXPECT_EQ(q4.values[k], wanted4.values[k]) << k;
        EXPECT_LE(std::abs(q8.values[k]), 127);
        EXPECT_TRUE(q4.values[k] >= -8 && q4.values[k] <= 7);
    }
}

TEST(Quantisers, GiveWhatGgmlGives) {
    std::mt19937 random(1);
    for (int i = 0; i < 2000; ++i) {
        expect_ggml(random_floats(kGroup, random, std::ldexp(1.0f, static_cast<int>(random() % 20) - 10)));
    }
    std::vector<float> edges(kGroup, 0.0f);
    expect_ggml(edges);
    for (const float extreme : {1.0f, -1.0f, 65504.0f, -65504.0f, 1e-3f}) {
        edges.assign(kGroup, extreme);
        expect_ggml(edges);
        for (size_t k = 1; k < kGroup; k += 2) edges[k] = -extreme;
        expect_ggml(edges);
    }
    for (size_t k = 0; k < kGroup; ++k) edges[k] = static_cast<float>(k) - 15.5f;  // halves of a step
    expect_ggml(edges);
}

TEST(Quantisers, MakeZerosOfWhatIsTooSmallForTheScale) {
    std::vector<float> tiny(kGroup, 1e-9f);
    const std::span<const float, kGroup> group(tiny.data(), kGroup);
    for (const QuantisedGroup& made : {quantise_q8_0(group), quantise_q4_0(group)}) {
        for (const int8_t value : made.values) EXPECT_EQ(value, 0);
    }
}

// ---------------------------------------------------------------- panels

/// A quantised matrix of random weights, in memory of exactly its size.
struct QuantisedMatrix {
    QuantisedMatrix(size_t rows, size_t columns, ElementType type, std::mt19937& random)
        : weights(random_floats(rows * columns, random)) {
        view = {nullptr, static_cast<uint32_t>(rows), static_cast<uint32_t>(columns), type,
                Layout::kPanels16};
        bytes = std::make_unique<Image>(Bytes(view.bytes()));
        pack_quantised(type, weights, columns, {bytes->data(), bytes->size()});
        view.data = bytes->data();
    }
    std::vector<float> weights;  // (rows, columns), before
    TensorView view;
    std::unique_ptr<Image> bytes;

    Stored group(size_t n, size_t g) const {
        const float* from = weights.data() + n * view.columns + g * kGroup;
        return view.type == ElementType::kQ8_0 ? ggml_q8_0(from) : ggml_q4_0(from);
    }
};

TEST(QuantisedPanels, EachByteLiesWhereTheFormatSays) {
    std::mt19937 random(2);
    constexpr size_t kRows = 19, kColumns = 96;
    for (const ElementType type : kQuantisedTypes) {
        const QuantisedMatrix w(kRows, kColumns, type, random);
        const size_t block = type == ElementType::kQ8_0 ? 544 : 288;
        ASSERT_EQ(w.view.bytes(), 2 * 3 * block);
        for (size_t n = 0; n < 32; ++n) {
            for (size_t g = 0; g < 3; ++g) {
                const uint8_t* at = w.bytes->data() + (n / 16 * 3 + g) * block;
                const Stored wanted = n < kRows ? w.group(n, g) : Stored{0, std::vector<int>(kGroup, 0)};
                EXPECT_EQ(at[n % 16 * 2] | at[n % 16 * 2 + 1] << 8, wanted.scale);
                for (size_t k = 0; k < kGroup; ++k) {
                    if (type == ElementType::kQ8_0) {
                        const uint8_t byte = at[32 + k / 4 * 64 + n % 16 * 4 + k % 4];
                        EXPECT_EQ(int{int8_t(byte)}, wanted.values[k]);
                    } else {
                        const uint8_t byte = at[32 + k % 16 / 4 * 64 + n % 16 * 4 + k % 4];
                        const int nibble = k < 16 ? byte & 15 : byte >> 4;
                        EXPECT_EQ(nibble, n < kRows ? wanted.values[k] + 8 : 0);
                    }
                }
            }
        }
    }
}

// ---------------------------------------------------------------- inputs

void expect_input(const std::vector<float>& x) {
    Q8Group made{};
    quantise_input(&made, x.data(), kGroup);
    float amax = 0;
    for (const float value : x) amax = std::fmax(amax, std::fabs(value));
    EXPECT_EQ(made.scale, amax / 127);
    const float inverse = amax == 0 ? 0 : 1 / made.scale;
    std::fesetround(FE_TONEAREST);
    int sum = 0;
    for (size_t k = 0; k < kGroup; ++k) {
        EXPECT_EQ(made.q[k], std::clamp(std::nearbyint(x[k] * inverse), -127.0f, 127.0f)) << k;
        sum += made.q[k];
    }
    EXPECT_EQ(made.sum, sum);
}

TEST(QuantisedInput, RoundsToTheNearestWholeNumberTiesToEven) {
    std::mt19937 random(3);
    for (int i = 0; i < 2000; ++i) {
        expect_input(random_floats(kGroup, random, std::ldexp(1.0f, static_cast<int>(random() % 60) - 30)));
    }
    expect_input(std::vector<float>(kGroup, 0.0f));
    expect_input(std::vector<float>(kGroup, -3.0e38f));
    std::vector<float> ties(kGroup);
    for (size_t k = 0; k < kGroup; ++k) ties[k] = static_cast<float>(k) - 15.5f;
    ties[0] = 127;
    expect_input(ties);
}

TEST(QuantisedInput, IsDefinedForWhatIsNoNumberAndForTheVerySmall) {
    std::vector<float> x(kGroup, 0.5f);
    x[3] = std::numeric_limits<float>::quiet_NaN();
    Q8Group made{};
    quantise_input(&made, x.data(), kGroup);
    EXPECT_EQ(made.scale, 0.5f / 127);
    EXPECT_EQ(made.q[3], -127);
    EXPECT_EQ(made.q[4], 127);
    x[3] = std::numeric_limits<float>::infinity();
    quantise_input(&made, x.data(), kGroup);
    EXPECT_EQ(made.scale, std::numeric_limits<float>::infinity());
    EXPECT_EQ(made.q[4], 0);
    x.assign(kGroup, 0x1p-101f);
    quantise_input(&made, x.data(), kGroup);
    EXPECT_EQ(made.scale, 0);
    EXPECT_EQ(made.q[4], 0);
    x.assign(kGroup, 0x1p-100f);
    quantise_input(&made, x.data(), kGroup);
    EXPECT_EQ(made.scale, 0x1p-100f / 127);
    EXPECT_EQ(made.q[4], 127);
}

// ---------------------------------------------------------------- sums

/// Output n of W x as the contract says it, from GGML's numbers.
float contract_sum(const QuantisedMatrix& w, size_t n, const std::vector<float>& x) {
    volatile float accumulator = 0;  // each step rounded, whatever the compiler would like
    for (size_t g = 0; g < w.view.columns / kGroup; ++g) {
        Q8Group input{};
        quantise_input(&input, x.data() + g * kGroup, kGroup);
        const Stored weights = w.group(n, g);
        int dot = 0;
        for (size_t k = 0; k < kGroup; ++k) dot += weights.values[k] * input.q[k];
        const volatile float scale = f32_from_f16(weights.scale) * input.scale;
        const volatile float product = scale * static_cast<float>(dot);
        accumulator = accumulator + product;
    }
    return accumulator;
}

struct Sizes {
    size_t rows, columns;
};
constexpr Sizes kSizes[] = {{1, 32}, {16, 64}, {19, 96}, {40, 288}};

TEST(QuantisedReference, SumsAsTheContractSaysInBothClasses) {
    std::mt19937 random(4);
    for (const ElementType type : kQuantisedTypes) {
        for (const auto [rows, columns] : kSizes) {
            const QuantisedMatrix w(rows, columns, type, random);
            const std::vector<float> x = random_floats(columns, random), before = random_floats(rows, random);
            for (const NumericClass numerics : classes()) {
                Operators& operators = operators_of(numerics);
                std::vector<float> y(rows), added = before;
                operators.matvec(y.data(), w.view, x.data());
                operators.project_add(added.data(), w.view, x.data());
                for (size_t n = 0; n < rows; ++n) {
                    const float wanted = contract_sum(w, n, x);
                    EXPECT_EQ(std::bit_cast<uint32_t>(y[n]), std::bit_cast<uint32_t>(wanted)) << n;
                    EXPECT_EQ(added[n], before[n] + wanted) << n;
                }
                EXPECT_EQ(operators.matvec_argmax(y.data(), w.view, x.data()),
                          operators.argmax(y.data(), rows));
            }
        }
    }
}

TEST(QuantisedReference, GateAndUpAreTheirSumsActivated) {
    std::mt19937 random(5);
    for (const ElementType type : kQuantisedTypes) {
        const QuantisedMatrix gate(19, 64, type, random), up(19, 64, type, random);
        const std::vector<float> x = random_floats(64, random);
        for (const NumericClass numerics : classes()) {
            std::vector<float> h(19);
            operators_of(numerics).gate_up(h.data(), gate.view, up.view, x.data());
            for (size_t n = 0; n < h.size(); ++n) {
                const float g = contract_sum(gate, n, x);
                EXPECT_EQ(h[n], g / (1 + reference_exp(numerics, -g)) * contract_sum(up, n, x));
            }
        }
    }
}

TEST(QuantisedReference, EmbedsARowExactly) {
    std::mt19937 random(6);
    for (const ElementType type : kQuantisedTypes) {
        const QuantisedMatrix table(19, 96, type, random);
        for (size_t n = 0; n < 19; ++n) {
            std::vector<float> row(96);
            operators_of(NumericClass::kMulAdd).embed(row.data(), table.view, static_cast<uint32_t>(n));
            for (size_t k = 0; k < row.size(); ++k) {
                const Stored group = table.group(n, k / kGroup);
                EXPECT_EQ(row[k], double{f32_from_f16(group.scale)} * group.values[k % kGroup]);
            }
        }
    }
}

TEST(QuantisedReference, StaysNearWhatTheWeightsGive) {
    std::mt19937 random(7);
    // Both a weight and an input are off by up to half a step: of 1/127 and, for four bits, 1/8 of a group's largest.
    const double kBounds[] = {0.02, 0.3};
    for (size_t t = 0; t < std::size(kQuantisedTypes); ++t) {
        const QuantisedMatrix w(16, 2048, kQuantisedTypes[t], random);
        const std::vector<float> x = random_floats(2048, random);
        std::vector<float> y(16);
        operators_of(NumericClass::kMulAdd).matvec(y.data(), w.view, x.data());
        for (size_t n = 0; n < y.size(); ++n) {
            double exact = 0;
            for (size_t k = 0; k < 2048; ++k) exact += double{w.weights[n * 2048 + k]} * x[k];
            EXPECT_NEAR(y[n], exact, kBounds[t] * std::sqrt(2048.0)) << n;
        }
    }
}

TEST(QuantisedReference, ItsBitsAreTheseForAllTime) {
    const uint32_t kGolden[] = {3800914635, 2744471844};
    for (size_t t = 0; t < std::size(kQuantisedTypes); ++t) {
        constexpr size_t kRows = 48, kColumns = 320;
        std::mt19937 random(8);  // its numbers are the standard's; those of a distribution would not be
        const auto value = [&] { return (static_cast<float>(random() >> 8) - 0x1p23f) * 0x1p-23f; };
        QuantisedMatrix w(kRows, kColumns, kQuantisedTypes[t], random);
        random.seed(9);
        for (float& weight : w.weights) weight = value();
        std::fill_n(w.bytes->data(), w.bytes->size(), uint8_t{0});
        pack_quantised(kQuantisedTypes[t], w.weights, kColumns, {w.bytes->data(), w.bytes->size()});
        std::vector<float> x(kColumns), y(kRows);
        for (float& input : x) input = value();
        for (const NumericClass numerics : classes()) {
            operators_of(numerics).matvec(y.data(), w.view, x.data());
            const auto* bytes = reinterpret_cast<const uint8_t*>(y.data());
            EXPECT_EQ(crc32c({bytes, y.size() * sizeof(float)}), kGolden[t]) << name_of(kQuantisedTypes[t]);
        }
    }
}

// ---------------------------------------------------------------- files

ModelConfig quantisable_config() {
    ModelConfig config = small_config(false);
    config.hidden_size = 32;
    config.head_size = 8;
    config.intermediate_size = 40;  // of down: no multiple of 32
    return config;
}

TEST(QuantisedFiles, StoreInF16WhatHasNoWholeGroupsAndSayHowFarTheyAreOff) {
    const MadeUpModel model(quantisable_config());
    const Vocabulary vocabulary = small_vocabulary();
    Descriptor fd(memfd_create("wllm", MFD_CLOEXEC));
    FileWriter writer(fd.get(), "test.wllm");
    TensorTypes types{.all = ElementType::kQ8_0, .overrides = {}};
    types.overrides.push_back(parse_override("key=q4_0").take());
    types.overrides.push_back(parse_override("key.1=f32").take());
    const auto written = write_wllm({.model = model,
                                     .vocabulary = vocabulary,
                                     .chat_template = "plain",
                                     .provenance = "source=made up\n",
                                     .types = types,
                                     .layout = Layout::kPanels16},
                                    writer);
    ASSERT_TRUE(written.ok()) << written.error().message();
    using enum wllm::TensorKind;
    for (const TensorReport& tensor : written.value()) {
        const bool key = tensor.name.kind == kKey;
        const ElementType wanted = is_norm(tensor.name.kind)       ? ElementType::kF32
                                   : key && tensor.name.layer == 1 ? ElementType::kF32
                                   : key                           ? ElementType::kQ4_0
                                                                   : ElementType::kQ8_0;
        EXPECT_EQ(tensor.wanted, wanted);
        EXPECT_EQ(tensor.stored, tensor.name.kind == kDown ? ElementType::kF16 : wanted);
        switch (tensor.stored) {
            case ElementType::kF32:
            case ElementType::kF16:
                EXPECT_EQ(tensor.rms, 0);  // made-up weights are exact in f16
                EXPECT_EQ(tensor.largest, 0);
                break;
            case ElementType::kQ8_0:
                EXPECT_TRUE(tensor.rms > 1e-3 && tensor.rms < 6e-3) << tensor.rms;
                EXPECT_LT(tensor.largest, 1.1 / 254);
                break;
            case ElementType::kQ4_0:
                EXPECT_TRUE(tensor.rms > 2e-2 && tensor.rms < 0.1) << tensor.rms;
                EXPECT_LT(tensor.largest, 1.1 / 8);
                break;
        }
    }
    const auto mapped = MappedFile::map(fd.get(), "test.wllm");
    Image image(mapped.value().bytes());
    StdAllocator allocator;
    const auto loaded = load_weights(image.bytes(), allocator);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message();
    EXPECT_EQ(loaded.value().embedding.type, ElementType::kQ8_0);
    EXPECT_EQ(loaded.value().layers[0].key.type, ElementType::kQ4_0);
    EXPECT_EQ(loaded.value().layers[1].key.type, ElementType::kF32);
    EXPECT_EQ(loaded.value().layers[0].down.type, ElementType::kF16);
}

TEST(QuantisedFiles, LoadOnlyWhenTheirSizesFit) {
    StdAllocator allocator;
    const auto error_of = [&](auto damage) {
        Image image = image_of(MadeUpModel(quantisable_config()), small_vocabulary(), ElementType::kQ8_0);
        damage(image.tensor(2));
        reseal(image);
        const auto loaded = load_weights(image.bytes(), allocator);
        return loaded.ok() ? std::string() : std::string(loaded.error().message());
    };
    EXPECT_EQ(error_of([](wllm::TensorEntry&) {}), "");
    EXPECT_THAT(error_of([](wllm::TensorEntry& t) { t.type = ElementType::kQ4_0; }), HasSubstr("of q4_0 in"));
    EXPECT_THAT(error_of([](wllm::TensorEntry& t) { t.layout = Layout::kRowMajor; }),
                HasSubstr("q8_0 needs panels16"));
    EXPECT_THAT(error_of([](wllm::TensorEntry& t) { t.size -= 64; }), HasSubstr("size is"));
}

// Routines move an input's sign to the weight, and -128 has no negative.
TEST(QuantisedFiles, RefuseTheLowestByte) {
    StdAllocator allocator;
    Image image = image_of(MadeUpModel(quantisable_config()), small_vocabulary(), ElementType::kQ8_0);
    const uint64_t place = image.tensor(2).offset + sizeof(Q8Panel::scales) + 5;
    image[place] = 0x80;
    reseal(image);
    const auto loaded = load_weights(image.bytes(), allocator);
    ASSERT_FALSE(loaded.ok());
    EXPECT_THAT(std::string(loaded.error().message()), HasSubstr("holds -128"));
}

TEST(QuantisedFiles, FindTheLowestByteAtEachPlaceAndNoOther) {
    for (const int neighbour : {-127, -1, 0, 1, 127}) {
        std::vector<Q8Panel> panels(2);
        std::memset(panels.data(), 0x80, sizeof panels[0].scales);  // scales may be anything
        for (Q8Panel& panel : panels) std::memset(panel.values, neighbour, sizeof panel.values);
        const ByteSpan bytes(reinterpret_cast<const uint8_t*>(panels.data()),
                             panels.size() * sizeof(Q8Panel));
        EXPECT_FALSE(holds_lowest(bytes)) << neighbour;
        auto* values = reinterpret_cast<int8_t*>(panels[1].values);
        for (size_t i = 0; i < sizeof panels[1].values; ++i) {
            values[i] = INT8_MIN;
            EXPECT_TRUE(holds_lowest(bytes)) << i << " among " << neighbour;
            values[i] = static_cast<int8_t>(neighbour);
        }
    }
}

TEST(QuantisedFiles, OverridesThatMakeNoSenseAreRefused) {
    const auto error_of = [](std::string_view text) {
        const auto parsed = parse_override(text);
        return parsed.ok() ? std::string() : std::string(parsed.error().message());
    };
    EXPECT_EQ(error_of("lm-head=f16"), "");
    EXPECT_EQ(error_of("down.11=q8_0"), "");
    EXPECT_THAT(error_of("down"), HasSubstr("TENSOR=TYPE"));
    EXPECT_THAT(error_of("dawn=f16"), HasSubstr("no matrix dawn; there are query, key,"));
    EXPECT_THAT(error_of("ffn-norm=f16"), HasSubstr("no matrix ffn-norm"));
    EXPECT_THAT(error_of("down=q5_0"), HasSubstr("q5_0 is no type"));
    EXPECT_THAT(error_of("down.x=f16"), HasSubstr("x is no layer"));
    EXPECT_THAT(error_of("embedding.0=f16"), HasSubstr("0 is no layer of embedding"));
}

TEST(QuantisedFiles, RefuseWeightsThatAreNotFiniteOrTooLarge) {
    struct Outlier final : public ModelSource {
        explicit Outlier(float given) : value(given), inner(quantisable_config()) {}
        std::string_view format() const override { return "outlier"; }
        const ModelConfig& config() const override { return inner.config(); }
        Result<void> read_rows(TensorName tensor, uint32_t first, uint32_t count,
                               std::span<float> out) const override {
            TRY(inner.read_rows(tensor, first, count, out));
            if (tensor.kind == wllm::TensorKind::kUp && tensor.layer == 1) out[33] = value;
            return {};
        }
        Result<std::string> provenance() const override { return std::string("source=made up\n"); }
        float value;
        MadeUpModel inner;
    };
    const Vocabulary vocabulary = small_vocabulary();
    const auto error_of = [&](float value) {
        const Outlier model(value);
        Descriptor fd(memfd_create("wllm", MFD_CLOEXEC));
        FileWriter writer(fd.get(), "test.wllm");
        const auto written = write_wllm({.model = model,
                                         .vocabulary = vocabulary,
                                         .chat_template = "plain",
                                         .provenance = "source=made up\n",
                                         .types = {.all = ElementType::kQ8_0, .overrides = {}},
                                         .layout = Layout::kPanels16},
                                        writer);
        return written.ok() ? std::string() : std::string(written.error().message());
    };
    EXPECT_EQ(error_of(8e6f), "");
    EXPECT_THAT(error_of(9e6f), HasSubstr("up of layer 1, row 1, column"));
    EXPECT_THAT(error_of(9e6f), HasSubstr("a weight too large in q8_0"));
    EXPECT_THAT(error_of(std::nanf("")), HasSubstr("column 1: a weight not finite"));
}

}  // namespace
}  // namespace bareflow
