#include "model/tools/wllm_writer.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "arch/base/crc32c.h"
#include "arch/base/float16.h"
#include "model/tools/quantise.h"

namespace bareflow {
namespace {

using wllm::SectionEntry;
using wllm::SectionKind;
using wllm::TensorEntry;

using Bytes = std::vector<uint8_t>;

constexpr uint64_t aligned(uint64_t offset) {
    return (offset + wllm::kAlignment - 1) / wllm::kAlignment * wllm::kAlignment;
}

template <typename T>
void append(Bytes& bytes, std::span<const T> items) {
    const auto* begin = reinterpret_cast<const uint8_t*>(items.data());
    bytes.insert(bytes.end(), begin, begin + items.size_bytes());
}
template <typename T>
ByteSpan bytes_of(const std::vector<T>& items) {
    return {reinterpret_cast<const uint8_t*>(items.data()), items.size() * sizeof(T)};
}
template <typename T>
ByteSpan bytes_of(const T& item) {
    return {reinterpret_cast<const uint8_t*>(&item), sizeof item};
}
Bytes copy_of(std::string_view text) { return Bytes(text.begin(), text.end()); }

Bytes tokenizer_section(const Vocabulary& vocabulary) {
    std::vector<float> scores;
    std::vector<uint32_t> ends;
    std::vector<wllm::PieceType> types;
    std::string text;
    for (const Vocabulary::Piece& piece : vocabulary.pieces) {
        text += piece.text;
        scores.push_back(piece.score);
        ends.push_back(static_cast<uint32_t>(text.size()));
        types.push_back(piece.type);
    }
    const wllm::TokenizerHeader header{
        .count = static_cast<uint32_t>(vocabulary.pieces.size()),
        .flags = (vocabulary.add_dummy_prefix ? wllm::kTokenizerAddDummyPrefix : 0) |
                 (vocabulary.add_bos ? 0 : wllm::kTokenizerNoBos),
        .text_size = static_cast<uint32_t>(text.size()),
        .reserved = 0,
    };
    Bytes section;
    append(section, std::span(&header, 1));
    append(section, std::span<const float>(scores));
    append(section, std::span<const uint32_t>(ends));
    append(section, std::span<const wllm::PieceType>(types));
    append(section, std::span<const char>(text));
    return section;
}

/// Sums up how far what is stored lies from the weights.
class StorageError {
 public:
    void include(float weight, float stored) {
        const double value = weight, error = double{stored} - value;
        squares_ += value * value;
        error_squares_ += error * error;
        largest_ = std::max(largest_, std::abs(value));
        largest_error_ = std::max(largest_error_, std::abs(error));
    }
    double rms() const { return squares_ == 0 ? 0 : std::sqrt(error_squares_ / squares_); }
    double largest() const { return largest_ == 0 ? 0 : largest_error_ / largest_; }

 private:
    double squares_ = 0, error_squares_ = 0, largest_ = 0, largest_error_ = 0;
};

/// Writes the pieces in the order of the file. Tensors come last and are written first: the directory needs their
/// CRCs, the section table the directory's, the header the table's.
class WllmWriter {
 public:
    WllmWriter(const WllmContents& contents, FileWriter& file)
        : contents_(contents), config_(contents.model.config()), file_(file) {}

    Result<std::vector<TensorReport>> write() {
        lay_out();
        TRY(file_.reset(file_size_));
        std::vector<TensorReport> reports;
        for (TensorEntry& entry : tensors_) reports.push_back(TRY(write_tensor(entry)));
        const ByteSpan directory = bytes_of(tensors_);
        payloads_[0].assign(directory.begin(), directory.end());
        for (size_t i = 0; i < sections_.size(); ++i) {
            sections_[i].crc32c = crc32c(payloads_[i]);
            TRY(file_.write_at(sections_[i].offset, payloads_[i]));
        }
        TRY(file_.write_at(sizeof(wllm::WeightHeader), bytes_of(sections_)));
        TRY(write_header());
        return reports;
    }

 private:
    void lay_out();
    uint64_t add_section(SectionKind kind, uint64_t offset, Bytes payload);
    Result<TensorReport> write_tensor(TensorEntry& entry);
    Result<void> pack_groups(const TensorEntry& entry, uint32_t first_row, uint32_t count,
                             Bytes& packed) const;
    Result<void> pack(const TensorEntry& entry, uint32_t first_row, std::span<const float> rows,
                      Bytes& packed, StorageError& error) const;
    Result<void> write_header();

    const WllmContents& contents_;
    const ModelConfig& config_;
    FileWriter& file_;
    std::vector<SectionEntry> sections_;
    std::vector<Bytes> payloads_;  ///< of the sections; the directory's is filled in at the end
    std::vector<TensorEntry> tensors_;
    uint64_t total_size_ = 0;
    uint64_t written_ = 0;  ///< of that
    uint64_t file_size_ = 0;
};

TensorView view_of(const TensorEntry& entry) {
    return {nullptr, entry.rows, entry.columns, entry.type, entry.layout};
}

/// Decides where everything goes.
void WllmWriter::lay_out() {
    const uint64_t section_count = contents_.defaults.empty() ? 4 : 5;
    const uint32_t count = tensor_count(config_);
    uint64_t end = sizeof(wllm::WeightHeader) + section_count * sizeof(SectionEntry);
    end = add_section(SectionKind::kTensorDirectory, end, Bytes(count * sizeof(TensorEntry)));
    end = add_section(SectionKind::kTokenizer, end, tokenizer_section(contents_.vocabulary));
    end = add_section(SectionKind::kChatTemplate, end, copy_of(contents_.chat_template));
    end = add_section(SectionKind::kProvenance, end, copy_of(contents_.provenance));
    if (!contents_.defaults.empty())
        end = add_section(SectionKind::kDefaults, end, copy_of(contents_.defaults));
    for (uint32_t i = 0; i < count; ++i) {
        const TensorName name = nth_tensor(config_, i);
        const TensorShape shape = shape_of(config_, name.kind);
        const ElementType type = contents_.types.stored(name, shape.columns, contents_.model.own_type(name));
        const Layout layout = is_norm(name.kind)   ? Layout::kRowMajor
                              : is_quantised(type) ? Layout::kPanels16
                                                   : contents_.layout;
        TensorEntry entry{
            .kind = name.kind,
            .layer = name.layer,
            .type = type,
            .layout = layout,
            .rows = shape.rows,
            .columns = shape.columns,
            .crc32c = 0,
            .reserved = 0,
            .offset = aligned(end),
            .size = 0,
        };
        entry.size = view_of(entry).bytes();
        end = entry.offset + entry.size;
        total_size_ += entry.size;
        tensors_.push_back(entry);
    }
    file_size_ = end;
}

/// Places a section at or after `offset`; returns where it ends.
uint64_t WllmWriter::add_section(SectionKind kind, uint64_t offset, Bytes payload) {
    sections_.push_back({kind, 0, aligned(offset), payload.size(), 0});
    payloads_.push_back(std::move(payload));
    return sections_.back().offset + sections_.back().size;
}

Result<TensorReport> WllmWriter::write_tensor(TensorEntry& entry) {
    // Whole panels at a time, and about this many values, so that norms are not read number by number.
    constexpr uint32_t kValuesAtATime = 1u << 16;
    const uint32_t panels = std::max<uint32_t>(1, kValuesAtATime / kPanelRows / entry.columns);
    const uint32_t step = panels * static_cast<uint32_t>(kPanelRows);
    std::vector<float> rows;
    Bytes packed;
    StorageError error;
    const TensorName name{entry.kind, entry.layer};
    const bool kept = is_quantised(entry.type) && contents_.model.has_groups(name, entry.type);
    uint64_t offset = entry.offset;
    for (uint32_t first = 0; first < entry.rows; first += step) {
        const uint32_t count = std::min(step, entry.rows - first);
        if (kept) {
            TRY(pack_groups(entry, first, count, packed));
        } else {
            rows.resize(size_t{count} * entry.columns);
            TRY(contents_.model.read_rows(name, first, count, rows));
            TRY(pack(entry, first, rows, packed, error));
        }
        entry.crc32c = crc32c(packed, entry.crc32c);
        TRY(file_.write_at(offset, packed));
        offset += packed.size();
        written_ += packed.size();
        if (contents_.progress) contents_.progress(written_, total_size_);
    }
    return TensorReport{.name = name,
                        .rows = entry.rows,
                        .columns = entry.columns,
                        .wanted = contents_.types.wanted(name, contents_.model.own_type(name)),
                        .stored = entry.type,
                        .rms = error.rms(),
                        .largest = error.largest(),
                        .kept = kept};
}

/// Element (n, k) of packed rows that are not quantised.
size_t index_in(Layout layout, size_t columns, size_t n, size_t k) {
    if (layout == Layout::kRowMajor) return n * columns + k;
    return n / kPanelRows * kPanelRows * columns + k * kPanelRows + n % kPanelRows;
}

void pack_plain(const TensorEntry& entry, std::span<const float> rows, Bytes& packed) {
    const size_t columns = entry.columns;
    for (size_t i = 0; i < rows.size(); ++i) {
        const size_t index = index_in(entry.layout, columns, i / columns, i % columns);
        const uint16_t half = f16_from_f32(rows[i]);
        if (entry.type == ElementType::kF32) {
            __builtin_memcpy(packed.data() + index * sizeof(float), &rows[i], sizeof(float));
        } else {
            __builtin_memcpy(packed.data() + index * sizeof half, &half, sizeof half);
        }
    }
}

/// What element (n, k) of packed rows is worth.
float stored_value(const TensorEntry& entry, const Bytes& packed, size_t n, size_t k) {
    if (is_quantised(entry.type)) return dequantised(entry.type, packed.data(), entry.columns, n, k);
    const size_t index = index_in(entry.layout, entry.columns, n, k);
    if (entry.type == ElementType::kF16) {
        uint16_t half = 0;
        __builtin_memcpy(&half, packed.data() + index * sizeof half, sizeof half);
        return f32_from_f16(half);
    }
    float value = 0;
    __builtin_memcpy(&value, packed.data() + index * sizeof value, sizeof value);
    return value;
}

Error unfit(const TensorEntry& entry, size_t row, size_t column, float value) {
    const bool finite = std::isfinite(value);
    return invalid("{}{}, row {}, column {}: {} in {}; {}", wllm::name_of(entry.kind),
                   entry.layer == wllm::kNoLayer ? FixedString<24>()
                                                 : FixedString<24>::formatted(" of layer {}", entry.layer),
                   row, column, finite ? "a weight too large" : "a weight not finite", name_of(entry.type),
                   finite ? "use --quant f32" : "the model is damaged");
}

/// Some rows of a tensor, beginning with a whole panel, in the model's own groups: `packed` is resized to fit.
Result<void> WllmWriter::pack_groups(const TensorEntry& entry, uint32_t first_row, uint32_t count,
                                     Bytes& packed) const {
    const size_t groups_in_row = entry.columns / kGroup;
    std::vector<QuantisedGroup> groups(count * groups_in_row);
    TRY(contents_.model.read_groups({entry.kind, entry.layer}, first_row, count, groups));
    TensorView view = view_of(entry);
    view.rows = count;
    packed.assign(view.bytes(), 0);
    for (size_t i = 0; i < groups.size(); ++i) {
        const size_t row = i / groups_in_row, column = i % groups_in_row * kGroup;
        const float scale = f32_from_f16(groups[i].scale);
        if (!std::isfinite(scale)) return unfit(entry, first_row + row, column, scale);
        pack_group(entry.type, groups[i], row, column, entry.columns, packed);
    }
    return {};
}

/// Some rows of a tensor, beginning with a whole panel, as they lie in the file: `packed` is resized to fit.
Result<void> WllmWriter::pack(const TensorEntry& entry, uint32_t first_row, std::span<const float> rows,
                              Bytes& packed, StorageError& error) const {
    const size_t columns = entry.columns;
    TensorView view = view_of(entry);
    view.rows = static_cast<uint32_t>(rows.size() / columns);
    packed.assign(view.bytes(), 0);
    for (size_t i = 0; i < rows.size(); ++i) {
        if (!std::isfinite(rows[i])) return unfit(entry, first_row + i / columns, i % columns, rows[i]);
    }
    is_quantised(entry.type) ? pack_quantised(entry.type, rows, columns, packed)
                             : pack_plain(entry, rows, packed);
    for (size_t i = 0; i < rows.size(); ++i) {
        const float stored = stored_value(entry, packed, i / columns, i % columns);
        if (!std::isfinite(stored)) return unfit(entry, first_row + i / columns, i % columns, rows[i]);
        error.include(rows[i], stored);
    }
    return {};
}

Result<void> WllmWriter::write_header() {
    wllm::WeightHeader header{
        .magic = wllm::kMagic,
        .version = wllm::kVersion,
        .model_type = wllm::kModelTypeLlama,
        .num_layers = config_.num_layers,
        .hidden_size = config_.hidden_size,
        .intermediate_size = config_.intermediate_size,
        .vocab_size = config_.vocab_size,
        .num_heads = config_.num_heads,
        .total_size = total_size_,
        .header_size = sizeof(wllm::WeightHeader),
        .num_kv_heads = config_.num_kv_heads,
        .head_size = config_.head_size,
        .context_length = config_.context_length,
        .rope_theta = config_.rope_theta,
        .norm_eps = config_.norm_eps,
        .flags = config_.tied_embedding ? wllm::kFlagTiedEmbedding : 0,
        .bos_id = config_.bos_id,
        .eos_id = config_.eos_id,
        .unk_id = config_.unk_id,
        .file_size = file_size_,
        .section_table_offset = sizeof(wllm::WeightHeader),
        .section_count = static_cast<uint32_t>(sections_.size()),
        .section_table_crc32c = crc32c(bytes_of(sections_)),
        .rope_scaling = config_.rope_scaling,
        .reserved = {},
        .header_crc32c = 0,
    };
    header.header_crc32c = crc32c(bytes_of(header).first(offsetof(wllm::WeightHeader, header_crc32c)));
    return file_.write_at(0, bytes_of(header));
}

}  // namespace

Result<std::vector<TensorReport>> write_wllm(const WllmContents& contents, FileWriter& file) {
    return WllmWriter(contents, file).write();
}

}  // namespace bareflow
