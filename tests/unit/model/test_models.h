// Small models for the tests of this room: made up, written as .wllm images into memory, and damaged at will.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "arch/base/crc32c.h"
#include "arch/base/float16.h"
#include "model/tools/files.h"
#include "model/tools/std_allocator.h"
#include "model/tools/wllm_writer.h"

namespace bareflow {

using Bytes = std::vector<uint8_t>;

/// Bytes at a multiple of 64, as load_weights() wants them, and not one more, so that ASan sees a read past the end.
class Image {
 public:
    explicit Image(ByteSpan bytes) : size_(bytes.size()) {
        void* memory = nullptr;
        if (posix_memalign(&memory, wllm::kAlignment, size_) != 0) throw std::bad_alloc();
        data_.reset(static_cast<uint8_t*>(memory));
        if (size_ > 0) std::memcpy(data_.get(), bytes.data(), size_);
    }
    Image(const Image& other) : Image(other.bytes()) {}
    Image(Image&&) = default;
    Image& operator=(const Image&) = delete;

    uint8_t* data() { return data_.get(); }
    const uint8_t* data() const { return data_.get(); }
    size_t size() const { return size_; }
    ByteSpan bytes() const { return {data(), size_}; }
    uint8_t& operator[](size_t index) { return data()[index]; }
    /// The structure at `offset`, to be read and changed in place.
    template <typename T>
    T& at(uint64_t offset) {
        EXPECT_LE(offset + sizeof(T), size_);
        return *reinterpret_cast<T*>(data() + offset);
    }
    wllm::WeightHeader& header() { return at<wllm::WeightHeader>(0); }
    wllm::SectionEntry& section(uint32_t index) {
        return at<wllm::SectionEntry>(header().section_table_offset + index * sizeof(wllm::SectionEntry));
    }
    /// The writer puts the directory first.
    wllm::TensorEntry& tensor(uint32_t index) {
        return at<wllm::TensorEntry>(section(0).offset + index * sizeof(wllm::TensorEntry));
    }
    uint32_t tensor_count() { return static_cast<uint32_t>(section(0).size / sizeof(wllm::TensorEntry)); }

 private:
    struct Free {
        void operator()(uint8_t* memory) const { free(memory); }
    };
    std::unique_ptr<uint8_t, Free> data_;
    size_t size_;
};

/// Makes every checksum right again where what it covers is within the image: what somebody hostile would do.
inline void reseal(Image& image) {
    auto& header = image.header();
    const auto inside = [&](uint64_t offset, uint64_t size) {
        return offset % wllm::kAlignment == 0 && fits(offset, size, image.size());
    };
    const auto seal = [&](uint64_t offset, uint64_t size, uint32_t& crc) {
        if (inside(offset, size)) crc = crc32c(image.bytes().subspan(offset, size));
    };
    const uint64_t table_size = uint64_t{header.section_count} * sizeof(wllm::SectionEntry);
    for (uint32_t i = 0; inside(header.section_table_offset, table_size) && i < header.section_count; ++i) {
        auto& section = image.section(i);
        const bool directory = section.kind == wllm::SectionKind::kTensorDirectory;
        const uint64_t tensors = section.size / sizeof(wllm::TensorEntry);
        for (uint64_t t = 0; directory && inside(section.offset, section.size) && t < tensors; ++t) {
            auto& tensor = image.at<wllm::TensorEntry>(section.offset + t * sizeof(wllm::TensorEntry));
            seal(tensor.offset, tensor.size, tensor.crc32c);
        }
        seal(section.offset, section.size, section.crc32c);
    }
    seal(header.section_table_offset, table_size, header.section_table_crc32c);
    seal(0, offsetof(wllm::WeightHeader, header_crc32c), header.header_crc32c);
}

/// A model whose weights follow from where they stand, so that a test can say what must lie where. All of them are
/// multiples of 2^-10 between -1 and 1: exact in f16 too.
class MadeUpModel final : public ModelSource {
 public:
    explicit MadeUpModel(ModelConfig config) : config_(config) {}
    static float weight(TensorName tensor, uint32_t row, uint32_t column) {
        const uint32_t seed =
            (static_cast<uint32_t>(tensor.kind) * 31 + tensor.layer) * 1009 + row * 101 + column * 7;
        return static_cast<float>(static_cast<int32_t>(seed * 2654435761u >> 21) - 1024) / 1024;
    }
    std::string_view format() const override { return "made up"; }
    const ModelConfig& config() const override { return config_; }
    Result<void> read_rows(TensorName tensor, uint32_t first_row, uint32_t row_count,
                           std::span<float> out) const override {
        const uint32_t columns = shape_of(config_, tensor.kind).columns;
        for (uint32_t i = 0; i < row_count * columns; ++i) {
            out[i] = weight(tensor, first_row + i / columns, i % columns);
        }
        return {};
    }
    Result<std::string> provenance() const override { return std::string("source=made up\n"); }

 private:
    ModelConfig config_;
};

/// Two layers, grouped heads, and no number of rows that is a multiple of 16 but one.
inline ModelConfig small_config(bool tied = true) {
    return {.num_layers = 2,
            .hidden_size = 8,
            .intermediate_size = 18,
            .vocab_size = 10,
            .num_heads = 4,
            .num_kv_heads = 2,
            .head_size = 4,
            .context_length = 16,
            .rope_theta = 10000.0f,
            .norm_eps = 1e-5f,
            .tied_embedding = tied,
            .bos_id = 1,
            .eos_id = 2,
            .unk_id = 0};
}

inline Vocabulary small_vocabulary() {
    using enum wllm::PieceType;
    return {.pieces = {{"<unk>", 0, kUnknown},
                       {"<s>", 0, kControl},
                       {"</s>", 0, kControl},
                       {"<0x41>", 0, kByte},
                       {" ", -5, kNormal},
                       {"a", -4, kNormal},
                       {"b", -3, kNormal},
                       {"ab", -1, kNormal},
                       {"\xC3\xA9", -2, kNormal}}};
}

inline Image image_of(const ModelSource& model, const Vocabulary& vocabulary,
                      ElementType type = ElementType::kF32, Layout layout = Layout::kPanels16) {
    Descriptor fd(memfd_create("wllm", MFD_CLOEXEC));
    FileWriter writer(fd.get(), "test.wllm");
    const auto written = write_wllm({.model = model,
                                     .vocabulary = vocabulary,
                                     .chat_template = "zephyr",
                                     .provenance = "source=made up\n",
                                     .types = {.all = type},
                                     .layout = layout},
                                    writer);
    EXPECT_TRUE(written.ok()) << written.error().message();
    const auto mapped = MappedFile::map(fd.get(), "test.wllm");
    return Image(mapped.value().bytes());
}

inline Image small_image(ElementType type = ElementType::kF32, Layout layout = Layout::kPanels16,
                         bool tied = true) {
    return image_of(MadeUpModel(small_config(tied)), small_vocabulary(), type, layout);
}

/// That each weight of an image of f32 or f16 is expected(its tensor, row, column).
template <typename Expected>
void expect_weights(Image& image, const ModelConfig& config, Expected expected) {
    StdAllocator allocator;
    const auto loaded = load_weights(image.bytes(), allocator);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message();
    EXPECT_EQ(loaded.value().config, config);
    for (uint32_t i = 0; i < image.tensor_count(); ++i) {
        const wllm::TensorEntry& entry = image.tensor(i);
        for (uint32_t n = 0; n < entry.rows; ++n) {
            for (uint32_t k = 0; k < entry.columns; ++k) {
                const uint64_t index = entry.layout == Layout::kRowMajor
                                           ? n * entry.columns + k
                                           : n / 16 * 16 * entry.columns + k * 16 + n % 16;
                const float stored = entry.type == ElementType::kF32
                                         ? image.at<float>(entry.offset + index * 4)
                                         : f32_from_f16(image.at<uint16_t>(entry.offset + index * 2));
                ASSERT_EQ(stored, expected(TensorName{entry.kind, entry.layer}, n, k))
                    << wllm::name_of(entry.kind) << entry.layer << " (" << n << ", " << k << ")";
            }
        }
    }
}

/// A folder that goes away with the test.
class TemporaryFolder {
 public:
    TemporaryFolder() {
        std::string pattern = (std::filesystem::temp_directory_path() / "bareflow-test-XXXXXX").string();
        path_ = mkdtemp(pattern.data());
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    ~TemporaryFolder() { std::filesystem::remove_all(path_); }
    std::string operator/(const std::string& name) const { return (path_ / name).string(); }
    std::string write(const std::string& name, ByteSpan bytes) const {
        const std::string path = *this / name;
        std::ofstream(path, std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
        return path;
    }
    std::vector<std::string> names() const {
        std::vector<std::string> names;
        for (const auto& entry : std::filesystem::directory_iterator(path_))
            names.push_back(entry.path().filename());
        std::sort(names.begin(), names.end());
        return names;
    }

 private:
    std::filesystem::path path_;
};

inline Bytes read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return Bytes(std::istreambuf_iterator<char>(file), {});
}

/// Where files are that may be used but not committed: beside the repository. Tests run from its root.
inline std::string shared_model(const std::string& name) { return "../shared/models/" + name; }

#define SKIP_WITHOUT(path)                                                                          \
    if (!std::filesystem::exists(path)) {                                                           \
        GTEST_SKIP() << "skipped: " << (path) << " is not there (it is no part of the repository)"; \
    }

}  // namespace bareflow
