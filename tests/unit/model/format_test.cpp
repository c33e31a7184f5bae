// What model/README.md says of a .wllm, byte by byte, against what is written. Offsets are the document's, not the
// structures'.
#include <gtest/gtest.h>

#include "arch/base/float16.h"
#include "tests/unit/model/test_models.h"

namespace bareflow {
namespace {

uint32_t u32(const Image& image, size_t offset) {
    const uint8_t* p = image.data() + offset;
    return p[0] | p[1] << 8 | p[2] << 16 | uint32_t{p[3]} << 24;
}
uint64_t u64(const Image& image, size_t offset) {
    return u32(image, offset) | uint64_t{u32(image, offset + 4)} << 32;
}
float f32(const Image& image, size_t offset) { return std::bit_cast<float>(u32(image, offset)); }
uint16_t u16(const Image& image, size_t offset) {
    return static_cast<uint16_t>(image.data()[offset] | image.data()[offset + 1] << 8);
}

constexpr size_t kHeaderSize = 128, kSectionEntrySize = 32, kTensorEntrySize = 48;

/// (offset, size) of the section of a kind.
std::pair<uint64_t, uint64_t> section(const Image& image, uint32_t kind) {
    for (uint32_t i = 0; i < u32(image, 96); ++i) {
        const uint64_t entry = u64(image, 88) + i * kSectionEntrySize;
        if (u32(image, entry) == kind) return {u64(image, entry + 8), u64(image, entry + 16)};
    }
    return {};
}

TEST(WllmFormat, HeaderLiesAsSpecified) {
    const Image image = small_image(ElementType::kF32, Layout::kPanels16, false);
    const uint8_t magic[] = {'L', 'L', 'M', 'W', 2, 0, 0, 0, 1, 0, 0, 0};
    EXPECT_TRUE(std::equal(std::begin(magic), std::end(magic), image.data()));
    const uint32_t sizes[] = {2, 8, 18, 10, 4};  // layers, hidden, intermediate, vocabulary, heads
    for (size_t i = 0; i < std::size(sizes); ++i) EXPECT_EQ(u32(image, 12 + 4 * i), sizes[i]) << i;
    EXPECT_EQ(u32(image, 40), kHeaderSize);
    EXPECT_EQ(u32(image, 44), 2u);   // kv heads
    EXPECT_EQ(u32(image, 48), 4u);   // head size
    EXPECT_EQ(u32(image, 52), 16u);  // context
    EXPECT_EQ(f32(image, 56), 10000.0f);
    EXPECT_EQ(f32(image, 60), 1e-5f);
    EXPECT_EQ(u32(image, 64), 0u);  // not tied
    EXPECT_EQ(u32(image, 68), 1u);
    EXPECT_EQ(u32(image, 72), 2u);
    EXPECT_EQ(u32(image, 76), 0u);
    EXPECT_EQ(u64(image, 80), image.size());
    EXPECT_EQ(u32(image, 96), 4u);
    for (size_t offset = 104; offset < 124; ++offset) EXPECT_EQ(image.data()[offset], 0) << offset;
    EXPECT_EQ(u32(image, 124), crc32c(image.bytes().first(124)));
    EXPECT_EQ(u32(image, 100), crc32c(image.bytes().subspan(u64(image, 88), 4 * kSectionEntrySize)));
    EXPECT_EQ(u32(small_image(), 64), 1u);  // tied
}

TEST(WllmFormat, DefaultsAndRopeScalingLieAsSpecified) {
    ModelConfig config = small_config();
    config.rope_scaling = 4;
    Vocabulary vocabulary = small_vocabulary();
    vocabulary.add_bos = false;
    const MadeUpModel model(config);
    const Descriptor fd(memfd_create("wllm", MFD_CLOEXEC));
    FileWriter writer(fd.get(), "test.wllm");
    const auto written = write_wllm({.model = model,
                                     .vocabulary = vocabulary,
                                     .chat_template = "plain",
                                     .provenance = "source=made up\n",
                                     .defaults = "temp=0.6\n",
                                     .types = {},
                                     .layout = Layout::kPanels16},
                                    writer);
    ASSERT_TRUE(written.ok());
    const Image image(MappedFile::map(fd.get(), "test.wllm").value().bytes());
    EXPECT_EQ(f32(image, 104), 4.0f);
    EXPECT_EQ(u32(image, 96), 5u);  // sections
    const auto [offset, size] = section(image, 5);
    EXPECT_EQ(std::string(image.data() + offset, image.data() + offset + size), "temp=0.6\n");
    EXPECT_EQ(u32(image, section(image, 2).first + 4), 3u);  // a space before the text, but no BOS
    StdAllocator allocator;
    const Weights weights = load_weights(image.bytes(), allocator).take();
    EXPECT_EQ(weights.config, config);
    EXPECT_EQ(weights.defaults, "temp=0.6\n");
}

TEST(WllmFormat, TokenizerSectionLiesAsSpecified) {
    const Image image = small_image();
    const auto [offset, size] = section(image, 2);
    const auto pieces = small_vocabulary().pieces;
    const size_t count = pieces.size();
    std::string text;
    EXPECT_EQ(offset % 64, 0u);
    EXPECT_EQ(u32(image, offset), count);
    EXPECT_EQ(u32(image, offset + 4), 1u);  // dummy prefix
    EXPECT_EQ(u32(image, offset + 12), 0u);
    for (size_t i = 0; i < count; ++i) {
        text += pieces[i].text;
        EXPECT_EQ(f32(image, offset + 16 + 4 * i), pieces[i].score);
        EXPECT_EQ(u32(image, offset + 16 + 4 * count + 4 * i), text.size());
        EXPECT_EQ(image.data()[offset + 16 + 8 * count + i], static_cast<uint8_t>(pieces[i].type));
    }
    EXPECT_EQ(u32(image, offset + 8), text.size());
    EXPECT_EQ(size, 16 + 9 * count + text.size());
    EXPECT_EQ(std::memcmp(image.data() + offset + 16 + 9 * count, text.data(), text.size()), 0);
}

TEST(WllmFormat, TextSectionsHoldTheTemplateAndTheProvenance) {
    const Image image = small_image();
    const auto text = [&](uint32_t kind) {
        const auto [offset, size] = section(image, kind);
        return std::string(reinterpret_cast<const char*>(image.data()) + offset, size);
    };
    EXPECT_EQ(text(3), "zephyr");
    EXPECT_EQ(text(4), "source=made up\n");
}

struct Storage {
    ElementType type;
    Layout layout;
};

class WllmTensors : public ::testing::TestWithParam<Storage> {};

TEST_P(WllmTensors, EachWeightLiesWhereTheLayoutSays) {
    const auto [type, layout] = GetParam();
    const ModelConfig config = small_config(false);
    const Image image = small_image(type, layout, false);
    const auto [directory, directory_size] = section(image, 1);
    ASSERT_EQ(directory_size / kTensorEntrySize, 2 * 9u + 3);
    uint64_t total = 0;
    for (uint64_t entry = directory; entry < directory + directory_size; entry += kTensorEntrySize) {
        const TensorName name{static_cast<wllm::TensorKind>(u32(image, entry)), u32(image, entry + 4)};
        const bool norm = u32(image, entry) >= 8 && u32(image, entry) <= 10;
        const bool half = u32(image, entry + 8) == 1, panels = u32(image, entry + 12) == 1;
        EXPECT_EQ(half, type == ElementType::kF16 && !norm);
        EXPECT_EQ(panels, layout == Layout::kPanels16 && !norm);
        const uint32_t rows = u32(image, entry + 16), columns = u32(image, entry + 20);
        EXPECT_EQ(rows, shape_of(config, name.kind).rows);
        EXPECT_EQ(columns, shape_of(config, name.kind).columns);
        const uint64_t offset = u64(image, entry + 32), size = u64(image, entry + 40);
        EXPECT_EQ(offset % 64, 0u);
        const uint32_t stored_rows = panels ? (rows + 15) / 16 * 16 : rows;
        ASSERT_EQ(size, uint64_t{stored_rows} * columns * (half ? 2 : 4));
        EXPECT_EQ(u32(image, entry + 24), crc32c(image.bytes().subspan(offset, size)));
        for (uint32_t n = 0; n < stored_rows; ++n) {
            for (uint32_t k = 0; k < columns; ++k) {
                const uint64_t index = panels ? n / 16 * 16 * columns + k * 16 + n % 16 : n * columns + k;
                const float stored =
                    half ? f32_from_f16(u16(image, offset + 2 * index)) : f32(image, offset + 4 * index);
                const float expected = n < rows ? MadeUpModel::weight(name, n, k) : 0.0f;
                ASSERT_EQ(stored, expected) << wllm::name_of(name.kind) << " row " << n << " column " << k;
            }
        }
        total += size;
    }
    EXPECT_EQ(u64(image, 32), total);
}

INSTANTIATE_TEST_SUITE_P(OfEachTypeAndLayout, WllmTensors,
                         ::testing::Values(Storage{ElementType::kF32, Layout::kRowMajor},
                                           Storage{ElementType::kF32, Layout::kPanels16},
                                           Storage{ElementType::kF16, Layout::kRowMajor},
                                           Storage{ElementType::kF16, Layout::kPanels16}),
                         [](const auto& storage) {
                             return std::string(name_of(storage.param.type)) +
                                    (storage.param.layout == Layout::kRowMajor ? "Rows" : "Panels");
                         });

TEST(WllmFormat, LayersOfManyRowsArePackedInSeveralSteps) {
    // More values than the writer takes at a time, in a number of rows that no panel divides.
    ModelConfig config = small_config();
    config.vocab_size = 16397;
    const Image image = image_of(MadeUpModel(config), small_vocabulary());
    const auto [directory, size] = section(image, 1);
    for (uint64_t entry = directory; entry < directory + size; entry += kTensorEntrySize) {
        if (u32(image, entry) != 12) continue;
        const uint64_t offset = u64(image, entry + 32);
        for (uint32_t n : {0u, 15u, 8191u, 8192u, 16384u, 16396u}) {
            EXPECT_EQ(f32(image, offset + 4 * (n / 16 * 16 * 8 + 5 * 16 + n % 16)),
                      MadeUpModel::weight({wllm::TensorKind::kEmbedding, wllm::kNoLayer}, n, 5))
                << n;
        }
    }
}

}  // namespace
}  // namespace bareflow
