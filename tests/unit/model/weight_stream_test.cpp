// A model that stays in its file says what it says from memory, whatever the ring, the disk's order and its failures.
#include "model/weight_stream.h"

#include <gmock/gmock.h>

#include <cstring>
#include <random>

#include "model/reference.h"
#include "model/tools/synthetic.h"
#include "tests/unit/model/session_support.h"
#include "tests/unit/model/test_models.h"

namespace bareflow {
namespace {

using testing::greedy;
using ::testing::HasSubstr;
using testing::SessionDesk;

/// A disk that is slow, answers in any order, and takes parts of what it is asked for.
class MoodyFile final : public AsyncFile {
 public:
    explicit MoodyFile(ByteSpan bytes) : bytes_(bytes) {}
    ~MoodyFile() { EXPECT_TRUE(waiting_.empty()) << "somebody left with its reads under way"; }

    uint64_t size() const override { return bytes_.size(); }
    bool start(Read& read) override {
        EXPECT_LT(read.offset, size());
        EXPECT_EQ(read.offset % 512, 0u);
        EXPECT_EQ(reinterpret_cast<uintptr_t>(read.out.data()) % 512, 0u);
        EXPECT_FALSE(read.out.empty());
        if (waiting_.size() == depth) return false;
        read.done = false;
        if (cut_all || random_() % 3 == 0)
            read.out =
                read.out.first(std::min<size_t>(read.out.size(), 512 + random_() % (cut_all ? 4 : 64) * 512));
        waiting_.push_back(&read);
        most_waiting = std::max(most_waiting, waiting_.size());
        return true;
    }
    void poll() override {
        if (waiting_.empty() || random_() % 2 == 0) return;
        const size_t which = random_() % waiting_.size();
        Read& read = *waiting_[which];
        waiting_.erase(waiting_.begin() + static_cast<ptrdiff_t>(which));
        std::memset(read.out.data(), 0xEE, read.out.size());
        if (reads++ == fail_at) {
            read.outcome = Error::make(ErrorCode::kDevice, "sector {}: the disk is tired", read.offset / 512);
        } else {
            const size_t there = std::min<uint64_t>(read.out.size(), size() - read.offset);
            std::memcpy(read.out.data(), bytes_.data() + read.offset, there);
            bytes_read += there;
        }
        read.done = true;
    }

    size_t depth = 5;
    bool cut_all = false;
    size_t fail_at = SIZE_MAX;  ///< the read, counted from 0
    size_t reads = 0;
    uint64_t bytes_read = 0;
    size_t most_waiting = 0;

 private:
    ByteSpan bytes_;
    std::vector<Read*> waiting_;
    std::mt19937 random_{7};
};

struct Collector final : TextListener {
    void text(std::string_view piece) override { all += piece; }
    bool stop_requested() override { return false; }
    std::string all;
};

Operators& reference() { return *reference_operators(NumericClass::kMulAdd, CpuFeatures{}).value(); }

const std::string& long_prompt() {  // more than a block of tokens
    static const std::string prompt = [] {
        std::string text = "Tom and Lily went to the park.";
        for (int i = 0; i < 6; ++i) text += " They saw a big dog and a red ball in the sun.";
        return text;
    }();
    return prompt;
}

/// What the model of `image` says after `prompt`, or "error: " and why it cannot.
std::string told(const ModelImage& image, std::string_view prompt, uint32_t tokens = 12) {
    SessionDesk desk;
    if (Result<void> opened = desk.session.open(image, reference(), 0); !opened)
        return "error: " + std::string(opened.error().message());
    Collector story;
    const Result<RunStatistics> run = desk.session.generate(prompt, tokens, greedy(), story);
    return run.ok() ? story.all : "error: " + std::string(run.error().message());
}
ModelImage whole(const Image& image) { return {"file", "test", image.bytes()}; }
ModelImage streamed(MoodyFile& file, uint64_t ring) { return {"stream", "test", {}, &file, ring}; }

/// A head of more than one slice (f32), or of panels (q8_0), tied or not.
ModelConfig wide_config(bool tied) {
    ModelConfig config = small_config(tied);
    config.hidden_size = 64;
    config.intermediate_size = 96;
    config.head_size = 16;
    config.vocab_size = 20000;
    config.context_length = 96;
    return config;
}
Image wide_image(bool tied, ElementType type, Layout layout = Layout::kPanels16) {
    return image_of(*make_synthetic("wide", wide_config(tied), 3), synthetic_vocabulary(20000), type, layout);
}

TEST(WeightStream, SaysWhatTheWholeModelSaysWhateverTheRing) {
    const Image image(testing::default_model());
    const std::string expected = told(whole(image), long_prompt());
    ASSERT_THAT(expected, HasSubstr("Tom and Lily"));
    for (uint64_t kib : {0, 1900, 2048, 3072, 5000, 100'000}) {
        const uint64_t ring = kib << 10;
        MoodyFile file(image.bytes());
        EXPECT_EQ(told(streamed(file, ring), long_prompt()), expected) << ring;
        EXPECT_GT(file.most_waiting, 1u) << "nothing is read ahead";
    }
}

TEST(WeightStream, TakesAHeadOfSeveralSlicesOfEachTypeAndLayoutTiedOrNot) {
    for (const bool tied : {false, true}) {
        for (const auto& [type, layout] : {std::pair(ElementType::kF32, Layout::kPanels16),
                                           std::pair(ElementType::kF32, Layout::kRowMajor),
                                           std::pair(ElementType::kF16, Layout::kPanels16),
                                           std::pair(ElementType::kQ8_0, Layout::kPanels16),
                                           std::pair(ElementType::kQ4_0, Layout::kPanels16)}) {
            const Image image = wide_image(tied, type, layout);
            const std::string expected = told(whole(image), "a story of words");
            for (uint64_t ring : {uint64_t{0}, uint64_t{16} << 20}) {
                MoodyFile file(image.bytes());
                EXPECT_EQ(told(streamed(file, ring), "a story of words"), expected)
                    << name_of(type) << ' ' << name_of(layout) << ' ' << tied;
            }
        }
    }
}

TEST(WeightStream, ReadsEachByteOnceWhereEverythingFits) {
    const Image image(testing::default_model());
    MoodyFile file(image.bytes());
    told(streamed(file, 0), "Once", 30);
    EXPECT_LT(file.bytes_read, image.size() * 5 / 4);  // beside the weights: rows of the embedding
}

TEST(WeightStream, ReadsTheWeightsOnceForAPromptOfFewTokens) {
    const Image image(testing::default_model());
    const std::string expected = told(whole(image), "Once upon a time", 1);
    MoodyFile file(image.bytes());
    EXPECT_EQ(told(streamed(file, 1900 << 10), "Once upon a time", 1), expected);
    EXPECT_LT(file.bytes_read, image.size() * 3);  // one turn, and what was read ahead of the next
    MoodyFile longer(image.bytes());
    told(streamed(longer, 1900 << 10), "Once upon a time", 3);
    EXPECT_GT(longer.bytes_read, file.bytes_read + image.size()) << "this ring keeps nothing";
}

// A read whose bytes nobody used, since the next token began elsewhere, may fail and change nothing.
TEST(WeightStream, SaysWhichReadFailedAndStops) {
    const Image image(testing::default_model());
    MoodyFile counting(image.bytes());
    const std::string expected = told(streamed(counting, 1900 << 10), "Once", 3);
    size_t failed = 0, tried = 0;
    for (size_t at = 0; at < counting.reads; at += 1 + counting.reads / 30) {
        MoodyFile file(image.bytes());
        file.fail_at = at;
        const std::string told_now = told(streamed(file, 1900 << 10), "Once", 3);
        const bool says_so = told_now.find("the disk is tired") != std::string::npos;
        EXPECT_TRUE(says_so || told_now == expected) << at << ": " << told_now;
        failed += says_so;
        ++tried;
    }
    EXPECT_GT(failed, tried / 2);
}

TEST(WeightStream, SaysThatATensorIsDamagedBeforeItsTokenIsTold) {
    const Image intact = wide_image(false, ElementType::kF32);
    for (uint32_t t = 0; t < tensor_count(wide_config(false)); ++t) {
        Image image(intact);
        const auto& directory = image.section(0);
        ASSERT_EQ(directory.kind, wllm::SectionKind::kTensorDirectory);
        const auto& tensor = image.at<wllm::TensorEntry>(directory.offset + t * sizeof(wllm::TensorEntry));
        if (tensor.kind == wllm::TensorKind::kEmbedding) continue;  // of it only rows are read
        image[tensor.offset + tensor.size / 2 + 1] ^= 0x10;
        MoodyFile file(image.bytes());
        EXPECT_THAT(told(streamed(file, 16 << 20), "a story", 3), HasSubstr("damaged")) << t;
    }
}

// Who only looks at the shapes (the emitter, at boot) takes the slices that differ, and skips the others.
TEST(WeightStream, ChecksAHeadOfUnequalSlicesWhoseShapesWereShownBefore) {
    ModelConfig config = wide_config(false);
    config.vocab_size = 20'001;
    Image image =
        image_of(*make_synthetic("wide", config, 3), synthetic_vocabulary(20'001), ElementType::kF32);
    const uint32_t last = tensor_count(config) - 1;
    const auto& head =
        image.at<wllm::TensorEntry>(image.section(0).offset + last * sizeof(wllm::TensorEntry));
    ASSERT_EQ(head.kind, wllm::TensorKind::kLmHead);
    for (const bool damaged : {false, true}) {
        if (damaged) image[head.offset + head.size - 4000] ^= 1;
        MoodyFile file(image.bytes());
        SessionDesk desk;
        ASSERT_TRUE(desk.session.open(streamed(file, 16 << 20), reference(), 0).ok());
        for (int shown = 0; shown < 2; ++shown) desk.session.show_calls(desk.operators, 1);
        Collector story;
        EXPECT_EQ(desk.session.generate("a story", 3, greedy(), story).ok(), !damaged);
        EXPECT_EQ(desk.session.evaluated() == 0, damaged);  // nothing is kept that damaged weights made
    }
}

TEST(WeightStream, ReadsAnyPartOfAFileWhateverItIsCutInto) {
    Bytes bytes(20'000);
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 131 >> 3);
    struct alignas(4096) Scratch {
        uint8_t bytes[3 * 4096];
    } scratch;
    MoodyFile file(bytes);
    file.cut_all = true;
    for (uint64_t offset = 0; offset < 12'000; offset += 97) {
        Bytes out(6000);
        ASSERT_TRUE(file.read_now(offset, out, scratch.bytes).ok());
        ASSERT_TRUE(std::equal(out.begin(), out.end(), bytes.begin() + static_cast<ptrdiff_t>(offset)))
            << offset;
    }
    EXPECT_FALSE(file.read_now(19'000, std::span(bytes).first(1001), scratch.bytes).ok());
}

TEST(WeightStream, RefusesTheLowestByteOfQ8PanelsAsTheLoaderDoes) {
    Image image = wide_image(false, ElementType::kQ8_0);
    const auto& tensor = image.at<wllm::TensorEntry>(image.section(0).offset + 4 * sizeof(wllm::TensorEntry));
    ASSERT_EQ(tensor.type, ElementType::kQ8_0);
    image[tensor.offset + 100] = 0x80;
    reseal(image);
    MoodyFile file(image.bytes());
    EXPECT_THAT(told(streamed(file, 0), "a story", 3), HasSubstr("holds -128"));
}

TEST(WeightStream, SaysHowLargeTheRingMustBe) {
    const Image image = wide_image(false, ElementType::kF32);
    MoodyFile file(image.bytes());
    EXPECT_THAT(told(streamed(file, 1 << 20), "a story"), HasSubstr("a ring of 1 MiB is too small"));
    const Image stories(testing::default_model());
    for (const auto& [kib, resident] : {std::pair(1900, "resident=false"), std::pair(0, "resident=true")}) {
        MoodyFile again(stories.bytes());
        SessionDesk desk;
        ASSERT_TRUE(
            desk.session.open(streamed(again, static_cast<uint64_t>(kib) << 10), reference(), 0).ok());
        EXPECT_THAT(desk.log.last("stream"), HasSubstr(resident));
    }
}

TEST(WeightStream, RefusesAFileThatIsNoModelOrTooShort) {
    const Image image = wide_image(false, ElementType::kF32);
    for (size_t bytes : {size_t{1}, size_t{127}, size_t{4096}, image.size() - 1}) {
        MoodyFile file(image.bytes().first(bytes));
        EXPECT_THAT(told(streamed(file, 0), "a story"), ::testing::StartsWith("error: wllm:")) << bytes;
    }
}

TEST(WeightStream, LeavesNoMemoryBehindWhateverFails) {
    const Image image = wide_image(false, ElementType::kF32);
    for (size_t allowed = 0;; ++allowed) {
        MoodyFile file(image.bytes());
        SessionDesk desk;
        desk.allocator.fail_after = allowed;
        const bool opened = desk.session.open(streamed(file, 16 << 20), reference(), 0).ok();
        if (opened) break;
        EXPECT_EQ(desk.allocator.live, 0u) << allowed;
    }
}

}  // namespace
}  // namespace bareflow
