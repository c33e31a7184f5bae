// How an importer stores the tensors of a model, and what that cost.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "arch/base/result.h"
#include "arch/base/tensor.h"
#include "model/llama_shapes.h"

namespace bareflow {

/// The types of matrices: one for all, and exceptions. Norms are f32.
struct TensorTypes {
    struct Override {
        wllm::TensorKind kind;
        std::optional<uint32_t> layer;  ///< nothing: every layer's
        ElementType type;
    };
    std::optional<ElementType> all = {};   ///< nothing: each matrix's own (ModelSource::own_type)
    std::vector<Override> overrides = {};  ///< a later one wins

    /// What was asked for, `own` if nothing was.
    ElementType wanted(TensorName name, ElementType own = ElementType::kF32) const;
    /// What is stored: f16 where a type was asked for that has groups of 32, and the inputs do not fill them.
    ElementType stored(TensorName name, uint32_t columns, ElementType own = ElementType::kF32) const;
};

/// "down=f16", "embedding=q8_0", or of one layer only: "down.3=f32".
Result<TensorTypes::Override> parse_override(std::string_view text);
Result<ElementType> parse_type(std::string_view text);

/// The error that storing a tensor made.
struct TensorReport {
    TensorName name;
    uint32_t rows, columns;
    ElementType wanted, stored;
    double rms = 0;      ///< root of the mean square, relative to that of the weights
    double largest = 0;  ///< relative to the largest weight
    bool kept = false;   ///< the model's own groups, bit for bit
};

}  // namespace bareflow
