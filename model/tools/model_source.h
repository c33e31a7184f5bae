// What the importer reads from: the seam behind which each foreign model format stands.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "arch/base/result.h"
#include "model/llama_shapes.h"
#include "model/tools/quantise.h"
#include "model/weights.h"

namespace bareflow {

struct Vocabulary {
    struct Piece {
        std::string text;  ///< UTF-8, with a plain space where SentencePiece writes U+2581
        float score;
        wllm::PieceType type;
    };
    std::vector<Piece> pieces;
    bool add_dummy_prefix = true;
    bool add_bos = true;  ///< a text begins with BOS
};

/// A Llama-architecture model in some file or folder, checked when it was opened.
class ModelSource {
 public:
    virtual ~ModelSource() = default;

    /// "llama2.c v0", for the summary and the provenance.
    virtual std::string_view format() const = 0;
    virtual const ModelConfig& config() const = 0;
    /// Rows [first_row, first_row + row_count) of a tensor as f32, row after row: `out` is (row_count, columns) of the
    /// shape that shape_of() gives. q and k are in the order of interleaved RoPE pairs.
    virtual Result<void> read_rows(TensorName tensor, uint32_t first_row, uint32_t row_count,
                                   std::span<float> out) const = 0;
    /// How a matrix is stored where nothing else is asked for.
    virtual ElementType own_type(TensorName) const { return ElementType::kF32; }
    /// Whether the model holds this tensor in groups of `type`, a quantised one, to be taken as they are.
    virtual bool has_groups(TensorName, ElementType) const { return false; }
    /// As read_rows(), but those groups: `out` is (row_count, columns / 32). Only where has_groups().
    virtual Result<void> read_groups(TensorName, uint32_t, uint32_t, std::span<QuantisedGroup>) const {
        return invalid("there are no groups");
    }
    /// The tokenizer, if the format carries one; else nullptr, and it is looked for in a file of its own.
    virtual const Vocabulary* vocabulary() const { return nullptr; }
    /// The chat template's name or text; empty if the format says nothing.
    virtual std::string_view chat_template() const { return {}; }
    /// `key=value` lines of the sampling options that the model's makers recommend, by our names: temp, top-k, top-p,
    /// min-p, repeat-penalty, each at most once and within what the command line allows; empty if the format says nothing.
    virtual std::string_view sampling_defaults() const { return {}; }
    /// `key=value` lines about where the model comes from.
    virtual Result<std::string> provenance() const = 0;
};

}  // namespace bareflow
