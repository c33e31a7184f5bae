#include "model/tools/llama2c.h"

#include <array>
#include <cmath>
#include <cstdlib>

#include "model/tools/files.h"

namespace bareflow {
namespace {

using wllm::TensorKind;

constexpr uint32_t kMagic = 0x616B3432;  // "ak42"
constexpr uint64_t kVersionedHeaderSize = 256;
constexpr uint64_t kConfigOffset = 8;  // in v1 and v2, after magic and version; in v0 it is 0
constexpr float kRopeTheta = 10000.0f;
constexpr float kNormEps = 1e-5f;

/// In the order of the file.
struct Config {
    int32_t dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len;
};
static_assert(sizeof(Config) == 28);

using enum wllm::TensorKind;
constexpr TensorKind kOrderV0[] = {kEmbedding, kAttentionNorm, kQuery, kKey, kValue,     kOutput,
                                   kFfnNorm,   kGate,          kDown,  kUp,  kFinalNorm, kLmHead};
constexpr TensorKind kOrderV1[] = {kAttentionNorm, kFfnNorm, kFinalNorm, kEmbedding, kQuery, kKey,
                                   kValue,         kOutput,  kGate,      kDown,      kUp,    kLmHead};
constexpr size_t kKinds = static_cast<size_t>(kEmbedding) + 1;

/// Where the tensors of one kind lie: layer l begins at offset + l * stride.
struct Region {
    uint64_t offset = 0;
    uint64_t stride = 0;
};

class Llama2cModel final : public ModelSource {
 public:
    explicit Llama2cModel(InputFile file) : file_(std::move(file)) {}

    Result<void> read_header();

    std::string_view format() const override {
        constexpr std::string_view kNames[] = {"llama2.c v0", "llama2.c v1", "llama2.c v2 (Q8_0)"};
        return kNames[version_];
    }
    const ModelConfig& config() const override { return config_; }
    Result<void> read_rows(TensorName tensor, uint32_t first_row, uint32_t row_count,
                           std::span<float> out) const override;
    Result<std::string> provenance() const override;

 private:
    std::string_view name() const { return file_.name(); }
    bool is_quantised(TensorKind kind) const { return group_size_ != 0 && !is_norm(kind); }
    Result<void> read_config(uint64_t offset, bool signed_vocabulary);
    Result<void> read_flags();
    Result<void> lay_out();
    Result<void> read_quantised(uint64_t tensor, uint64_t elements, uint64_t first,
                                std::span<float> out) const;

    InputFile file_;
    uint32_t version_ = 0;
    uint32_t group_size_ = 0;  ///< of v2; else 0
    ModelConfig config_;
    std::array<Region, kKinds> regions_;  ///< by TensorKind
};

template <typename T, size_t Extent>
std::span<uint8_t> bytes_of(std::span<T, Extent> items) {
    return {reinterpret_cast<uint8_t*>(items.data()), items.size_bytes()};
}

Result<void> Llama2cModel::read_header() {
    uint32_t start[2] = {};
    if (file_.size() < sizeof(Config)) {
        return invalid("{}: {} bytes are too few for a llama2.c header of {}; the file is cut short", name(),
                       file_.size(), sizeof(Config));
    }
    TRY(file_.read_at(0, bytes_of(std::span(start))));
    if (start[0] != kMagic) {
        TRY(read_config(0, true));
        return lay_out();
    }
    if (start[1] != 1 && start[1] != 2) {
        return Error::make(ErrorCode::kUnsupported,
                           "{}: llama2.c version (offset 4) is {}; 0, 1 and 2 can be read", name(), start[1]);
    }
    if (file_.size() < kVersionedHeaderSize) {
        return invalid("{}: {} bytes are too few for a llama2.c header of {}; the file is cut short", name(),
                       file_.size(), kVersionedHeaderSize);
    }
    version_ = start[1];
    TRY(read_config(kConfigOffset, false));
    TRY(read_flags());
    return lay_out();
}

/// The seven numbers at `offset`. Where there is no flag for it, a negative vocabulary says that nothing is tied.
Result<void> Llama2cModel::read_config(uint64_t offset, bool signed_vocabulary) {
    Config c;
    TRY(file_.read_at(offset, bytes_of(std::span(&c, 1))));
    const int64_t vocabulary = c.vocab_size;
    const bool negative = signed_vocabulary && vocabulary < 0;
    struct Field {
        std::string_view name;
        int64_t value;
        int64_t minimum;
        int64_t maximum;
    };
    constexpr int64_t kSpecialTokens = 3;  // unknown, BOS, EOS
    const Field fields[] = {
        {"dim", c.dim, 1, wllm::kMaxDimension},
        {"hidden_dim", c.hidden_dim, 1, wllm::kMaxDimension},
        {"n_layers", c.n_layers, 1, wllm::kMaxLayers},
        {"n_heads", c.n_heads, 1, c.dim},
        {"n_kv_heads", c.n_kv_heads, 1, c.n_heads},
        {"vocab_size", negative ? -vocabulary : vocabulary, kSpecialTokens, wllm::kMaxDimension},
        {"seq_len", c.seq_len, 1, wllm::kMaxDimension},
    };
    for (size_t i = 0; i < std::size(fields); ++i) {
        const Field& field = fields[i];
        if (field.value < field.minimum || field.value > field.maximum) {
            return invalid(
                "{}: {} (offset {}) is {}, not {} to {}: this is no llama2.c model, or it is damaged", name(),
                field.name, offset + i * sizeof(int32_t), field.value, field.minimum, field.maximum);
        }
    }
    const uint64_t heads_offset = offset + offsetof(Config, n_heads);
    if (c.dim % c.n_heads != 0 || c.dim / c.n_heads % 2 != 0) {
        return invalid(
            "{}: dim {} does not give {} heads (n_heads, offset {}) of an even size; the file is damaged",
            name(), c.dim, c.n_heads, heads_offset);
    }
    if (c.n_heads % c.n_kv_heads != 0) {
        return invalid("{}: n_heads (offset {}), {}, is no multiple of n_kv_heads, {}; the file is damaged",
                       name(), heads_offset, c.n_heads, c.n_kv_heads);
    }
    config_ = {
        .num_layers = static_cast<uint32_t>(c.n_layers),
        .hidden_size = static_cast<uint32_t>(c.dim),
        .intermediate_size = static_cast<uint32_t>(c.hidden_dim),
        .vocab_size = static_cast<uint32_t>(std::abs(vocabulary)),
        .num_heads = static_cast<uint32_t>(c.n_heads),
        .num_kv_heads = static_cast<uint32_t>(c.n_kv_heads),
        .head_size = static_cast<uint32_t>(c.dim / c.n_heads),
        .context_length = static_cast<uint32_t>(c.seq_len),
        .rope_theta = kRopeTheta,
        .norm_eps = kNormEps,
        .tied_embedding = !negative,
        .bos_id = 1,
        .eos_id = 2,
        .unk_id = 0,
    };
    return {};
}

/// What follows the Config in v1 and v2: tied or not, v2's group size, zeros.
Result<void> Llama2cModel::read_flags() {
    constexpr uint64_t kSharedOffset = kConfigOffset + sizeof(Config);
    constexpr uint64_t kGroupOffset = kSharedOffset + 1;  // packed: not aligned
    std::array<uint8_t, kVersionedHeaderSize> header;
    TRY(file_.read_at(0, header));
    const uint8_t shared = header[kSharedOffset];
    if (shared > 1) {
        return invalid(
            "{}: the shared classifier flag (offset {}) is {}, must be 0 or 1; the file is damaged", name(),
            kSharedOffset, shared);
    }
    config_.tied_embedding = shared == 1;
    uint64_t end = kGroupOffset;
    if (version_ == 2) {
        int32_t group_size;
        __builtin_memcpy(&group_size, header.data() + kGroupOffset, sizeof group_size);
        if (group_size < 1 || static_cast<uint32_t>(group_size) > wllm::kMaxDimension) {
            return invalid("{}: the group size (offset {}) is {}, must be 1 to {}; the file is damaged",
                           name(), kGroupOffset, group_size, wllm::kMaxDimension);
        }
        group_size_ = static_cast<uint32_t>(group_size);
        end += sizeof group_size;
    }
    for (; end < header.size(); ++end) {
        if (header[end] != 0) {
            return invalid(
                "{}: the byte at {} is {}, but nothing is known to stand there; a dialect of llama2.c's "
                "format?",
                name(), end, header[end]);
        }
    }
    return {};
}

/// Finds where each tensor begins; the last must end with the file.
Result<void> Llama2cModel::lay_out() {
    uint64_t end = version_ == 0 ? sizeof(Config) : kVersionedHeaderSize;
    for (TensorKind kind : version_ == 0 ? std::span(kOrderV0) : std::span(kOrderV1)) {
        if (kind == kLmHead && version_ == 0) {
            // Two tables, each a float for half of a head's values at each position: skipped.
            end += uint64_t{config_.context_length} * config_.head_size * sizeof(float);
        }
        if (kind == kLmHead && config_.tied_embedding) break;
        const TensorShape shape = shape_of(config_, kind);
        const uint64_t elements = uint64_t{shape.rows} * shape.columns;  // at most 2^48
        uint64_t stride = elements * sizeof(float);
        if (is_quantised(kind)) {
            if (elements % group_size_ != 0) {
                return invalid(
                    "{}: {} has {} values, no multiple of the group size (offset 37), {}; the file is "
                    "damaged",
                    name(), wllm::name_of(kind), elements, group_size_);
            }
            stride = elements + elements / group_size_ * sizeof(float);
        }
        const uint64_t layers = is_per_layer(kind) ? config_.num_layers : 1;
        regions_[static_cast<size_t>(kind)] = {end, stride};
        uint64_t size;
        if (__builtin_mul_overflow(stride, layers, &size) || __builtin_add_overflow(end, size, &end)) {
            return invalid("{}: the sizes in its header overflow at {}; the file is damaged", name(),
                           wllm::name_of(kind));
        }
        if (end > file_.size()) {
            return invalid(
                "{}: {} would end at {}, but the file has {} bytes; it is cut short, or no llama2.c model",
                name(), wllm::name_of(kind), end, file_.size());
        }
    }
    if (end != file_.size()) {
        return invalid(
            "{}: its header explains {} of its {} bytes; {}", name(), end, file_.size(),
            end < file_.size() ? "take off what is appended, or it is no llama2.c model" : "it is cut short");
    }
    return {};
}

Result<void> Llama2cModel::read_rows(TensorName tensor, uint32_t first_row, uint32_t row_count,
                                     std::span<float> out) const {
    const TensorShape shape = shape_of(config_, tensor.kind);
    ASSERT(fits(first_row, row_count, shape.rows) && out.size() == uint64_t{row_count} * shape.columns);
    const Region& region = regions_[static_cast<size_t>(tensor.kind)];
    const uint64_t start = region.offset + (is_per_layer(tensor.kind) ? tensor.layer * region.stride : 0);
    const uint64_t first = uint64_t{first_row} * shape.columns;
    if (is_quantised(tensor.kind))
        return read_quantised(start, uint64_t{shape.rows} * shape.columns, first, out);
    return file_.read_at(start + first * sizeof(float), bytes_of(out));
}

/// Values [first, first + out.size()) of a tensor of `elements` int8 values at `tensor`, its scales behind them.
Result<void> Llama2cModel::read_quantised(uint64_t tensor, uint64_t elements, uint64_t first,
                                          std::span<float> out) const {
    std::vector<int8_t> values(out.size());
    TRY(file_.read_at(tensor + first, bytes_of(std::span(values))));
    const uint64_t first_group = first / group_size_;
    std::vector<float> scales((first + out.size() - 1) / group_size_ - first_group + 1);
    const uint64_t scales_offset = tensor + elements + first_group * sizeof(float);
    TRY(file_.read_at(scales_offset, bytes_of(std::span(scales))));
    for (size_t i = 0; i < scales.size(); ++i) {
        // Early exporters wrote all scales at the end of the file, which no reader of llama2.c's expects.
        if (!std::isfinite(scales[i]) || scales[i] < 0) {
            return invalid(
                "{}: the scale at {} is no finite number from 0 up; the file is damaged, or of an early "
                "version 2 with all its scales at the end",
                name(), scales_offset + i * sizeof(float));
        }
    }
    for (size_t i = 0; i < out.size(); ++i) {
        out[i] = static_cast<float>(values[i]) * scales[(first + i) / group_size_ - first_group];
    }
    return {};
}

Result<std::string> Llama2cModel::provenance() const {
    const uint32_t crc = TRY(file_.checksum());
    return "source=" + printable(file_.name()) + "\nsource_format=" + std::string(format()) +
           "\nsource_bytes=" + std::to_string(file_.size()) +
           "\nsource_crc32c=" + std::string(FixedString<8>::formatted("{:08x}", crc).view()) + "\n";
}

}  // namespace

Result<std::unique_ptr<ModelSource>> open_llama2c(const std::string& path) {
    auto model = std::make_unique<Llama2cModel>(TRY(InputFile::open(path)));
    TRY(model->read_header());
    return std::unique_ptr<ModelSource>(std::move(model));
}

}  // namespace bareflow
