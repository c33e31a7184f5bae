#include "model/tools/safetensors.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>

#include "arch/base/float16.h"
#include "model/tools/json.h"

namespace bareflow {
namespace {

constexpr uint64_t kLengthSize = sizeof(uint64_t);
constexpr uint64_t kMostHeaderBytes = uint64_t{16}
                                      << 20;  // a model of 400 billion parameters has some 100 KB
constexpr uint64_t kMostIndexBytes = uint64_t{16} << 20;
constexpr size_t kMostDimensions = 8;
constexpr size_t kMostFiles = 512;  // all are open at once
constexpr std::string_view kMetadata = "__metadata__";

struct TypeOfName {
    std::string_view name;
    SafetensorsType type;
    uint32_t bytes;  ///< of one value; 0: of no known size
};
constexpr TypeOfName kTypes[] = {
    {"F32", SafetensorsType::kF32, 4},      {"F16", SafetensorsType::kF16, 2},
    {"BF16", SafetensorsType::kBf16, 2},    {"F64", SafetensorsType::kOther, 8},
    {"I64", SafetensorsType::kOther, 8},    {"U64", SafetensorsType::kOther, 8},
    {"I32", SafetensorsType::kOther, 4},    {"U32", SafetensorsType::kOther, 4},
    {"I16", SafetensorsType::kOther, 2},    {"U16", SafetensorsType::kOther, 2},
    {"I8", SafetensorsType::kOther, 1},     {"U8", SafetensorsType::kOther, 1},
    {"BOOL", SafetensorsType::kOther, 1},   {"F8_E5M2", SafetensorsType::kOther, 1},
    {"F8_E4M3", SafetensorsType::kOther, 1}};

/// A type that is not known has some name, and a size that cannot be checked.
TypeOfName type_named(std::string_view name) {
    for (const TypeOfName& type : kTypes) {
        if (type.name == name) return type;
    }
    return {name, SafetensorsType::kOther, 0};
}

/// A bfloat16 is the upper half of a binary32.
float f32_from_bf16(uint16_t value) {
    const uint32_t bits = uint32_t{value} << 16;
    float result;
    __builtin_memcpy(&result, &bits, sizeof result);
    return result;
}

Result<std::vector<uint64_t>> read_counts(const JsonValue& list, size_t most) {
    if (!list.is_array() || list.size() > most) return list.wrong("must be a list of few whole numbers");
    std::vector<uint64_t> counts;
    const auto visit = [&](std::string_view, const JsonValue& value) -> Result<void> {
        counts.push_back(TRY(value.count(0, uint64_t{1} << 62)));
        return {};
    };
    TRY(list.for_each(visit));
    return counts;
}

/// One tensor; `data` is where the bytes begin and `file_size` where they end.
Result<SafetensorsEntry> read_entry(const JsonValue& value, uint64_t data, uint64_t file_size) {
    const JsonValue dtype = TRY(value.at("dtype"));
    const JsonValue offsets = TRY(value.at("data_offsets"));
    const TypeOfName type = type_named(TRY(dtype.text()));
    SafetensorsEntry entry;
    entry.type = type.type;
    entry.type_name = type.name;
    const JsonValue shape = TRY(value.at("shape"));
    entry.shape = TRY(read_counts(shape, kMostDimensions));
    const std::vector<uint64_t> range = TRY(read_counts(offsets, 2));
    if (range.size() != 2 || range[0] > range[1]) return offsets.wrong("must be two ascending numbers");
    if (range[1] > file_size - data) {
        return invalid("{} end at {} of the {} bytes of tensors; the file is cut short",
                       std::string_view(offsets.where()), range[1], file_size - data);
    }
    entry.offset = data + range[0];
    entry.size = range[1] - range[0];
    uint64_t bytes = type.bytes;
    for (uint64_t extent : entry.shape) {
        if (__builtin_mul_overflow(bytes, extent, &bytes))
            return shape.wrong("its product overflows; the file is damaged");
    }
    if (type.bytes != 0 && bytes != entry.size) {
        return invalid("{} hold {} bytes, but shape and dtype ask for {}; the file is damaged",
                       std::string_view(offsets.where()), entry.size, bytes);
    }
    return entry;
}

Result<void> check_overlaps(const SafetensorsDirectory& tensors, const std::string& name) {
    struct Range {
        uint64_t begin, end;
        const std::string* tensor;
    };
    std::vector<Range> ranges;
    for (const auto& [tensor, entry] : tensors) {
        if (entry.size > 0) ranges.push_back({entry.offset, entry.offset + entry.size, &tensor});
    }
    std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
    for (size_t i = 1; i < ranges.size(); ++i) {
        if (ranges[i].begin >= ranges[i - 1].end) continue;
        return invalid("{}: {} and {} overlap at {}; the file is damaged", std::string_view(name),
                       std::string_view(*ranges[i - 1].tensor), std::string_view(*ranges[i].tensor),
                       ranges[i].begin);
    }
    return {};
}

}  // namespace

Result<SafetensorsDirectory> parse_safetensors_header(std::string_view json, uint64_t file_size,
                                                      const std::string& name) {
    const JsonDocument header = TRY(JsonDocument::parse(json, name));
    const uint64_t data = kLengthSize + json.size();
    if (data > file_size)
        return invalid("{}: its header is longer than it is; the file is damaged", std::string_view(name));
    SafetensorsDirectory tensors;
    const auto visit = [&](std::string_view tensor, const JsonValue& value) -> Result<void> {
        if (tensor == kMetadata) return {};
        tensors.emplace(tensor, TRY(read_entry(value, data, file_size)));
        return {};
    };
    TRY(header.root().for_each(visit));
    TRY(check_overlaps(tensors, name));
    return tensors;
}

Result<void> Safetensors::add(const std::string& path) {
    InputFile file = TRY(InputFile::open(path));
    const std::string_view name = file.name();
    std::array<uint8_t, kLengthSize> length_bytes{};
    if (file.size() < kLengthSize) {
        return invalid("{}: {} bytes are too few for a safetensors header; the file is cut short", name,
                       file.size());
    }
    TRY(file.read_at(0, length_bytes));
    const auto length = ByteReader(length_bytes).read<uint64_t>();
    if (length > kMostHeaderBytes || length > file.size() - kLengthSize) {
        return invalid(
            "{}: the header's length (offset 0) is {}, must be at most {}: this is no safetensors file, or "
            "it is cut short",
            name, length, std::min(kMostHeaderBytes, file.size() - kLengthSize));
    }
    std::string json(length, '\0');
    TRY(file.read_at(kLengthSize, {reinterpret_cast<uint8_t*>(json.data()), json.size()}));
    SafetensorsDirectory found = TRY(parse_safetensors_header(json, file.size(), file.name()));
    for (auto& [tensor, entry] : found) {
        entry.file = static_cast<uint32_t>(files_.size());
        const auto [at, fresh] = tensors_.emplace(tensor, std::move(entry));
        if (fresh) continue;
        return invalid("{}: {} stands in {} too; the shards are of different models", name,
                       std::string_view(tensor), std::string_view(file_name(at->second)));
    }
    files_.push_back(std::move(file));
    return {};
}

Result<Safetensors> Safetensors::open(const std::string& path) {
    Safetensors opened;
    TRY(opened.add(path));
    return opened;
}

Result<Safetensors> Safetensors::open_index(const std::string& path) {
    const JsonDocument index = TRY(JsonDocument::read(path, kMostIndexBytes));
    const JsonValue weight_map = TRY(index.root().at("weight_map"));
    std::map<std::string, std::string, std::less<>> file_of;  // by tensor
    std::set<std::string> names;
    const auto visit = [&](std::string_view tensor, const JsonValue& value) -> Result<void> {
        const std::string_view name = TRY(value.text());
        // A name, not a path: an index may come from anywhere, and is not to choose what else is read.
        if (name.empty() || name.front() == '.' ||
            name.find_first_of(std::string_view("/\0", 2)) != name.npos)
            return value.wrong("must be the name of a file beside the index");
        names.emplace(name);
        file_of.emplace(tensor, name);
        return {};
    };
    TRY(weight_map.for_each(visit));
    if (names.empty() || names.size() > kMostFiles) {
        return invalid("{} names {} files, must be 1 to {}", std::string_view(weight_map.where()),
                       names.size(), kMostFiles);
    }
    Safetensors opened;
    for (const std::string& name : names) {
        TRY(opened.add((std::filesystem::path(path).parent_path() / name).string()));
    }
    for (const auto& [tensor, entry] : opened.tensors_) {
        const auto mapped = file_of.find(tensor);
        if (mapped != file_of.end() && mapped->second == opened.file_name(entry)) continue;
        return invalid("{}: holds {}, which {} does not say; the shards are of different models",
                       std::string_view(opened.file_name(entry)), std::string_view(tensor),
                       std::string_view(weight_map.where()));
    }
    for (const auto& [tensor, name] : file_of) {
        if (opened.tensors_.contains(tensor)) continue;
        return invalid("{}.{}: is not in {}; is that file of the same model?",
                       std::string_view(weight_map.where()), std::string_view(tensor),
                       std::string_view(name));
    }
    return opened;
}

Result<void> Safetensors::read(const SafetensorsEntry& entry, uint64_t first, std::span<float> out) const {
    const InputFile& file = files_[entry.file];
    if (entry.type == SafetensorsType::kF32) {
        ASSERT(fits(first * sizeof(float), out.size_bytes(), entry.size));
        return file.read_at(entry.offset + first * sizeof(float),
                            {reinterpret_cast<uint8_t*>(out.data()), out.size_bytes()});
    }
    ASSERT(entry.type != SafetensorsType::kOther &&
           fits(first * sizeof(uint16_t), out.size() * sizeof(uint16_t), entry.size));
    std::vector<uint16_t> halves(out.size());
    TRY(file.read_at(entry.offset + first * sizeof(uint16_t),
                     {reinterpret_cast<uint8_t*>(halves.data()), halves.size() * sizeof(uint16_t)}));
    const bool brain = entry.type == SafetensorsType::kBf16;
    std::transform(halves.begin(), halves.end(), out.begin(),
                   [brain](uint16_t half) { return brain ? f32_from_bf16(half) : f32_from_f16(half); });
    return {};
}

}  // namespace bareflow
