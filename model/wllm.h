// The .wllm weight format, version 2: structures exactly as they lie in the file. model/README.md specifies each byte.
//
// Everything is little-endian. Checksums form a chain: the header's own CRC covers the section table's CRC, the table
// covers the sections, and the tensor directory covers each tensor. Bytes between them are zero. So header_crc32c
// stands for the whole file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string_view>

#include "arch/base/tensor.h"

namespace bareflow::wllm {

constexpr uint32_t kMagic = 0x574D4C4C;  // "WLLM"
constexpr uint32_t kVersion = 2;
constexpr uint32_t kModelTypeLlama = 1;
constexpr uint64_t kAlignment = 64;  ///< of every section and tensor, from the start of the file

// Limits beyond which a file is refused, so that no product of two sizes can overflow 64 bits.
constexpr uint32_t kMaxLayers = 1u << 12;
constexpr uint32_t kMaxDimension = 1u << 24;  ///< of every other count in the header
constexpr uint32_t kMaxSections = 64;
constexpr uint32_t kMaxPieceSize = 480;  ///< bytes of one tokenizer piece

constexpr uint32_t kFlagTiedEmbedding = 1u << 0;  ///< lm_head is the embedding

struct WeightHeader {
    // The founding header (SEED.md), unchanged.
    uint32_t magic;
    uint32_t version;
    uint32_t model_type;
    uint32_t num_layers;
    uint32_t hidden_size;
    uint32_t intermediate_size;
    uint32_t vocab_size;
    uint32_t num_heads;
    uint64_t total_size;  ///< sum of the tensors' sizes, bytes
    // Version 2.
    uint32_t header_size;  ///< sizeof(WeightHeader)
    uint32_t num_kv_heads;
    uint32_t head_size;
    uint32_t context_length;
    float rope_theta;
    float norm_eps;
    uint32_t flags;
    uint32_t bos_id;
    uint32_t eos_id;
    uint32_t unk_id;
    uint64_t file_size;
    uint64_t section_table_offset;
    uint32_t section_count;
    uint32_t section_table_crc32c;
    float rope_scaling;      ///< what positions are divided by (linear scaling); 0: nothing
    uint32_t reserved[4];    ///< zero
    uint32_t header_crc32c;  ///< of the 124 bytes before it
};
static_assert(sizeof(WeightHeader) == 128);
static_assert(offsetof(WeightHeader, total_size) == 32);
static_assert(offsetof(WeightHeader, header_size) == 40);
static_assert(offsetof(WeightHeader, rope_theta) == 56);
static_assert(offsetof(WeightHeader, file_size) == 80);
static_assert(offsetof(WeightHeader, section_table_offset) == 88);
static_assert(offsetof(WeightHeader, rope_scaling) == 104);
static_assert(offsetof(WeightHeader, header_crc32c) == 124);

enum class SectionKind : uint32_t {
    kTensorDirectory = 1,  ///< TensorEntry[]
    kTokenizer = 2,        ///< TokenizerHeader and its arrays
    kChatTemplate = 3,     ///< UTF-8: the template's name ("plain", "zephyr", …) or its Jinja text
    kProvenance = 4,       ///< UTF-8, `key=value` lines: source, sha256, licence, importer
    kDefaults = 5,         ///< UTF-8, `key=value` lines: options that the model's makers recommend
};

struct SectionEntry {
    SectionKind kind;
    uint32_t crc32c;
    uint64_t offset;
    uint64_t size;
    uint64_t reserved;  ///< zero
};
static_assert(sizeof(SectionEntry) == 32);
static_assert(offsetof(SectionEntry, offset) == 8 && offsetof(SectionEntry, size) == 16);

constexpr std::string_view name_of(SectionKind kind) {
    switch (kind) {
        case SectionKind::kTensorDirectory:
            return "tensor-directory";
        case SectionKind::kTokenizer:
            return "tokenizer";
        case SectionKind::kChatTemplate:
            return "chat-template";
        case SectionKind::kProvenance:
            return "provenance";
        case SectionKind::kDefaults:
            return "defaults";
    }
    return "unknown";
}

enum class TensorKind : uint32_t {
    kQuery = 1,          ///< (num_heads * head_size, hidden)
    kKey = 2,            ///< (num_kv_heads * head_size, hidden)
    kValue = 3,          ///< (num_kv_heads * head_size, hidden)
    kOutput = 4,         ///< (hidden, num_heads * head_size)
    kGate = 5,           ///< (intermediate, hidden)
    kUp = 6,             ///< (intermediate, hidden)
    kDown = 7,           ///< (hidden, intermediate)
    kAttentionNorm = 8,  ///< (hidden, 1), always f32
    kFfnNorm = 9,        ///< (hidden, 1), always f32
    kFinalNorm = 10,     ///< (hidden, 1), always f32
    kLmHead = 11,        ///< (vocab, hidden); absent when tied
    kEmbedding = 12,     ///< (vocab, hidden)
};
constexpr std::string_view name_of(TensorKind kind) {
    constexpr std::string_view kNames[] = {"unknown",    "query",   "key",      "value",          "output",
                                           "gate",       "up",      "down",     "attention-norm", "ffn-norm",
                                           "final-norm", "lm-head", "embedding"};
    const auto index = static_cast<uint32_t>(kind);
    return index < std::size(kNames) ? kNames[index] : kNames[0];
}
constexpr uint32_t kNoLayer = 0xFFFFFFFF;  ///< layer of final norm, lm_head and embedding

struct TensorEntry {
    TensorKind kind;
    uint32_t layer;
    ElementType type;
    Layout layout;
    uint32_t rows;
    uint32_t columns;
    uint32_t crc32c;
    uint32_t reserved;  ///< zero
    uint64_t offset;
    uint64_t size;
};
static_assert(sizeof(TensorEntry) == 48);
static_assert(offsetof(TensorEntry, rows) == 16 && offsetof(TensorEntry, crc32c) == 24);
static_assert(offsetof(TensorEntry, offset) == 32 && offsetof(TensorEntry, size) == 40);

/// SentencePiece's piece types (sentencepiece_model.proto, ModelProto.SentencePiece.Type).
enum class PieceType : uint8_t {
    kNormal = 1,
    kUnknown = 2,
    kControl = 3,
    kUserDefined = 4,
    kUnused = 5,
    kByte = 6
};

constexpr uint32_t kTokenizerAddDummyPrefix = 1u << 0;
constexpr uint32_t kTokenizerNoBos = 1u << 1;  ///< a text does not begin with BOS
constexpr uint32_t kTokenizerFlags = kTokenizerAddDummyPrefix | kTokenizerNoBos;

/// Followed by float scores[count], uint32_t ends[count] (end of each piece within the text), PieceType types[count],
/// and the pieces' text, without separators. Pieces hold a plain space where SentencePiece writes U+2581.
struct TokenizerHeader {
    uint32_t count;
    uint32_t flags;
    uint32_t text_size;
    uint32_t reserved;  ///< zero
};
static_assert(sizeof(TokenizerHeader) == 16);

}  // namespace bareflow::wllm
