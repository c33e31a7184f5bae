#include "model/tools/gguf.h"

#include <algorithm>
#include <vector>

#include "model/tools/gguf_config.h"
#include "model/tools/gguf_tokenizer.h"

namespace bareflow {
namespace {

using gguf::TensorType;
using wllm::TensorKind;

constexpr uint64_t kMaxTemplateBytes = uint64_t{1} << 20;

/// Where a tensor stands among nth_tensor()'s.
std::string name_in_gguf(TensorName tensor) {
    constexpr std::string_view kNames[] = {
        "",         "attn_q",    "attn_k",   "attn_v",      "attn_output", "ffn_gate",  "ffn_up",
        "ffn_down", "attn_norm", "ffn_norm", "output_norm", "output",      "token_embd"};
    const std::string name(kNames[static_cast<size_t>(tensor.kind)]);
    return (is_per_layer(tensor.kind) ? "blk." + std::to_string(tensor.layer) + "." : "") + name + ".weight";
}

class GgufModel final : public ModelSource {
 public:
    explicit GgufModel(gguf::File file) : file_(std::move(file)) {}

    Result<void> read();

    std::string_view format() const override {
        constexpr std::string_view kNames[] = {"GGUF v1", "GGUF v2", "GGUF v3"};
        return kNames[file_.version() - 1];
    }
    const ModelConfig& config() const override { return config_; }
    const Vocabulary* vocabulary() const override { return &vocabulary_; }
    std::string_view chat_template() const override { return chat_template_; }
    std::string_view sampling_defaults() const override { return sampling_defaults_; }
    Result<std::string> provenance() const override { return read_provenance(file_, format()); }

    ElementType own_type(TensorName name) const override;
    bool has_groups(TensorName name, ElementType type) const override;
    Result<void> read_rows(TensorName name, uint32_t first_row, uint32_t row_count,
                           std::span<float> out) const override;
    Result<void> read_groups(TensorName name, uint32_t first_row, uint32_t row_count,
                             std::span<QuantisedGroup> out) const override;

 private:
    Result<void> find_tensors();
    Result<void> check_tensor(TensorName name, const gguf::Tensor& tensor) const;
    Result<void> check_others() const;
    const gguf::Tensor& at(TensorName name) const { return *file_.find_tensor(name_in_gguf(name)); }
    /// The blocks of some values from `first` on, both multiples of a block's.
    Result<std::vector<uint8_t>> read_blocks(const gguf::Tensor& tensor, uint64_t first,
                                             uint64_t count) const;

    gguf::File file_;
    ModelConfig config_;
    Vocabulary vocabulary_;
    std::string chat_template_, sampling_defaults_;
};

Result<void> GgufModel::read() {
    config_ = TRY(read_config(file_));
    TRY(find_tensors());
    TRY(check_others());
    vocabulary_ = TRY(read_vocabulary(file_, {config_.bos_id, config_.eos_id, config_.unk_id}));
    chat_template_ = TRY(file_.text("tokenizer.chat_template", kMaxTemplateBytes, ""));
    sampling_defaults_ = TRY(read_sampling_defaults(file_));
    return {};
}

Result<void> GgufModel::find_tensors() {
    for (uint32_t i = 0; i < tensor_count(config_); ++i) {
        const TensorName name = nth_tensor(config_, i);
        const std::string wanted = name_in_gguf(name);
        const gguf::Tensor* tensor = file_.find_tensor(wanted);
        if (tensor == nullptr) {
            return invalid("{}: there is no tensor {}, which a llama model of {} layers has", file_.name(),
                           std::string_view(wanted), config_.num_layers);
        }
        TRY(check_tensor(name, *tensor));
    }
    return {};
}

/// That a tensor has the shape that the metadata ask for, in a type that can be read.
Result<void> GgufModel::check_tensor(TensorName name, const gguf::Tensor& tensor) const {
    const std::string_view shown = tensor.name;
    if (gguf::block_shape(tensor.type) == nullptr) {
        return Error::make(ErrorCode::kUnsupported,
                           "{}: {} (at {}) is of type {} ({}), which cannot be read; take the model in Q8_0, "
                           "Q4_K_M or F16",
                           file_.name(), shown, tensor.info_offset, tensor.type, name_of(tensor.type));
    }
    const TensorShape shape = shape_of(config_, name.kind);
    const bool norm = is_norm(name.kind);
    const uint64_t columns = norm ? shape.rows : shape.columns, rows = norm ? 1 : shape.rows;
    if (tensor.sizes != std::array<uint64_t, 4>{columns, rows, 1, 1}) {
        return invalid("{}: {} (at {}) is {} x {} x {} x {}, the metadata ask for {} x {}", file_.name(),
                       shown, tensor.info_offset, tensor.sizes[0], tensor.sizes[1], tensor.sizes[2],
                       tensor.sizes[3], columns, rows);
    }
    if (norm && gguf::block_shape(tensor.type)->values != 1) {
        return Error::make(ErrorCode::kUnsupported,
                           "{}: {} (at {}) is of type {}; norms can be read in F32, F16 and BF16",
                           file_.name(), shown, tensor.info_offset, name_of(tensor.type));
    }
    return {};
}

/// A tensor too many means that the model computes something that we do not.
Result<void> GgufModel::check_others() const {
    std::vector<std::string> known;
    if (file_.tensors().size() == tensor_count(config_)) return {};  // all of ours are there, and none twice
    for (uint32_t i = 0; i < tensor_count(config_); ++i)
        known.push_back(name_in_gguf(nth_tensor(config_, i)));
    std::sort(known.begin(), known.end());
    for (const gguf::Tensor& tensor : file_.tensors()) {
        if (std::binary_search(known.begin(), known.end(), tensor.name)) continue;
        const std::string shown = printable(tensor.name);
        const bool frequencies = tensor.name.find("rope_freqs") != std::string::npos ||
                                 tensor.name.find("rope_factors") != std::string::npos;
        return Error::make(
            ErrorCode::kUnsupported, "{}: {} (at {}): {}", file_.name(), std::string_view(shown),
            tensor.info_offset,
            frequencies ? "RoPE frequencies of its own (Llama 3.1 and later) cannot be computed"
                        : "a plain llama model has no such tensor, and what it is for cannot be computed");
    }
    return {};
}

ElementType GgufModel::own_type(TensorName name) const {
    switch (at(name).type) {
        case TensorType::kF32:
            return ElementType::kF32;
        case TensorType::kF16:
        case TensorType::kBF16:
            return ElementType::kF16;
        case TensorType::kQ4_0:
            return ElementType::kQ4_0;
        default:
            return ElementType::kQ8_0;
    }
}

bool GgufModel::has_groups(TensorName name, ElementType type) const {
    const TensorType own = at(name).type;
    return (own == TensorType::kQ8_0 && type == ElementType::kQ8_0) ||
           (own == TensorType::kQ4_0 && type == ElementType::kQ4_0);
}

Result<std::vector<uint8_t>> GgufModel::read_blocks(const gguf::Tensor& tensor, uint64_t first,
                                                    uint64_t count) const {
    const gguf::BlockShape& shape = *gguf::block_shape(tensor.type);
    std::vector<uint8_t> blocks(count / shape.values * shape.bytes);
    TRY(file_.input().read_at(tensor.offset + first / shape.values * shape.bytes, blocks));
    return blocks;
}

Result<void> GgufModel::read_rows(TensorName name, uint32_t first_row, uint32_t row_count,
                                  std::span<float> out) const {
    const gguf::Tensor& tensor = at(name);
    const TensorShape shape = shape_of(config_, name.kind);
    ASSERT(fits(first_row, row_count, shape.rows) && out.size() == uint64_t{row_count} * shape.columns);
    // Whole rows are whole blocks; the rows of a norm are single values.
    const std::vector<uint8_t> blocks =
        TRY(read_blocks(tensor, uint64_t{first_row} * shape.columns, out.size()));
    gguf::dequantise(tensor.type, blocks, out);
    return {};
}

Result<void> GgufModel::read_groups(TensorName name, uint32_t first_row, uint32_t row_count,
                                    std::span<QuantisedGroup> out) const {
    const gguf::Tensor& tensor = at(name);
    const TensorShape shape = shape_of(config_, name.kind);
    ASSERT(fits(first_row, row_count, shape.rows) &&
           out.size() * kGroup == uint64_t{row_count} * shape.columns);
    const std::vector<uint8_t> blocks =
        TRY(read_blocks(tensor, uint64_t{first_row} * shape.columns, out.size() * kGroup));
    const uint32_t bytes = gguf::block_shape(tensor.type)->bytes;
    for (size_t i = 0; i < out.size(); ++i)
        out[i] = gguf::group_of(tensor.type, ByteSpan(blocks).subspan(i * bytes, bytes));
    return {};
}

}  // namespace

Result<bool> is_gguf(const std::string& path) {
    const InputFile file = TRY(InputFile::open(path));
    uint8_t magic[sizeof gguf::kMagic] = {};
    if (file.size() < sizeof magic) return false;
    TRY(file.read_at(0, magic));
    return ByteReader(magic).read<uint32_t>() == gguf::kMagic;
}

Result<std::unique_ptr<ModelSource>> open_gguf(const std::string& path) {
    auto model = std::make_unique<GgufModel>(TRY(gguf::File::open(path)));
    TRY(model->read());
    return std::unique_ptr<ModelSource>(std::move(model));
}

}  // namespace bareflow
