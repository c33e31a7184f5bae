#include "model/tools/llama2c_tokenizer.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "model/tokenizer_section.h"

namespace bareflow {
namespace {

using wllm::PieceType;

constexpr uint32_t kUnknownId = 0, kBosId = 1, kEosId = 2;
constexpr uint64_t kMaxFileSize = uint64_t{64} << 20;  // beyond any vocabulary

PieceType type_of(uint32_t id, std::string_view text) {
    if (id == kUnknownId) return PieceType::kUnknown;
    if (id == kBosId || id == kEosId) return PieceType::kControl;
    return byte_of_piece(text) >= 0 ? PieceType::kByte : PieceType::kNormal;
}

/// llama2.c writes "<s>" as "\n<s>\n".
std::string without_newlines(const std::string& text) {
    const bool framed = text.size() >= 2 && text.front() == '\n' && text.back() == '\n';
    return framed ? text.substr(1, text.size() - 2) : text;
}

}  // namespace

Result<Vocabulary> read_llama2c_tokenizer(const InputFile& file) {
    const std::string_view name = file.name();
    if (file.size() > kMaxFileSize) {
        return invalid("{}: {} bytes are more than any tokenizer has; name a tokenizer.bin", name,
                       file.size());
    }
    std::vector<uint8_t> bytes(file.size());
    TRY(file.read_at(0, bytes));
    ByteReader reader(bytes);
    const auto longest = reader.read<uint32_t>();
    if (!reader.ok() || longest == 0 || longest > wllm::kMaxPieceSize) {
        return invalid(
            "{}: the longest piece (offset 0) has {} bytes, must have 1 to {}: this is no llama2.c "
            "tokenizer",
            name, longest, wllm::kMaxPieceSize);
    }
    Vocabulary vocabulary;
    while (reader.left() > 0) {
        const uint32_t id = static_cast<uint32_t>(vocabulary.pieces.size());
        const uint64_t offset = reader.position();
        const auto score = reader.read<float>();
        const auto length = reader.read<int32_t>();
        if (!reader.ok())
            return invalid("{}: piece {} (offset {}) is cut short; copy the file again", name, id, offset);
        if (!std::isfinite(score)) {
            return invalid(
                "{}: the score of piece {} (offset {}) is not a finite number: this is no llama2.c "
                "tokenizer",
                name, id, offset);
        }
        if (length < 1 || static_cast<uint32_t>(length) > longest) {
            return invalid(
                "{}: piece {} (offset {}) has {} bytes, must have 1 to {}: this is no llama2.c tokenizer",
                name, id, offset, length, longest);
        }
        const ByteSpan text = reader.take(static_cast<uint32_t>(length));
        if (!reader.ok())
            return invalid("{}: piece {} (offset {}) is cut short; copy the file again", name, id, offset);
        std::string piece(text.begin(), text.end());
        if (!is_utf8(piece)) {
            return invalid("{}: piece {} (offset {}) is not UTF-8; the file is damaged", name, id, offset);
        }
        const PieceType type = type_of(id, piece);
        if (type == PieceType::kControl) piece = without_newlines(piece);
        vocabulary.pieces.push_back({std::move(piece), score, type});
    }
    if (vocabulary.pieces.empty()) return invalid("{}: holds no piece; name a tokenizer.bin", name);
    return vocabulary;
}

Result<std::string> find_llama2c_tokenizer(const std::string& model, uint32_t vocab_size) {
    namespace fs = std::filesystem;
    std::error_code ignored;
    const fs::path path(model);
    const fs::path named = fs::path(path).replace_extension(".tokenizer.bin");
    if (fs::is_regular_file(named, ignored)) return named.string();

    const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
    std::vector<std::string> found;
    for (fs::directory_iterator entry(folder, ignored), end; entry != end; entry.increment(ignored)) {
        if (entry->path().extension() != ".bin" || !entry->is_regular_file(ignored)) continue;
        const auto file = InputFile::open(entry->path().string());
        if (!file.ok()) continue;
        const auto vocabulary = read_llama2c_tokenizer(file.value());
        if (vocabulary.ok() && vocabulary.value().pieces.size() == vocab_size)
            found.push_back(entry->path().string());
    }
    const std::string name = base_name(model);
    if (found.empty()) {
        return Error::make(ErrorCode::kNotFound,
                           "{}: no tokenizer of {} pieces is beside it; name its tokenizer.bin with -z",
                           std::string_view(name), vocab_size);
    }
    if (found.size() > 1) {
        std::sort(found.begin(), found.end());
        const std::string first = base_name(found[0]), second = base_name(found[1]);
        return invalid("{}: {} tokenizers of {} pieces are beside it, {} and {} among them; name one with -z",
                       std::string_view(name), found.size(), vocab_size, std::string_view(first),
                       std::string_view(second));
    }
    return found[0];
}

}  // namespace bareflow
