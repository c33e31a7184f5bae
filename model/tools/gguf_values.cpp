// What a GGUF's metadata say, each asked for by its key: a value of another kind, or out of range, is an error that names it.
#include <cmath>

#include "model/tokenizer_section.h"
#include "model/tools/gguf_file.h"

namespace bareflow::gguf {
namespace {

using Number = File::Number;

template <typename T>
Result<Number> number_of(Cursor& cursor, std::string_view what) {
    const T value = TRY(cursor.read<T>(what));
    if constexpr (std::is_floating_point_v<T>) {
        return Number{.is_whole = false, .negative = false, .magnitude = 0, .value = value};
    } else {
        const bool negative = value < 0;
        const auto bits = static_cast<uint64_t>(value);
        return Number{.is_whole = true,
                      .negative = negative,
                      .magnitude = negative ? -bits : bits,
                      .value = static_cast<double>(value)};
    }
}

}  // namespace

Result<Number> File::read_number(ValueType type, Cursor& cursor, std::string_view what) {
    switch (type) {
        case ValueType::kUint8:
        case ValueType::kBool:
            return number_of<uint8_t>(cursor, what);
        case ValueType::kInt8:
            return number_of<int8_t>(cursor, what);
        case ValueType::kUint16:
            return number_of<uint16_t>(cursor, what);
        case ValueType::kInt16:
            return number_of<int16_t>(cursor, what);
        case ValueType::kUint32:
            return number_of<uint32_t>(cursor, what);
        case ValueType::kInt32:
            return number_of<int32_t>(cursor, what);
        case ValueType::kUint64:
            return number_of<uint64_t>(cursor, what);
        case ValueType::kInt64:
            return number_of<int64_t>(cursor, what);
        case ValueType::kFloat32:
            return number_of<float>(cursor, what);
        case ValueType::kFloat64:
            return number_of<double>(cursor, what);
        case ValueType::kString:
        case ValueType::kArray:
            break;
    }
    return invalid("{} (offset {}) is of type {}, no number", what, cursor.position(), name_of(type));
}

Error File::missing(const std::string& key) const {
    return invalid("{}: {} is not among its {} metadata keys; the model cannot be used without it", name(),
                   std::string_view(key), values_.size());
}

Result<uint64_t> File::whole(const std::string& key, Range range, std::optional<uint64_t> fallback) const {
    const Value* value = find(key);
    if (value == nullptr && fallback) return uint64_t{*fallback};
    if (value == nullptr) return missing(key);
    Cursor cursor(file_, value->offset);
    const bool scalar = value->type != ValueType::kArray && value->type != ValueType::kString &&
                        value->type != ValueType::kBool;
    if (scalar) {
        const Number number = TRY(read_number(value->type, cursor, key));
        const bool zero_or_more = number.is_whole && !number.negative;
        if (zero_or_more && number.magnitude >= range.least && number.magnitude <= range.most)
            return uint64_t{number.magnitude};
        if (number.is_whole) {
            return invalid("{}: {} (offset {}) is {}{}, must be {} to {}", name(), std::string_view(key),
                           value->offset, number.negative ? "-" : "", number.magnitude, range.least,
                           range.most);
        }
    }
    return invalid("{}: {} (offset {}) is of type {}, must be a whole number", name(), std::string_view(key),
                   value->offset, name_of(value->type));
}

Result<double> File::number(const std::string& key, std::optional<double> fallback) const {
    const Value* value = find(key);
    if (value == nullptr && fallback) return double{*fallback};
    if (value == nullptr) return missing(key);
    if (value->type == ValueType::kArray || value->type == ValueType::kString) {
        return invalid("{}: {} (offset {}) is of type {}, must be a number", name(), std::string_view(key),
                       value->offset, name_of(value->type));
    }
    Cursor cursor(file_, value->offset);
    const Number number = TRY(read_number(value->type, cursor, key));
    if (!std::isfinite(number.value)) {
        return invalid("{}: {} (offset {}) is not finite; the file is damaged", name(), std::string_view(key),
                       value->offset);
    }
    return double{number.value};
}

Result<bool> File::flag(const std::string& key, bool fallback) const {
    const Value* value = find(key);
    if (value == nullptr) return bool{fallback};
    Cursor cursor(file_, value->offset);
    const uint8_t byte = value->type == ValueType::kBool ? TRY(cursor.read<uint8_t>(key)) : 2;
    if (byte > 1)
        return invalid("{}: {} (offset {}) is neither true nor false", name(), std::string_view(key),
                       value->offset);
    return byte == 1;
}

Result<std::string> File::text(const std::string& key, uint64_t most,
                               std::optional<std::string> fallback) const {
    const Value* value = find(key);
    if (value == nullptr && fallback) return std::string(*fallback);
    if (value == nullptr) return missing(key);
    if (value->type != ValueType::kString) {
        return invalid("{}: {} (offset {}) is of type {}, must be a string", name(), std::string_view(key),
                       value->offset, name_of(value->type));
    }
    Cursor cursor(file_, value->offset);
    std::string text = TRY(cursor.read_string(key, version_, most));
    if (!is_utf8(text))
        return invalid("{}: {} (offset {}) is not UTF-8", name(), std::string_view(key), value->offset);
    return text;
}

}  // namespace bareflow::gguf
