#include "model/tools/sentencepiece_model.h"

#include <cmath>
#include <unordered_map>

#include "model/tokenizer_section.h"
#include "model/tools/files.h"
#include "model/tools/piece_text.h"
#include "model/tools/protobuf_reader.h"

namespace bareflow {
namespace {

using wllm::PieceType;
using Wire = ProtobufField::Wire;

constexpr uint64_t kMostBytes = uint64_t{64} << 20;  // beyond any vocabulary

// Numbers of fields in sentencepiece_model.proto.
enum ModelField : uint32_t { kPieces = 1, kTrainerSpec = 2, kNormalizerSpec = 3, kDenormalizerSpec = 5 };
enum PieceField : uint32_t { kText = 1, kScore = 2, kType = 3 };
enum TrainerField : uint32_t {
    kModelType = 3,
    kSuffix = 24,
    kByteFallback = 35,
    kUnkId = 40,
    kBosId = 41,
    kEosId = 42
};
enum NormalizerField : uint32_t { kCharsMap = 2, kDummyPrefix = 3, kRemoveExtra = 4, kEscape = 5 };
enum TrainerModel : uint64_t { kUnigram = 1, kBpe = 2 };

/// What decides how text is cut up, with the defaults of the .proto.
struct Specs {
    uint64_t model_type = kUnigram;
    bool whitespace_as_suffix = false, byte_fallback = false;
    bool add_dummy_prefix = true, remove_extra_whitespaces = true, escape_whitespaces = true;
    size_t characters_map = 0, denormaliser_map = 0;  ///< bytes of compiled rules
    int64_t bos_id = 1, eos_id = 2;
};

class ModelReader {
 public:
    explicit ModelReader(const std::string& name) : name_(name) {}

    Result<SentencePieceModel> read(ByteSpan bytes) {
        ProtobufReader reader(bytes);
        for (ProtobufField field; reader.next(field);) {
            const uint64_t offset = reader.position() - field.bytes.size();  // of what the field holds
            if (field.number == kPieces) TRY(add_piece(field, offset));
            if (field.number == kTrainerSpec) TRY(read_trainer(field, offset));
            if (field.number == kNormalizerSpec) TRY(read_normaliser(field, offset, specs_.characters_map));
            if (field.number == kDenormalizerSpec)
                TRY(read_normaliser(field, offset, specs_.denormaliser_map));
        }
        if (!reader.ok()) return malformed(reader.position());
        TRY(check_specs());
        TRY(check_pieces());
        model_.vocabulary.add_dummy_prefix = specs_.add_dummy_prefix;
        model_.bos_id = specs_.bos_id;
        model_.eos_id = specs_.eos_id;
        return std::move(model_);
    }

 private:
    std::string_view name() const { return name_; }
    Error malformed(uint64_t offset) const {
        return invalid(
            "{}: no SentencePiece model from offset {} on; it is cut short, damaged, or another file", name(),
            offset);
    }
    Error unsupported(std::string_view field, std::string_view why) const {
        return Error::make(ErrorCode::kUnsupported, "{}: {}: {}", name(), field, why);
    }

    Result<void> add_piece(const ProtobufField& field, uint64_t offset) {
        if (field.wire != Wire::kBytes) return malformed(field.offset);
        const uint32_t id = static_cast<uint32_t>(model_.vocabulary.pieces.size());
        if (id == wllm::kMaxDimension) return invalid("{}: more than {} pieces; it is damaged", name(), id);
        std::string_view text;
        float score = 0;
        uint64_t type = static_cast<uint64_t>(PieceType::kNormal);
        ProtobufReader reader(field.bytes);
        for (ProtobufField part; reader.next(part);) {
            if (part.number == kText && part.wire == Wire::kBytes)
                text = {reinterpret_cast<const char*>(part.bytes.data()), part.bytes.size()};
            if (part.number == kScore && part.wire == Wire::kFixed32) score = part.as_float();
            if (part.number == kType && part.wire == Wire::kVarint) type = part.value;
        }
        if (!reader.ok()) return malformed(offset + reader.position());
        if (type < static_cast<uint64_t>(PieceType::kNormal) ||
            type > static_cast<uint64_t>(PieceType::kByte))
            return invalid("{}: piece {} (offset {}) is of type {}, must be 1 to 6", name(), id, offset,
                           type);
        if (!std::isfinite(score))
            return invalid("{}: the score of piece {} (offset {}) is not a finite number", name(), id,
                           offset);
        const auto piece = piece_from_sentencepiece(text, score, static_cast<PieceType>(type));
        if (!piece.ok()) {
            return invalid("{}: piece {} (offset {}) {}", name(), id, offset, piece.error().message());
        }
        model_.vocabulary.pieces.push_back(piece.value());
        return {};
    }

    Result<void> read_trainer(const ProtobufField& field, uint64_t offset) {
        if (field.wire != Wire::kBytes) return malformed(field.offset);
        ProtobufReader reader(field.bytes);
        for (ProtobufField part; reader.next(part);) {
            if (part.wire != Wire::kVarint) continue;
            if (part.number == kModelType) specs_.model_type = part.value;
            if (part.number == kSuffix) specs_.whitespace_as_suffix = part.value != 0;
            if (part.number == kByteFallback) specs_.byte_fallback = part.value != 0;
            if (part.number == kBosId) specs_.bos_id = static_cast<int32_t>(part.value);
            if (part.number == kEosId) specs_.eos_id = static_cast<int32_t>(part.value);
        }
        return reader.ok() ? Result<void>() : malformed(offset + reader.position());
    }

    /// Of the denormaliser's fields only its rules matter.
    Result<void> read_normaliser(const ProtobufField& field, uint64_t offset, size_t& map) {
        if (field.wire != Wire::kBytes) return malformed(field.offset);
        const bool normaliser = field.number == kNormalizerSpec;
        ProtobufReader reader(field.bytes);
        for (ProtobufField part; reader.next(part);) {
            if (part.number == kCharsMap && part.wire == Wire::kBytes) map = part.bytes.size();
            if (!normaliser || part.wire != Wire::kVarint) continue;
            if (part.number == kDummyPrefix) specs_.add_dummy_prefix = part.value != 0;
            if (part.number == kRemoveExtra) specs_.remove_extra_whitespaces = part.value != 0;
            if (part.number == kEscape) specs_.escape_whitespaces = part.value != 0;
        }
        return reader.ok() ? Result<void>() : malformed(offset + reader.position());
    }

    Result<void> check_specs() const {
        if (specs_.model_type != kBpe) {
            return unsupported("trainer_spec.model_type", specs_.model_type == kUnigram
                                                              ? "a unigram model; Llama's are BPE (2)"
                                                              : "must be BPE (2)");
        }
        if (specs_.whitespace_as_suffix)
            return unsupported("trainer_spec.treat_whitespace_as_suffix", "must be false, as Llama's");
        if (specs_.characters_map != 0)
            return unsupported("normalizer_spec.precompiled_charsmap",
                               "has rules; only the identity normaliser is known");
        if (specs_.denormaliser_map != 0)
            return unsupported("denormalizer_spec.precompiled_charsmap",
                               "has rules; only the identity is known");
        if (specs_.remove_extra_whitespaces)
            return unsupported("normalizer_spec.remove_extra_whitespaces", "must be false, as Llama's");
        if (!specs_.escape_whitespaces)
            return unsupported("normalizer_spec.escape_whitespaces", "must be true, as Llama's");
        return {};
    }

    /// What SentencePiece checks too when it loads a model (model_interface.cc, InitializePieces).
    Result<void> check_pieces() {
        const auto& pieces = model_.vocabulary.pieces;
        uint32_t unknown = 0, bytes = 0;
        std::unordered_map<std::string_view, uint32_t> seen;
        for (uint32_t id = 0; id < pieces.size(); ++id) {
            if (pieces[id].type == PieceType::kUnknown) {
                ++unknown;
                model_.unk_id = id;
            }
            bytes += pieces[id].type == PieceType::kByte;
            const auto [first, fresh] = seen.emplace(pieces[id].text, id);
            if (!fresh)
                return invalid("{}: pieces {} and {} are the same; it is damaged", name(), first->second, id);
        }
        if (unknown != 1)
            return invalid("{}: {} pieces are of type unknown, must be 1; it is damaged", name(), unknown);
        constexpr uint32_t kAllBytes = 256;
        if (bytes != (specs_.byte_fallback ? kAllBytes : 0)) {
            return invalid("{}: {} pieces are of type byte, but trainer_spec.byte_fallback is {}", name(),
                           bytes, specs_.byte_fallback);
        }
        return {};
    }

    const std::string& name_;
    SentencePieceModel model_;
    Specs specs_;
};

}  // namespace

Result<SentencePieceModel> parse_sentencepiece_model(ByteSpan bytes, const std::string& name) {
    return ModelReader(name).read(bytes);
}

Result<SentencePieceModel> read_sentencepiece_model(const std::string& path) {
    const InputFile file = TRY(InputFile::open(path));
    if (file.size() > kMostBytes) {
        return invalid("{}: {} bytes are more than any tokenizer has; name a tokenizer.model",
                       std::string_view(file.name()), file.size());
    }
    std::vector<uint8_t> bytes(file.size());
    TRY(file.read_at(0, bytes));
    return parse_sentencepiece_model(bytes, file.name());
}

}  // namespace bareflow
