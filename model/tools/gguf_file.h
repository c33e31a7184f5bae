// A GGUF container (ggml-org/ggml: docs/gguf.md), versions 1 (32-bit counts), 2 and 3, little-endian: what it says of itself,
// and where its tensors lie. Metadata values stay in the file until they are asked for.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "arch/base/result.h"
#include "model/tools/files.h"
#include "model/tools/gguf_blocks.h"

namespace bareflow::gguf {

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"

/// gguf_metadata_value_type.
enum class ValueType : uint32_t {
    kUint8 = 0,
    kInt8 = 1,
    kUint16 = 2,
    kInt16 = 3,
    kUint32 = 4,
    kInt32 = 5,
    kFloat32 = 6,
    kBool = 7,
    kString = 8,
    kArray = 9,
    kUint64 = 10,
    kInt64 = 11,
    kFloat64 = 12,
};
std::string_view name_of(ValueType type);

/// A metadata key and where its value stands: all of it lies within the file.
struct Value {
    std::string key;
    ValueType type;
    ValueType element;  ///< of an array; else the type itself
    uint64_t count;     ///< of an array's elements; else 1
    uint64_t offset;    ///< of the value, of an array's first element
};

struct Tensor {
    static constexpr uint32_t kMaxDimensions = 4;
    std::string name;
    uint32_t dimensions;
    std::array<uint64_t, kMaxDimensions>
        sizes;  ///< the innermost first: columns, rows; 1 beyond `dimensions`
    TensorType type;
    uint64_t info_offset;  ///< where the file says all this
    uint64_t offset;       ///< from the start of the file
    uint64_t bytes;        ///< 0 for a type that is not read here: its extent is not known
};

/// Reads a file from some offset on, in pieces.
class Cursor {
 public:
    Cursor(const InputFile& file, uint64_t position) : file_(file), position_(position) {}

    uint64_t position() const { return position_; }
    uint64_t left() const { return file_.size() - position_; }
    /// `what` is for the error.
    template <typename T>
    Result<T> read(std::string_view what) {
        T value{};
        TRY(copy(what, {reinterpret_cast<uint8_t*>(&value), sizeof value}));
        return value;
    }
    /// The length of a string or array: 32 bits in version 1.
    Result<uint64_t> read_count(std::string_view what, uint32_t version);
    /// A string of at most `most` bytes.
    Result<std::string> read_string(std::string_view what, uint32_t version, uint64_t most);
    Result<void> skip(std::string_view what, uint64_t bytes);

 private:
    Result<void> copy(std::string_view what, std::span<uint8_t> out);

    const InputFile& file_;
    uint64_t position_;
    std::vector<uint8_t> window_;
    uint64_t window_begin_ = 0;
};

class File {
 public:
    /// Checks everything but what the metadata mean; errors name field and offset.
    static Result<File> open(const std::string& path);

    const InputFile& input() const { return file_; }
    std::string_view name() const { return file_.name(); }
    uint32_t version() const { return version_; }
    uint32_t alignment() const { return alignment_; }
    uint64_t data_offset() const { return data_offset_; }
    const std::vector<Value>& values() const { return values_; }
    const std::vector<Tensor>& tensors() const { return tensors_; }
    /// nullptr if it is not there.
    const Value* find(const std::string& key) const;
    const Tensor* find_tensor(const std::string& name) const;

    struct Range {
        uint64_t least, most;
    };
    /// A whole number of any type. Without `fallback` the key must be there, as below.
    Result<uint64_t> whole(const std::string& key, Range range, std::optional<uint64_t> fallback = {}) const;
    /// A finite number of any type.
    Result<double> number(const std::string& key, std::optional<double> fallback = {}) const;
    Result<bool> flag(const std::string& key, bool fallback) const;
    /// At most `most` bytes of UTF-8.
    Result<std::string> text(const std::string& key, uint64_t most,
                             std::optional<std::string> fallback = {}) const;
    /// The number that stands at a cursor, whatever its type.
    struct Number {
        bool is_whole;
        bool negative;       ///< of a whole one
        uint64_t magnitude;  ///< of a whole one
        double value;
    };
    static Result<Number> read_number(ValueType type, Cursor& cursor, std::string_view what);
    Error missing(const std::string& key) const;

 private:
    explicit File(InputFile file) : file_(std::move(file)) {}
    Result<void> read_header(Cursor& cursor);
    Result<void> read_values(Cursor& cursor);
    Result<void> skip_value(Cursor& cursor, Value& value);
    Result<void> read_tensors(Cursor& cursor);
    Result<void> read_tensor(Cursor& cursor);
    Result<void> place_tensors(uint64_t infos_end);
    InputFile file_;
    uint32_t version_ = 0;
    uint32_t alignment_ = 0;
    uint64_t tensor_count_ = 0, value_count_ = 0;
    uint64_t data_offset_ = 0;
    std::vector<Value> values_;
    std::vector<Tensor> tensors_;
    std::unordered_map<std::string, size_t> values_by_key_, tensors_by_name_;
};

}  // namespace bareflow::gguf
