// safetensors (huggingface/safetensors README "Format"): a uint64 that is the header's length N, N bytes of JSON, then the
// tensors' bytes, row-major. The JSON has for each tensor `dtype`, `shape` and `data_offsets` [begin, end) from the end of
// the header on, and maybe a `__metadata__` of texts. A model may lie in several such files ("shards"); then
// model.safetensors.index.json says in its `weight_map` which tensor is in which.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "arch/base/result.h"
#include "model/tools/files.h"

namespace bareflow {

/// What can be read as f32; all other types are kOther.
enum class SafetensorsType : uint8_t { kF32, kF16, kBf16, kOther };

struct SafetensorsEntry {
    SafetensorsType type = SafetensorsType::kOther;
    std::string type_name;        ///< as the file has it
    std::vector<uint64_t> shape;  ///< their product times the type's size is `size`
    uint64_t offset = 0;          ///< from the start of the file
    uint64_t size = 0;
    uint32_t file = 0;  ///< which of the files
};

using SafetensorsDirectory = std::map<std::string, SafetensorsEntry, std::less<>>;

/// Reads the JSON of a header that is `header_size` bytes long (without the uint64) and stands in a file of `file_size`.
/// Each tensor lies within the file, has the bytes that type and shape ask for, and overlaps no other.
Result<SafetensorsDirectory> parse_safetensors_header(std::string_view json, uint64_t file_size,
                                                      const std::string& name);

/// One or more files with their tensors.
class Safetensors {
 public:
    /// Opens one file.
    static Result<Safetensors> open(const std::string& path);
    /// Opens all files that an index names, which lie beside it. Every tensor must be where the index says, and no other.
    static Result<Safetensors> open_index(const std::string& path);

    const SafetensorsDirectory& tensors() const { return tensors_; }
    const std::vector<InputFile>& files() const { return files_; }
    const std::string& file_name(const SafetensorsEntry& entry) const { return files_[entry.file].name(); }
    /// `out.size()` values of a tensor of a readable type from number `first` on, as f32.
    Result<void> read(const SafetensorsEntry& entry, uint64_t first, std::span<float> out) const;

 private:
    Result<void> add(const std::string& path);
    std::vector<InputFile> files_;
    SafetensorsDirectory tensors_;
};

}  // namespace bareflow
