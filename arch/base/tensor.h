// Plain data that several rooms speak of: element types, layouts, numeric classes. Definitions only, no code that
// computes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace bareflow {

/// How one weight is stored. The numbers are part of the .wllm format (model/README.md).
///  kQ8_0, kQ4_0: GGML's types: 32 consecutive inputs of an output share a binary16 scale, each is 8 or 4 bits wide.
///  Only in panels, and only where the inputs are a multiple of 32 (arch/base/quantised.h).
enum class ElementType : uint32_t { kF32 = 0, kF16 = 1, kQ8_0 = 2, kQ4_0 = 3 };

/// How a matrix of `rows` outputs by `columns` inputs lies in memory. Part of the .wllm format.
///  kRowMajor: element (n, k) at n * columns + k.
///  kPanels16: rows in panels of 16, the last panel padded with zeros; element (n, k) at
///             (n / 16) * 16 * columns + k * 16 + n % 16, so that one load feeds 16 outputs. Quantised: a panel is
///             columns / 32 structures (arch/base/quantised.h).
enum class Layout : uint32_t { kRowMajor = 0, kPanels16 = 1 };

constexpr size_t kPanelRows = 16;
constexpr size_t kGroup = 32;  ///< inputs that share a scale, where they are quantised

/// What fixes a result's bits (DESIGN.md "Numbers are a contract"): every multiply-add is one fma, or a mul and an add.
enum class NumericClass : uint8_t { kFma, kMulAdd };

/// All of them, for what reads their names or lists them.
constexpr ElementType kElementTypes[] = {ElementType::kF32, ElementType::kF16, ElementType::kQ8_0,
                                         ElementType::kQ4_0};
constexpr NumericClass kNumericClasses[] = {NumericClass::kFma, NumericClass::kMulAdd};

constexpr std::string_view name_of(ElementType type) {
    constexpr std::string_view kNames[] = {"f32", "f16", "q8_0", "q4_0"};
    return kNames[static_cast<size_t>(type)];
}
constexpr std::string_view name_of(Layout layout) {
    return layout == Layout::kRowMajor ? "row-major" : "panels16";
}
constexpr std::string_view name_of(NumericClass numerics) {
    return numerics == NumericClass::kFma ? "fma" : "muladd";
}

constexpr bool is_quantised(ElementType type) { return type >= ElementType::kQ8_0; }
/// Bytes of one element; only of a type whose elements stand alone.
constexpr size_t size_of(ElementType type) { return type == ElementType::kF32 ? 4 : 2; }
/// Bytes of one output's weights; of a quantised type, scales included, its share of the panel.
constexpr size_t row_bytes(ElementType type, size_t columns) {
    constexpr size_t kScale = 2;
    if (!is_quantised(type)) return columns * size_of(type);
    return columns / kGroup * (kScale + (type == ElementType::kQ8_0 ? kGroup : kGroup / 2));
}
constexpr bool can_store(ElementType type, Layout layout, size_t columns) {
    return !is_quantised(type) || (layout == Layout::kPanels16 && columns % kGroup == 0);
}

/// A matrix somewhere in memory: not owned, read-only. A vector is a matrix of one column in row-major layout.
struct TensorView {
    const void* data = nullptr;  ///< 64-byte aligned
    uint32_t rows = 0;           ///< N, outputs
    uint32_t columns = 0;        ///< K, inputs
    ElementType type = ElementType::kF32;
    Layout layout = Layout::kRowMajor;

    constexpr size_t stored_rows() const {
        return layout == Layout::kRowMajor ? rows : (size_t{rows} + kPanelRows - 1) / kPanelRows * kPanelRows;
    }
    constexpr size_t bytes() const { return stored_rows() * row_bytes(type, columns); }
};

}  // namespace bareflow
