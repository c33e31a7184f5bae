#include "model/tools/gguf_inspect.h"

#include <algorithm>
#include <map>
#include <ostream>

#include "model/tools/gguf_file.h"

namespace bareflow {
namespace {

using gguf::Cursor;
using gguf::ValueType;

constexpr uint64_t kShownBytes = 80;    ///< of a string
constexpr uint64_t kShownElements = 8;  ///< of an array
constexpr size_t kShownLines = 2000;    ///< of keys, of tensors

template <typename... Arguments>
void print(std::ostream& out, const char* pattern, const Arguments&... arguments) {
    out << FixedString<400>::formatted(pattern, arguments...).view();
}

/// The beginning of a string, which the cursor passes; line breaks are written as spaces.
Result<std::string> shown_string(Cursor& cursor, uint32_t version) {
    const uint64_t size = TRY(cursor.read_count("a string", version));
    std::string text;
    for (uint64_t i = 0; i < std::min(size, kShownBytes); ++i) text += TRY(cursor.read<char>("a string"));
    TRY(cursor.skip("a string", size - text.size()));
    // Not within a character.
    while (text.size() < size && !text.empty() && (static_cast<uint8_t>(text.back()) & 0xC0) == 0x80)
        text.pop_back();
    if (text.size() < size && !text.empty() && static_cast<uint8_t>(text.back()) >= 0xC0) text.pop_back();
    std::replace(text.begin(), text.end(), '\n', ' ');
    text = '"' + printable(text) + '"';
    return text.size() - 2 < size ? text + " ... " + std::to_string(size) + " bytes" : text;
}

Result<std::string> shown_element(ValueType type, Cursor& cursor, uint32_t version) {
    if (type == ValueType::kString) return shown_string(cursor, version);
    const auto number = TRY(gguf::File::read_number(type, cursor, "a value"));
    if (type == ValueType::kBool) return std::string(number.magnitude == 0 ? "false" : "true");
    if (number.is_whole) return (number.negative ? "-" : "") + std::to_string(number.magnitude);
    char text[32];
    std::snprintf(text, sizeof text, "%.9g", number.value);
    return std::string(text);
}

Result<void> print_value(const gguf::File& file, const gguf::Value& value, std::ostream& out) {
    const bool array = value.type == ValueType::kArray;
    std::string type(name_of(value.element));
    if (array) type += "[" + std::to_string(value.count) + "]";
    out << "  " << printable(value.key) << " (" << type << ") =";
    Cursor cursor(file.input(), value.offset);
    const uint64_t shown = std::min(value.count, kShownElements);
    for (uint64_t i = 0; i < shown; ++i)
        out << (i == 0 ? " " : ", ") << TRY(shown_element(value.element, cursor, file.version()));
    out << (shown < value.count ? ", ...\n" : "\n");
    return {};
}

std::string shape_of(const gguf::Tensor& tensor) {
    std::string shape;
    for (uint32_t i = 0; i < tensor.dimensions; ++i)
        shape += (i == 0 ? "" : " x ") + std::to_string(tensor.sizes[i]);
    return shape;
}

}  // namespace

Result<void> inspect_gguf(const std::string& path, std::ostream& out) {
    const gguf::File file = TRY(gguf::File::open(path));
    print(out, "gguf version {}, {} bytes, alignment {}, tensors from {}\n", file.version(),
          file.input().size(), file.alignment(), file.data_offset());
    print(out, "metadata, {}\n", file.values().size());
    const auto more = [&](size_t count) {
        if (count > kShownLines) print(out, "  ... and {} more\n", count - kShownLines);
    };
    for (size_t i = 0; i < std::min(file.values().size(), kShownLines); ++i)
        TRY(print_value(file, file.values()[i], out));
    more(file.values().size());

    struct Sum {
        uint64_t tensors = 0, bytes = 0;
    };
    std::map<std::string_view, Sum> types;
    print(out, "tensors, {}\n  {:<24} {:<7} {:>18} {:>12} {:>12}\n", file.tensors().size(), "name", "type",
          "columns x rows", "offset", "bytes");
    for (size_t i = 0; i < file.tensors().size(); ++i) {
        const gguf::Tensor& tensor = file.tensors()[i];
        Sum& sum = types[name_of(tensor.type)];
        ++sum.tensors;
        sum.bytes += tensor.bytes;
        if (i >= kShownLines) continue;
        const std::string name = printable(tensor.name), shape = shape_of(tensor);
        print(out, "  {:<24} {:<7} {:>18} {:>12} {:>12}\n", std::string_view(name), name_of(tensor.type),
              std::string_view(shape), tensor.offset, tensor.bytes);
    }
    more(file.tensors().size());
    out << "types\n";
    for (const auto& [type, sum] : types)
        print(out, "  {:<7} {:>6} tensors {:>14} bytes\n", type, sum.tensors, sum.bytes);
    return {};
}

}  // namespace bareflow
