#include "model/weights.h"

#include <algorithm>
#include <limits>

#include "arch/base/crc32c.h"
#include "arch/base/quantised.h"
#include "arch/base/sort.h"
#include "model/llama_shapes.h"
#include "model/tokenizer_section.h"
#include "model/wllm.h"

namespace bareflow {
namespace {

using wllm::SectionEntry;
using wllm::SectionKind;
using wllm::TensorEntry;
using wllm::TensorKind;
using wllm::WeightHeader;

constexpr const char* kDamaged = "the file is damaged: copy or import it again";
constexpr const char* kAgain = "import the model again";

bool is_positive(float value) { return value > 0 && value <= std::numeric_limits<float>::max(); }

std::string_view text_of(ByteSpan bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A part of the file that somebody vouches for: the header, a section, a tensor.
struct Extent {
    uint64_t offset;
    uint64_t size;
};

bool holds_lowest(const Q8Panel& panel) {
    // Eight at a time: a byte of `other` is 0 where one is -128, and subtracting 1 from it borrows.
    constexpr uint64_t kOnes = 0x0101010101010101, kHighs = kOnes << 7;
    const auto* bytes = reinterpret_cast<const uint8_t*>(panel.values);
    uint64_t found = 0;
    for (size_t i = 0; i < sizeof panel.values; i += sizeof(uint64_t)) {
        uint64_t eight;
        __builtin_memcpy(&eight, bytes + i, sizeof eight);
        const uint64_t other = eight ^ kHighs;
        found |= (other - kOnes) & ~other & kHighs;
    }
    return found != 0;
}

/// One pass over an image. Each step trusts only what the steps before it have checked.
class Loader {
 public:
    /// `image`: the file's first bytes; all `file_size` of them, unless only the table is read.
    Loader(ByteSpan image, uint64_t file_size, bool table_only, Allocator& allocator,
           bool checked_later = false)
        : image_(image),
          file_size_(file_size),
          table_only_(table_only),
          checked_later_(checked_later),
          allocator_(allocator) {}

    /// Where the last section ends.
    Result<uint64_t> table_bytes() {
        TRY(read_header());
        const WeightHeader& h = header_;
        const uint64_t table = uint64_t{h.section_count} * sizeof(SectionEntry);
        if (h.section_count > wllm::kMaxSections || !fits(h.section_table_offset, table, image_.size()))
            return invalid("wllm: the section table (offset 88) does not stand behind the header; {}",
                           kAgain);
        uint64_t end = h.section_table_offset + table;
        ByteReader reader(at(h.section_table_offset, table));
        for (uint32_t i = 0; i < h.section_count; ++i) {
            const auto entry = reader.read<SectionEntry>();
            if (!fits(entry.offset, entry.size, file_size_) || entry.offset + entry.size > kMostTableBytes) {
                return invalid("wllm: section {} ({}) does not stand at the beginning of the file; {}", i,
                               wllm::name_of(entry.kind), kAgain);
            }
            end = std::max(end, entry.offset + entry.size);
        }
        return end;
    }

    Result<Weights> load() {
        TRY(read_header());
        TRY(check_sizes());
        TRY(check_numbers());
        TRY(read_sections());
        TRY(check_tokenizer());
        TRY(read_tensors());
        TRY(check_coverage());
        return std::move(weights_);
    }

 private:
    Result<void> read_header();
    Result<void> check_sizes();
    Result<void> check_numbers();
    Result<void> read_sections();
    Result<void> read_section(uint32_t index, const SectionEntry& entry);
    Result<void> check_tokenizer();
    Result<void> read_tensors();
    Result<void> read_tensor(uint32_t index, const TensorEntry& entry);
    Result<void> place(uint32_t index, const TensorEntry& entry);
    Result<void> check_coverage();

    /// Sections of more than that are not at the beginning of a file.
    static constexpr uint64_t kMostTableBytes = 256 << 20;

    ByteSpan at(uint64_t offset, uint64_t size) const { return image_.subspan(offset, size); }
    Result<void> add_extent(std::string_view what, uint64_t offset, uint64_t size);

    ByteSpan image_;
    uint64_t file_size_;
    bool table_only_, checked_later_;
    Allocator& allocator_;
    size_t norm_floats_ = 0;  ///< placed so far, of the table's own norms
    WeightHeader header_{};
    Weights weights_;
    ByteSpan directory_;
    uint64_t directory_offset_ = 0;
    uint32_t sections_seen_ = 0;  ///< bit k: a section of kind k was read
    Buffer<Extent> extents_;      ///< header, section table, sections, tensors
    size_t extent_count_ = 0;
};

Result<void> Loader::read_header() {
    if (reinterpret_cast<uintptr_t>(image_.data()) % wllm::kAlignment != 0) {
        return invalid("wllm: the image does not lie at a multiple of {} in memory; load it at a page",
                       wllm::kAlignment);
    }
    if (image_.size() < sizeof(WeightHeader)) {
        return invalid("wllm: {} bytes are too few for the header of {}; this is no whole .wllm file",
                       image_.size(), sizeof(WeightHeader));
    }
    __builtin_memcpy(&header_, image_.data(), sizeof header_);
    if (header_.magic != wllm::kMagic) {
        return invalid(
            "wllm: magic (offset 0) is {:08x}, not {:08x}: this is no .wllm file; make one with "
            "bareflow-import",
            header_.magic, wllm::kMagic);
    }
    if (header_.version != wllm::kVersion) {
        return Error::make(ErrorCode::kUnsupported,
                           "wllm: version (offset 4) is {}, this BareFlow reads {}; import the model again",
                           header_.version, wllm::kVersion);
    }
    if (header_.header_size != sizeof(WeightHeader)) {
        return invalid("wllm: header_size (offset 40) is {}, must be {}; {}", header_.header_size,
                       sizeof(WeightHeader), kDamaged);
    }
    const uint32_t crc = crc32c(image_.first(offsetof(WeightHeader, header_crc32c)));
    if (crc != header_.header_crc32c) {
        return invalid("wllm: header_crc32c (offset 124) is {:08x}, the header gives {:08x}; {}",
                       header_.header_crc32c, crc, kDamaged);
    }
    if (header_.file_size != file_size_) {
        return invalid("wllm: file_size (offset 80) is {}, but there are {} bytes; {}", header_.file_size,
                       file_size_, kDamaged);
    }
    for (size_t i = 0; i < std::size(header_.reserved); ++i) {
        if (header_.reserved[i] != 0) {
            return invalid("wllm: reserved (offset {}) is {:x}, must be 0; {}",
                           offsetof(WeightHeader, reserved) + i * sizeof(uint32_t), header_.reserved[i],
                           kAgain);
        }
    }
    weights_.hash = header_.header_crc32c;
    weights_.file_size = header_.file_size;
    weights_.image = image_;
    return {};
}

Result<void> Loader::check_sizes() {
    // Limits that are fields of the header themselves.
    constexpr uint32_t kNumHeads = UINT32_MAX - 1, kBelowVocabulary = UINT32_MAX;
    struct Field {
        const char* name;
        size_t offset;
        uint32_t maximum;
    };
    static constexpr Field kFields[] = {
        {"num_layers", offsetof(WeightHeader, num_layers), wllm::kMaxLayers},
        {"hidden_size", offsetof(WeightHeader, hidden_size), wllm::kMaxDimension},
        {"intermediate_size", offsetof(WeightHeader, intermediate_size), wllm::kMaxDimension},
        {"vocab_size", offsetof(WeightHeader, vocab_size), wllm::kMaxDimension},
        {"num_heads", offsetof(WeightHeader, num_heads), wllm::kMaxDimension},
        {"num_kv_heads", offsetof(WeightHeader, num_kv_heads), kNumHeads},
        {"head_size", offsetof(WeightHeader, head_size), wllm::kMaxDimension},
        {"context_length", offsetof(WeightHeader, context_length), wllm::kMaxDimension},
        {"bos_id", offsetof(WeightHeader, bos_id), kBelowVocabulary},
        {"eos_id", offsetof(WeightHeader, eos_id), kBelowVocabulary},
        {"unk_id", offsetof(WeightHeader, unk_id), kBelowVocabulary},
    };
    const WeightHeader& h = header_;
    for (const Field& field : kFields) {
        uint32_t value;
        __builtin_memcpy(&value, reinterpret_cast<const uint8_t*>(&h) + field.offset, sizeof value);
        if (field.maximum == kBelowVocabulary) {
            if (value < h.vocab_size) continue;
            return invalid("wllm: {} (offset {}) is {}, must be below vocab_size, {}; {}", field.name,
                           field.offset, value, h.vocab_size, kAgain);
        }
        const uint32_t maximum = field.maximum == kNumHeads ? h.num_heads : field.maximum;
        if (value == 0 || value > maximum)
            return invalid("wllm: {} (offset {}) is {}, must be 1 to {}; {}", field.name, field.offset, value,
                           maximum, kAgain);
    }
    if (uint64_t{h.num_heads} * h.head_size > wllm::kMaxDimension) {
        return invalid("wllm: num_heads (offset 28) {} by head_size (offset 48) {} is more than {}; {}",
                       h.num_heads, h.head_size, wllm::kMaxDimension, kAgain);
    }
    if (h.num_heads % h.num_kv_heads != 0) {
        return invalid("wllm: num_heads (offset 28), {}, is no multiple of num_kv_heads (offset 44), {}; {}",
                       h.num_heads, h.num_kv_heads, kAgain);
    }
    if (h.head_size % 2 != 0) {
        return invalid("wllm: head_size (offset 48) is {}, must be even, for RoPE turns pairs; {}",
                       h.head_size, kAgain);
    }
    return {};
}

Result<void> Loader::check_numbers() {
    const WeightHeader& h = header_;
    if (h.model_type != wllm::kModelTypeLlama) {
        return Error::make(
            ErrorCode::kUnsupported,
            "wllm: model_type (offset 8) is {}, this BareFlow runs {} (Llama); take another model",
            h.model_type, wllm::kModelTypeLlama);
    }
    if (!is_positive(h.rope_theta)) {
        return invalid("wllm: rope_theta (offset 56) is not a positive, finite number; {}", kAgain);
    }
    if (!is_positive(h.norm_eps)) {
        return invalid("wllm: norm_eps (offset 60) is not a positive, finite number; {}", kAgain);
    }
    if (h.rope_scaling != 0 && !is_positive(h.rope_scaling)) {
        return invalid("wllm: rope_scaling (offset 104) is neither 0 nor a positive, finite number; {}",
                       kAgain);
    }
    if ((h.flags & ~wllm::kFlagTiedEmbedding) != 0) {
        return Error::make(
            ErrorCode::kUnsupported,
            "wllm: flags (offset 64) are {:x}, with bits this version does not know; take a newer "
            "BareFlow",
            h.flags);
    }
    weights_.config = {
        .num_layers = h.num_layers,
        .hidden_size = h.hidden_size,
        .intermediate_size = h.intermediate_size,
        .vocab_size = h.vocab_size,
        .num_heads = h.num_heads,
        .num_kv_heads = h.num_kv_heads,
        .head_size = h.head_size,
        .context_length = h.context_length,
        .rope_theta = h.rope_theta,
        .norm_eps = h.norm_eps,
        .rope_scaling = h.rope_scaling,
        .tied_embedding = (h.flags & wllm::kFlagTiedEmbedding) != 0,
        .bos_id = h.bos_id,
        .eos_id = h.eos_id,
        .unk_id = h.unk_id,
    };
    return {};
}

/// Notes that `what` fills [offset, offset + size), which must lie aligned within the file.
Result<void> Loader::add_extent(std::string_view what, uint64_t offset, uint64_t size) {
    if (offset % wllm::kAlignment != 0) {
        return invalid("wllm: {} begins at {}, not at a multiple of {}; {}", what, offset, wllm::kAlignment,
                       kAgain);
    }
    if (!fits(offset, size, file_size_)) {
        return invalid("wllm: {} ({} bytes at {}) does not lie within the file's {} bytes; {}", what, size,
                       offset, file_size_, kAgain);
    }
    extents_[extent_count_++] = {offset, size};
    return {};
}

Result<void> Loader::read_sections() {
    const WeightHeader& h = header_;
    if (h.section_count == 0 || h.section_count > wllm::kMaxSections) {
        return invalid("wllm: section_count (offset 96) is {}, must be 1 to {}; {}", h.section_count,
                       wllm::kMaxSections, kAgain);
    }
    constexpr size_t kHeaderAndTable = 2;
    extents_ = TRY(Buffer<Extent>::make(allocator_,
                                        kHeaderAndTable + h.section_count + tensor_count(weights_.config),
                                        "wllm: table of extents"));
    TRY(add_extent("the header", 0, sizeof(WeightHeader)));
    const uint64_t table_size = h.section_count * sizeof(SectionEntry);
    TRY(add_extent("section_table_offset (offset 88)", h.section_table_offset, table_size));

    const ByteSpan table = at(h.section_table_offset, table_size);
    if (const uint32_t crc = crc32c(table); crc != h.section_table_crc32c) {
        return invalid("wllm: section_table_crc32c (offset 100) is {:08x}, the table gives {:08x}; {}",
                       h.section_table_crc32c, crc, kDamaged);
    }
    weights_.chat_template = "plain";
    ByteReader reader(table);
    for (uint32_t i = 0; i < h.section_count; ++i) TRY(read_section(i, reader.read<SectionEntry>()));

    if (directory_.empty()) return invalid("wllm: there is no tensor directory (section 1); {}", kAgain);
    if (weights_.tokenizer.empty()) return invalid("wllm: there is no tokenizer (section 2); {}", kAgain);
    return {};
}

Result<void> Loader::read_section(uint32_t index, const SectionEntry& entry) {
    const auto what =
        FixedString<80>::formatted("section {} ({}, entry at {})", index, wllm::name_of(entry.kind),
                                   header_.section_table_offset + index * sizeof(SectionEntry));
    if (entry.reserved != 0) {
        return invalid("wllm: {}: reserved is {:x}, must be 0; {}", what.view(), entry.reserved, kAgain);
    }
    if (entry.size == 0) return invalid("wllm: {} is empty; {}", what.view(), kAgain);
    TRY(add_extent(what, entry.offset, entry.size));
    if (!fits(entry.offset, entry.size, image_.size()))
        return invalid("wllm: {} does not stand before the tensors; {}", what.view(), kAgain);
    const ByteSpan bytes = at(entry.offset, entry.size);
    if (const uint32_t crc = crc32c(bytes); crc != entry.crc32c) {
        return invalid("wllm: {}: crc32c is {:08x}, its bytes give {:08x}; {}", what.view(), entry.crc32c,
                       crc, kDamaged);
    }
    const auto kind = static_cast<uint32_t>(entry.kind);
    if (kind == 0 || kind > static_cast<uint32_t>(SectionKind::kDefaults)) {
        return {};  // from a later version: its bytes are vouched for, its meaning is not needed
    }
    if ((sections_seen_ & (1u << kind)) != 0)
        return invalid("wllm: {} is there a second time; {}", what.view(), kAgain);
    sections_seen_ |= 1u << kind;

    switch (entry.kind) {
        case SectionKind::kTensorDirectory:
            directory_ = bytes;
            directory_offset_ = entry.offset;
            return {};
        case SectionKind::kTokenizer:
            weights_.tokenizer = bytes;
            return {};
        case SectionKind::kChatTemplate:
            weights_.chat_template = text_of(bytes);
            break;
        case SectionKind::kProvenance:
            weights_.provenance = text_of(bytes);
            break;
        case SectionKind::kDefaults:
            weights_.defaults = text_of(bytes);
            break;
    }
    if (!is_utf8(text_of(bytes))) return invalid("wllm: {} is not UTF-8; {}", what.view(), kAgain);
    return {};
}

Result<void> Loader::check_tokenizer() {
    const TokenizerSection section = TRY(read_tokenizer_section(weights_.tokenizer));
    if (section.count() > header_.vocab_size) {
        return invalid("wllm: the tokenizer has {} pieces, more than vocab_size (offset 24), {}; {}",
                       section.count(), header_.vocab_size, kAgain);
    }
    return {};
}

Result<void> Loader::read_tensors() {
    const uint32_t count = tensor_count(weights_.config);
    if (directory_.size() != uint64_t{count} * sizeof(TensorEntry)) {
        return invalid(
            "wllm: the tensor directory (offset {}) has {} bytes; a model of {} layers has {} tensors of "
            "{} bytes each; {}",
            directory_offset_, directory_.size(), header_.num_layers, count, sizeof(TensorEntry), kAgain);
    }
    weights_.layers =
        TRY(Buffer<LayerWeights>::make(allocator_, header_.num_layers, "wllm: table of layers"));
    if (checked_later_)
        weights_.unchecked = TRY(Buffer<UncheckedTensor>::make(allocator_, count, "wllm: checks"));
    if (table_only_) {
        const size_t norms = (2 * size_t{header_.num_layers} + 1) * header_.hidden_size;
        if (norms * sizeof(float) > file_size_)
            return invalid(
                "wllm: num_layers (offset 12) {} by hidden_size (offset 16) {} are more than the file; {}",
                header_.num_layers, header_.hidden_size, kAgain);
        weights_.places = TRY(Buffer<TensorPlace>::make(allocator_, count, "wllm: places of tensors"));
        weights_.norms = TRY(Buffer<float>::make(allocator_, norms, "wllm: norms"));
    }
    ByteReader reader(directory_);
    // As many as there must be and none twice: so none is missing.
    for (uint32_t i = 0; i < count; ++i) TRY(read_tensor(i, reader.read<TensorEntry>()));

    if (weights_.weight_bytes != header_.total_size) {
        return invalid("wllm: total_size (offset 32) is {}, the tensors have {} bytes; {}",
                       header_.total_size, weights_.weight_bytes, kAgain);
    }
    if (weights_.config.tied_embedding) weights_.lm_head = weights_.embedding;
    return {};
}

Result<void> Loader::read_tensor(uint32_t index, const TensorEntry& entry) {
    const auto what =
        FixedString<80>::formatted("tensor {} ({}, entry at {})", index, wllm::name_of(entry.kind),
                                   directory_offset_ + index * sizeof(TensorEntry));
    const TensorShape shape = shape_of(weights_.config, entry.kind);
    if (shape.rows == 0) {
        return invalid("wllm: {}: kind is {}, which there is not; {}", what.view(), entry.kind, kAgain);
    }
    const bool layer_fits =
        is_per_layer(entry.kind) ? entry.layer < header_.num_layers : entry.layer == wllm::kNoLayer;
    if (!layer_fits) {
        return invalid("wllm: {}: layer is {}, which does not go with its kind and {} layers; {}",
                       what.view(), entry.layer, header_.num_layers, kAgain);
    }
    if (entry.type > ElementType::kQ4_0 || (is_norm(entry.kind) && entry.type != ElementType::kF32)) {
        return Error::make(ErrorCode::kUnsupported, "wllm: {}: element type {} cannot be read here; {}",
                           what.view(), entry.type, kAgain);
    }
    if (entry.layout > Layout::kPanels16 || (is_norm(entry.kind) && entry.layout != Layout::kRowMajor)) {
        return Error::make(ErrorCode::kUnsupported, "wllm: {}: layout {} cannot be read here; {}",
                           what.view(), entry.layout, kAgain);
    }
    if (entry.rows != shape.rows || entry.columns != shape.columns) {
        return invalid("wllm: {}: is {} x {}, the header asks for {} x {}; {}", what.view(), entry.rows,
                       entry.columns, shape.rows, shape.columns, kAgain);
    }
    if (entry.reserved != 0) {
        return invalid("wllm: {}: reserved is {:x}, must be 0; {}", what.view(), entry.reserved, kAgain);
    }
    if (!can_store(entry.type, entry.layout, entry.columns)) {
        return invalid("wllm: {}: {} needs panels16 and a multiple of {} columns, not {} and {}; {}",
                       what.view(), name_of(entry.type), kGroup, name_of(entry.layout), entry.columns,
                       kAgain);
    }
    // Rows and columns are at most kMaxDimension by now: no product overflows.
    const TensorView view{nullptr, entry.rows, entry.columns, entry.type, entry.layout};
    if (entry.size != view.bytes()) {
        return invalid("wllm: {}: size is {}, {} x {} of {} in {} take {}; {}", what.view(), entry.size,
                       entry.rows, entry.columns, name_of(entry.type), name_of(entry.layout), view.bytes(),
                       kAgain);
    }
    TRY(add_extent(what, entry.offset, entry.size));
    const TensorPlace place_in_file{entry.offset, entry.size, entry.crc32c};
    if (checked_later_) {
        weights_.unchecked[weights_.unchecked_count++] = {place_in_file, entry.type};
    } else if (!table_only_) {
        TRY(check_tensor(what, place_in_file, entry.type, at(entry.offset, entry.size)));
    }
    weights_.weight_bytes += entry.size;
    TRY(place(index, entry));
    if (table_only_) weights_.places[place_index(weights_.config, {entry.kind, entry.layer})] = place_in_file;
    return {};
}

/// Puts a view of a checked tensor where it belongs, once.
Result<void> Loader::place(uint32_t index, const TensorEntry& entry) {
    const void* const data = table_only_ ? nullptr : image_.data() + entry.offset;
    const auto taken = [&] {
        return invalid("wllm: tensor {} ({}, layer {}) is there a second time; {}", index,
                       wllm::name_of(entry.kind), static_cast<int32_t>(entry.layer), kAgain);
    };
    const auto put_matrix = [&](TensorView& slot) -> Result<void> {
        if (slot.rows != 0) return taken();
        slot = {data, entry.rows, entry.columns, entry.type, entry.layout};
        return {};
    };
    const auto put_norm = [&](const float*& slot) -> Result<void> {
        if (slot != nullptr) return taken();
        slot = table_only_ ? weights_.norms.data() + norm_floats_ : static_cast<const float*>(data);
        norm_floats_ += entry.rows;
        return {};
    };
    LayerWeights unused;
    LayerWeights& layer = is_per_layer(entry.kind) ? weights_.layers[entry.layer] : unused;
    switch (entry.kind) {
        case TensorKind::kQuery:
            return put_matrix(layer.query);
        case TensorKind::kKey:
            return put_matrix(layer.key);
        case TensorKind::kValue:
            return put_matrix(layer.value);
        case TensorKind::kOutput:
            return put_matrix(layer.output);
        case TensorKind::kGate:
            return put_matrix(layer.gate);
        case TensorKind::kUp:
            return put_matrix(layer.up);
        case TensorKind::kDown:
            return put_matrix(layer.down);
        case TensorKind::kAttentionNorm:
            return put_norm(layer.attention_norm);
        case TensorKind::kFfnNorm:
            return put_norm(layer.ffn_norm);
        case TensorKind::kFinalNorm:
            return put_norm(weights_.final_norm);
        case TensorKind::kEmbedding:
            return put_matrix(weights_.embedding);
        case TensorKind::kLmHead:
            break;
    }
    if (weights_.config.tied_embedding) {
        return invalid("wllm: tensor {} is an lm_head, but flags (offset 64) say that the embedding is; {}",
                       index, kAgain);
    }
    return put_matrix(weights_.lm_head);
}

/// Nothing overlaps, and what nobody vouches for is zero, up to the last byte.
Result<void> Loader::check_coverage() {
    sort(std::span(extents_.data(), extent_count_),
         [](const Extent& a, const Extent& b) { return a.offset < b.offset; });
    uint64_t covered = 0;
    const auto check_gap = [&](uint64_t end) -> Result<void> {
        for (; covered < std::min<uint64_t>(end, image_.size()); ++covered) {
            if (image_[covered] != 0) {
                return invalid("wllm: the byte at {} lies between sections and tensors and is not 0; {}",
                               covered, kDamaged);
            }
        }
        return {};
    };
    for (size_t i = 0; i < extent_count_; ++i) {
        const Extent& extent = extents_[i];
        if (extent.offset < covered) {
            return invalid("wllm: what begins at {} overlaps what ends at {}; {}", extent.offset, covered,
                           kAgain);
        }
        TRY(check_gap(extent.offset));
        covered = extent.offset + extent.size;
    }
    return check_gap(image_.size());
}

}  // namespace

bool holds_lowest(ByteSpan bytes) {
    const auto* panels = reinterpret_cast<const Q8Panel*>(bytes.data());
    const size_t count = bytes.size() / sizeof(Q8Panel);
    return std::any_of(panels, panels + count, [](const Q8Panel& panel) { return holds_lowest(panel); });
}

Result<void> judge_tensor(std::string_view what, const TensorPlace& place, uint32_t crc, bool with_lowest) {
    if (crc != place.crc32c) {
        return invalid("wllm: {}: crc32c is {:08x}, its {} bytes at {} give {:08x}; {}", what, place.crc32c,
                       place.size, place.offset, crc, kDamaged);
    }
    if (with_lowest) return invalid("wllm: {}: holds -128, which is no value of q8_0; {}", what, kAgain);
    return {};
}

Result<void> check_tensor(std::string_view what, const TensorPlace& place, ElementType type, ByteSpan bytes) {
    return judge_tensor(what, place, crc32c(bytes), type == ElementType::kQ8_0 && holds_lowest(bytes));
}

Result<void> WeightCheck::step() {
    if (done()) return {};
    const UncheckedTensor& tensor = weights_.unchecked[next_];
    const uint64_t size = std::min(kPiece, tensor.place.size - at_);
    const ByteSpan bytes = weights_.image.subspan(tensor.place.offset + at_, size);
    crc32c_ = crc32c(bytes, crc32c_);
    holds_lowest_ = holds_lowest_ || (tensor.type == ElementType::kQ8_0 && holds_lowest(bytes));
    bytes_ += size;
    at_ += size;
    if (at_ != tensor.place.size) return {};
    const Result<void> judged =
        judge_tensor(FixedString<24>::formatted("tensor {}", next_), tensor.place, crc32c_, holds_lowest_);
    next_ = judged.ok() ? next_ + 1 : weights_.unchecked_count;
    at_ = crc32c_ = 0;
    holds_lowest_ = false;
    return judged;
}

Result<Weights> load_weights(ByteSpan image, Allocator& allocator, uint64_t checked_later_from) {
    return Loader(image, image.size(), false, allocator, image.size() >= checked_later_from).load();
}

Result<Weights> load_weight_table(ByteSpan head, uint64_t file_size, Allocator& allocator) {
    return Loader(head, file_size, true, allocator).load();
}

Result<uint64_t> weight_table_bytes(ByteSpan start, uint64_t file_size, Allocator& allocator) {
    return Loader(start, file_size, true, allocator).table_bytes();
}

void free_weights(Weights& weights) { weights = Weights{}; }

}  // namespace bareflow
