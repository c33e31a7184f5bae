#include "model/tools/storage.h"

#include <algorithm>

#include "arch/base/text.h"

namespace bareflow {
namespace {

/// Every kind of matrix there is, for whoever writes a wrong one.
FixedString<160> names_of_matrices() {
    FixedString<160> names;
    for (auto kind = static_cast<uint32_t>(wllm::TensorKind::kQuery);
         kind <= static_cast<uint32_t>(wllm::TensorKind::kEmbedding); ++kind) {
        const auto tensor = static_cast<wllm::TensorKind>(kind);
        if (!is_norm(tensor)) names.append_format("{}{}", names.empty() ? "" : ", ", wllm::name_of(tensor));
    }
    return names;
}

std::optional<wllm::TensorKind> matrix_named(std::string_view name) {
    for (auto kind = static_cast<uint32_t>(wllm::TensorKind::kQuery);
         kind <= static_cast<uint32_t>(wllm::TensorKind::kEmbedding); ++kind) {
        const auto tensor = static_cast<wllm::TensorKind>(kind);
        if (!is_norm(tensor) && wllm::name_of(tensor) == name) return tensor;
    }
    return std::nullopt;
}

}  // namespace

ElementType TensorTypes::wanted(TensorName name, ElementType own) const {
    if (is_norm(name.kind)) return ElementType::kF32;
    ElementType type = all.value_or(own);
    for (const Override& exception : overrides) {
        const bool this_layer = !exception.layer || *exception.layer == name.layer;
        if (exception.kind == name.kind && this_layer) type = exception.type;
    }
    return type;
}

ElementType TensorTypes::stored(TensorName name, uint32_t columns, ElementType own) const {
    const ElementType type = wanted(name, own);
    return can_store(type, Layout::kPanels16, columns) ? type : ElementType::kF16;
}

Result<ElementType> parse_type(std::string_view text) {
    for (const ElementType type : kElementTypes) {
        if (name_of(type) == text) return ElementType(type);
    }
    return invalid("{} is no type of weights; there are f32, f16, q8_0 and q4_0", text);
}

Result<TensorTypes::Override> parse_override(std::string_view text) {
    const size_t equals = text.find('=');
    if (equals == std::string_view::npos) return invalid("{}: write TENSOR=TYPE, as in down=f16", text);
    const std::string_view name = text.substr(0, equals);
    const size_t dot = name.find('.');
    const std::optional<wllm::TensorKind> kind = matrix_named(name.substr(0, dot));
    if (!kind) {
        return invalid("{}: there is no matrix {}; there are {}", text, name.substr(0, dot),
                       names_of_matrices().view());
    }
    TensorTypes::Override exception{
        .kind = *kind, .layer = {}, .type = TRY(parse_type(text.substr(equals + 1)))};
    if (dot == std::string_view::npos) return exception;
    const std::optional<uint64_t> layer = parse_unsigned(name.substr(dot + 1));
    if (!is_per_layer(*kind) || !layer || *layer >= wllm::kMaxLayers) {
        return invalid("{}: {} is no layer of {}", text, name.substr(dot + 1), name.substr(0, dot));
    }
    exception.layer = static_cast<uint32_t>(*layer);
    return exception;
}

}  // namespace bareflow
