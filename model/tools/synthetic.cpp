#include "model/tools/synthetic.h"

#include <cmath>

namespace bareflow {
namespace {

/// splitmix64's mixing of a counter (Steele, Lea, Flood 2014): neighbours have nothing in common.
uint64_t mixed(uint64_t z) {
    z *= 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/// The sum of two 16-bit numbers less its mean: a triangle, of standard deviation sqrt(2 * 65536^2 / 12).
constexpr int kMean = 65535;
constexpr float kDeviation = 26754.78f;
float triangle(uint32_t random) {
    return static_cast<float>(static_cast<int>((random & 0xFFFF) + (random >> 16)) - kMean);
}

/// How far apart logits are, in standard deviations: a trained model's few likely tokens, not 32,000 alike.
constexpr float kLogitSpread = 3.0f;
/// Norm weights are 1, give or take.
constexpr float kNormSpread = 0.05f;

class SyntheticModel final : public ModelSource {
 public:
    SyntheticModel(std::string_view shape_name, const ModelConfig& config, uint64_t seed)
        : shape_name_(shape_name),
          config_(config),
          seed_(seed),
          vocabulary_(synthetic_vocabulary(config.vocab_size)) {}

    std::string_view format() const override { return "synthetic weights"; }
    const ModelConfig& config() const override { return config_; }
    const Vocabulary* vocabulary() const override { return &vocabulary_; }
    Result<std::string> provenance() const override {
        return "source=synthetic " + shape_name_ + "\nseed=" + std::to_string(seed_) + "\n";
    }
    Result<void> read_rows(TensorName tensor, uint32_t first_row, uint32_t row_count,
                           std::span<float> out) const override;

 private:
    float deviation(wllm::TensorKind kind, uint32_t columns) const;

    std::string shape_name_;
    ModelConfig config_;
    uint64_t seed_;
    Vocabulary vocabulary_;
};

float SyntheticModel::deviation(wllm::TensorKind kind, uint32_t columns) const {
    using enum wllm::TensorKind;
    const float even = 1.0f / std::sqrt(static_cast<float>(columns));
    if (kind == kLmHead || kind == kEmbedding) return kLogitSpread * even;
    // What is added to the residual in every layer, so that it stays as large however many layers there are.
    if (kind == kOutput || kind == kDown)
        return even / std::sqrt(2.0f * static_cast<float>(config_.num_layers));
    return even;
}

Result<void> SyntheticModel::read_rows(TensorName tensor, uint32_t first_row, uint32_t row_count,
                                       std::span<float> out) const {
    const TensorShape shape = shape_of(config_, tensor.kind);
    ASSERT(out.size() == size_t{row_count} * shape.columns);
    const uint64_t stream =
        mixed(seed_ ^ mixed(uint64_t{tensor.layer} << 32 | static_cast<uint32_t>(tensor.kind)));
    const bool norm = is_norm(tensor.kind);
    const float scale = (norm ? kNormSpread : deviation(tensor.kind, shape.columns)) / kDeviation;
    const float middle = norm ? 1.0f : 0.0f;
    const uint64_t first = uint64_t{first_row} * shape.columns;
    uint64_t random = mixed(stream + first / 2);
    for (size_t i = 0; i < out.size(); ++i) {  // a random number holds two weights
        const uint64_t place = first + i;
        if (place % 2 == 0) random = mixed(stream + place / 2);
        out[i] = middle + triangle(static_cast<uint32_t>(place % 2 == 0 ? random : random >> 32)) * scale;
    }
    return {};
}

}  // namespace

std::unique_ptr<ModelSource> make_synthetic(std::string_view shape_name, const ModelConfig& config,
                                            uint64_t seed) {
    return std::make_unique<SyntheticModel>(shape_name, config, seed);
}

Vocabulary synthetic_vocabulary(uint32_t count) {
    using wllm::PieceType;
    constexpr uint32_t kBytes = 256, kLetters = 26;
    Vocabulary vocabulary;
    std::vector<Vocabulary::Piece>& pieces = vocabulary.pieces;
    const auto add = [&](std::string text, float score, PieceType type) {
        if (pieces.size() < count) pieces.push_back({std::move(text), score, type});
    };
    add("<unk>", 0, PieceType::kUnknown);
    add("<s>", 0, PieceType::kControl);
    add("</s>", 0, PieceType::kControl);
    for (uint32_t byte = 0; byte < kBytes; ++byte) {
        constexpr char kHex[] = "0123456789ABCDEF";
        add(std::string("<0x") + kHex[byte / 16] + kHex[byte % 16] + ">", 0, PieceType::kByte);
    }
    add(" ", 0, PieceType::kNormal);
    // Word number n in base 26 without a zero: a … z, aa, ab, …, so each begins with an earlier one and can be merged.
    for (uint32_t n = 1; pieces.size() < count; ++n) {
        std::string word;
        for (uint32_t left = n; left > 0; left = (left - 1) / kLetters)
            word.insert(word.begin(), static_cast<char>('a' + (left - 1) % kLetters));
        add(word, -static_cast<float>(n), PieceType::kNormal);
    }
    return vocabulary;
}

}  // namespace bareflow
