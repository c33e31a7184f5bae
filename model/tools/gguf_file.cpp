#include "model/tools/gguf_file.h"

#include <algorithm>

namespace bareflow::gguf {
namespace {

constexpr uint32_t kNewestVersion = 3;
constexpr uint32_t kDefaultAlignment = 32;
constexpr uint32_t kSmallestAlignment = 8, kLargestAlignment = 1u << 20;
// Beyond what any model has, so that a damaged count is told as such and takes no memory.
constexpr uint64_t kMaxValues = 1u << 16, kMaxTensors = 1u << 16;
constexpr uint64_t kMaxKeyBytes = 1024, kMaxNameBytes = 64;

/// Bytes of a value that has always as many; 0 for strings, arrays and what there is not.
uint64_t size_of(ValueType type) {
    constexpr uint8_t kSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    const auto index = static_cast<uint32_t>(type);
    return index < std::size(kSizes) ? kSizes[index] : 0;
}

}  // namespace

std::string_view name_of(ValueType type) {
    constexpr std::string_view kNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                           "bool", "string", "array", "u64", "i64", "f64"};
    const auto index = static_cast<uint32_t>(type);
    return index < std::size(kNames) ? kNames[index] : "unknown";
}

Result<void> Cursor::copy(std::string_view what, std::span<uint8_t> out) {
    constexpr size_t kWindow = size_t{1} << 16;
    if (!fits(position_, out.size(), file_.size())) {
        return invalid("{}: {} (offset {}) would end behind the file's {} bytes; it is cut short",
                       std::string_view(file_.name()), what, position_, file_.size());
    }
    if (position_ < window_begin_ || !fits(position_ - window_begin_, out.size(), window_.size())) {
        window_.resize(std::max(out.size(), static_cast<size_t>(std::min<uint64_t>(kWindow, left()))));
        window_begin_ = position_;
        TRY(file_.read_at(position_, window_));
    }
    std::copy_n(window_.data() + (position_ - window_begin_), out.size(), out.data());
    position_ += out.size();
    return {};
}

Result<uint64_t> Cursor::read_count(std::string_view what, uint32_t version) {
    if (version == 1) return uint64_t{TRY(read<uint32_t>(what))};
    return read<uint64_t>(what);
}

Result<std::string> Cursor::read_string(std::string_view what, uint32_t version, uint64_t most) {
    const uint64_t begin = position_;
    const uint64_t size = TRY(read_count(what, version));
    if (size > most) {
        return invalid("{}: {} (offset {}) has {} bytes, more than {}; the file is damaged",
                       std::string_view(file_.name()), what, begin, size, most);
    }
    if (size > left()) return skip(what, size).error();
    std::string text(size, '\0');
    TRY(copy(what, {reinterpret_cast<uint8_t*>(text.data()), size}));
    return text;
}

Result<void> Cursor::skip(std::string_view what, uint64_t bytes) {
    if (bytes > left()) {
        return invalid("{}: {} (offset {}) would end behind the file's {} bytes; it is cut short",
                       std::string_view(file_.name()), what, position_, file_.size());
    }
    position_ += bytes;
    return {};
}

Result<File> File::open(const std::string& path) {
    File file(TRY(InputFile::open(path)));
    Cursor cursor(file.file_, 0);
    TRY(file.read_header(cursor));
    TRY(file.read_values(cursor));
    TRY(file.read_tensors(cursor));
    return file;
}

Result<void> File::read_header(Cursor& cursor) {
    if (TRY(cursor.read<uint32_t>("magic")) != kMagic)
        return invalid("{}: magic (offset 0) is not GGUF: this is no .gguf", name());
    version_ = TRY(cursor.read<uint32_t>("version"));
    if (version_ == 0 || version_ > kNewestVersion) {
        const uint32_t swapped = __builtin_bswap32(version_);
        const bool big_endian = swapped >= 1 && swapped <= kNewestVersion;
        return Error::make(
            ErrorCode::kUnsupported, "{}: version (offset 4) is {}{}; 1 to 3 can be read", name(),
            big_endian ? swapped : version_,
            big_endian ? ", and the file is big-endian: convert the model anew, little-endian" : "");
    }
    struct Count {
        std::string_view name;
        uint64_t& value;
        uint64_t most;
    };
    const Count counts[] = {{"tensor_count", tensor_count_, kMaxTensors},
                            {"metadata_kv_count", value_count_, kMaxValues}};
    for (const Count& count : counts) {
        const uint64_t offset = cursor.position();
        count.value = TRY(cursor.read_count(count.name, version_));
        if (count.value > count.most) {
            return invalid("{}: {} (offset {}) is {}, more than {}; the file is damaged", name(), count.name,
                           offset, count.value, count.most);
        }
    }
    return {};
}

Result<void> File::read_values(Cursor& cursor) {
    for (uint64_t i = 0; i < value_count_; ++i) {
        const auto what = FixedString<40>::formatted("metadata key {}", i);
        const uint64_t offset = cursor.position();
        Value value{};
        value.key = TRY(cursor.read_string(what, version_, kMaxKeyBytes));
        const std::string shown = printable(value.key);
        if (!values_by_key_.emplace(value.key, values_.size()).second) {
            return invalid("{}: {}, {} (offset {}), is there a second time; the file is damaged", name(),
                           what.view(), std::string_view(shown).substr(0, 80), offset);
        }
        TRY(skip_value(cursor, value));
        values_.push_back(std::move(value));
    }
    const uint64_t alignment =
        TRY(whole("general.alignment", {kSmallestAlignment, kLargestAlignment}, uint64_t{kDefaultAlignment}));
    if ((alignment & (alignment - 1)) != 0) {
        return invalid("{}: general.alignment (offset {}) is {}, no power of two; the file is damaged",
                       name(), find("general.alignment")->offset, alignment);
    }
    alignment_ = static_cast<uint32_t>(alignment);
    return {};
}

/// Reads the type of a value, and finds where it begins and ends.
Result<void> File::skip_value(Cursor& cursor, Value& value) {
    const std::string shown = printable(value.key).substr(0, 80);
    const std::string_view key = shown;
    const auto wrong_type = [&](uint64_t offset, ValueType type) {
        return invalid("{}: {}: its type (offset {}) is {}, which there is not; the file is damaged", name(),
                       key, offset, type);
    };
    uint64_t type_offset = cursor.position();
    value.type = value.element = ValueType{TRY(cursor.read<uint32_t>(key))};
    value.count = 1;
    if (value.type > ValueType::kFloat64) return wrong_type(type_offset, value.type);
    if (value.type == ValueType::kArray) {
        type_offset = cursor.position();
        value.element = ValueType{TRY(cursor.read<uint32_t>(key))};
        if (value.element == ValueType::kArray) {
            return Error::make(ErrorCode::kUnsupported,
                               "{}: {} (offset {}) is an array of arrays, which cannot be read", name(), key,
                               type_offset);
        }
        if (value.element > ValueType::kFloat64) return wrong_type(type_offset, value.element);
        value.count = TRY(cursor.read_count(key, version_));
    }
    value.offset = cursor.position();
    if (value.element != ValueType::kString) {
        const uint64_t size = size_of(value.element);
        if (value.count > cursor.left() / size) {
            return invalid("{}: {} (offset {}) has {} values of {}, more than the file holds; it is damaged",
                           name(), key, value.offset, value.count, name_of(value.element));
        }
        return cursor.skip(key, value.count * size);
    }
    for (uint64_t i = 0; i < value.count; ++i) {  // each takes bytes of the file, so this ends with it
        const uint64_t size = TRY(cursor.read_count(key, version_));
        TRY(cursor.skip(key, size));
    }
    return {};
}

Result<void> File::read_tensors(Cursor& cursor) {
    for (uint64_t i = 0; i < tensor_count_; ++i) TRY(read_tensor(cursor));
    return place_tensors(cursor.position());
}

Result<void> File::read_tensor(Cursor& cursor) {
    Tensor tensor{};
    tensor.info_offset = cursor.position();
    const auto number = FixedString<40>::formatted("tensor {}", tensors_.size());
    tensor.name = TRY(cursor.read_string(number, version_, kMaxNameBytes));
    const auto what =
        FixedString<120>::formatted("{} ({})", number.view(), std::string_view(printable(tensor.name)));
    if (!tensors_by_name_.emplace(tensor.name, tensors_.size()).second) {
        return invalid("{}: {}, at {}, is there a second time; the file is damaged", name(), what.view(),
                       tensor.info_offset);
    }
    const uint64_t dimensions_offset = cursor.position();
    tensor.dimensions = TRY(cursor.read<uint32_t>(what));
    if (tensor.dimensions == 0 || tensor.dimensions > Tensor::kMaxDimensions) {
        return invalid("{}: {}: n_dims (offset {}) is {}, must be 1 to {}; the file is damaged", name(),
                       what.view(), dimensions_offset, tensor.dimensions, Tensor::kMaxDimensions);
    }
    tensor.sizes.fill(1);
    uint64_t rows = 1;
    bool overflow = false;
    for (uint32_t i = 0; i < tensor.dimensions; ++i) {
        const uint64_t offset = cursor.position();
        tensor.sizes[i] = TRY(cursor.read_count(what, version_));
        if (tensor.sizes[i] == 0)
            return invalid("{}: {}: dimension {} (offset {}) is 0; the file is damaged", name(), what.view(),
                           i, offset);
        if (i > 0) overflow |= __builtin_mul_overflow(rows, tensor.sizes[i], &rows);
    }
    const uint64_t type_offset = cursor.position();
    tensor.type = TensorType{TRY(cursor.read<uint32_t>(what))};
    tensor.offset = TRY(cursor.read<uint64_t>(what));
    if (const BlockShape* shape = block_shape(tensor.type); shape != nullptr) {
        if (tensor.sizes[0] % shape->values != 0) {
            return invalid("{}: {}: {} columns are no multiple of {}, as its type {} (offset {}) wants",
                           name(), what.view(), tensor.sizes[0], shape->values, shape->name, type_offset);
        }
        overflow |= __builtin_mul_overflow(tensor.sizes[0] / shape->values, shape->bytes, &tensor.bytes);
        overflow |= __builtin_mul_overflow(tensor.bytes, rows, &tensor.bytes);
    }
    if (overflow) {
        return invalid("{}: {}: the product of its dimensions (offset {}) overflows; the file is damaged",
                       name(), what.view(), dimensions_offset);
    }
    tensors_.push_back(std::move(tensor));
    return {};
}

/// Makes the tensors' offsets count from the start of the file; they must be aligned, within it, and apart.
Result<void> File::place_tensors(uint64_t infos_end) {
    const uint64_t past = infos_end % alignment_;
    data_offset_ = infos_end + (past == 0 ? 0 : alignment_ - past);
    for (Tensor& tensor : tensors_) {
        const std::string shown = printable(tensor.name);
        if (tensor.offset % alignment_ != 0) {
            return invalid("{}: {} (at {}): its offset, {}, is no multiple of the alignment, {}", name(),
                           std::string_view(shown), tensor.info_offset, tensor.offset, alignment_);
        }
        const uint64_t room = data_offset_ < file_.size() ? file_.size() - data_offset_ : 0;
        if (!fits(tensor.offset, tensor.bytes, room)) {
            return invalid(
                "{}: {} (at {}): {} bytes at {} of the tensors' {} would end behind the file; it is cut "
                "short",
                name(), std::string_view(shown), tensor.info_offset, tensor.bytes, tensor.offset, room);
        }
        tensor.offset += data_offset_;
    }
    std::vector<const Tensor*> ordered;
    for (const Tensor& tensor : tensors_) ordered.push_back(&tensor);
    std::sort(ordered.begin(), ordered.end(),
              [](const Tensor* a, const Tensor* b) { return a->offset < b->offset; });
    for (size_t i = 1; i < ordered.size(); ++i) {
        const Tensor &before = *ordered[i - 1], &after = *ordered[i];
        if (after.offset >= before.offset + before.bytes && after.offset != before.offset) continue;
        const std::string first = printable(before.name), second = printable(after.name);
        return invalid("{}: {} (at {}) and {} (at {}) overlap at {}; the file is damaged", name(),
                       std::string_view(first), before.info_offset, std::string_view(second),
                       after.info_offset, after.offset);
    }
    return {};
}

const Value* File::find(const std::string& key) const {
    const auto found = values_by_key_.find(key);
    return found == values_by_key_.end() ? nullptr : &values_[found->second];
}

const Tensor* File::find_tensor(const std::string& name) const {
    const auto found = tensors_by_name_.find(name);
    return found == tensors_by_name_.end() ? nullptr : &tensors_[found->second];
}

}  // namespace bareflow::gguf
