#include "model/tools/inspect_hf.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <ostream>

#include "model/tools/hf_folder.h"
#include "model/tools/hf_weights.h"
#include "model/tools/tokenizer_file.h"

namespace bareflow {
namespace {

constexpr size_t kMostTensors = 400, kMostPieces = 12;  // that are shown

template <typename... Arguments>
void print(std::ostream& out, const char* pattern, const Arguments&... arguments) {
    out << FixedString<400>::formatted(pattern, arguments...).view();
}

bool is_folder(const std::string& path) {
    std::error_code ignored;
    return std::filesystem::is_directory(path, ignored);
}

/// What a terminal is not to be told by a file.
std::string shown(std::string_view text, size_t most) {
    std::string result = printable(text.substr(0, most));
    for (char& c : result) c = c == '\x7f' ? '?' : c;
    return result + (text.size() > most ? "..." : "");
}

void print_weights(const Safetensors& weights, std::ostream& out) {
    for (const InputFile& file : weights.files()) {
        print(out, "{}, {} bytes\n", std::string_view(shown(file.name(), 100)), file.size());
    }
    print(out, "tensors: {}\n", weights.tensors().size());
    size_t count = 0;
    for (const auto& [name, entry] : weights.tensors()) {
        if (count++ == kMostTensors) {
            print(out, "  and {} more\n", weights.tensors().size() - kMostTensors);
            return;
        }
        std::string shape;
        for (uint64_t extent : entry.shape) shape += (shape.empty() ? "" : " x ") + std::to_string(extent);
        print(out, "  {:<52} {:<4} {:>16} {:>12} {:>12}  {}\n", std::string_view(shown(name, 80)),
              std::string_view(shown(entry.type_name, 10)), std::string_view(shape), entry.offset, entry.size,
              std::string_view(shown(weights.file_name(entry), 60)));
    }
}

void print_vocabulary(const Vocabulary& vocabulary, std::ostream& out) {
    constexpr std::string_view kNames[] = {"?",      "normal", "unknown", "control", "user-defined",
                                           "unused", "byte"};
    std::array<size_t, std::size(kNames)> counts{};
    for (const Vocabulary::Piece& piece : vocabulary.pieces) ++counts[static_cast<size_t>(piece.type)];
    print(out, "pieces: {}, {}\n", vocabulary.pieces.size(),
          vocabulary.add_dummy_prefix ? "dummy prefix" : "no dummy prefix");
    for (size_t type = 1; type < counts.size(); ++type)
        print(out, "  {:<12} {:>7}\n", kNames[type], counts[type]);
    out << "the first of those that stand for text\n";
    size_t left = kMostPieces;
    for (size_t id = 0; id < vocabulary.pieces.size() && left > 0; ++id) {
        const Vocabulary::Piece& piece = vocabulary.pieces[id];
        if (piece.type != wllm::PieceType::kNormal && piece.type != wllm::PieceType::kUserDefined) continue;
        print(out, "  {:>7} {:>12.3} \"{}\"\n", id, static_cast<double>(piece.score),
              std::string_view(shown(piece.text, 40)));
        --left;
    }
}

Result<void> inspect_folder(const std::string& path, std::ostream& out) {
    const std::unique_ptr<ModelSource> model = TRY(open_hf_folder(path, true));
    const ModelConfig& c = model->config();
    print(out, "{}\n", model->format());
    print(out, "  {} layers, hidden {}, intermediate {}, vocabulary {}, context {}\n", c.num_layers,
          c.hidden_size, c.intermediate_size, c.vocab_size, c.context_length);
    print(out, "  {} heads of {}, {} kv heads, {} embedding\n", c.num_heads, c.head_size, c.num_kv_heads,
          c.tied_embedding ? "tied" : "untied");
    print(out, "  rope theta {:.1}, scaling {:.3}, norm eps {:.9}, bos {}, eos {}, unk {}\n",
          static_cast<double>(c.rope_theta), static_cast<double>(c.rope_scaling),
          static_cast<double>(c.norm_eps), c.bos_id, c.eos_id, c.unk_id);
    print_vocabulary(*model->vocabulary(), out);
    out << "sampling\n";
    for (std::string_view rest = model->sampling_defaults(); !rest.empty();) {
        const size_t end = rest.find('\n');
        out << "  " << rest.substr(0, end) << '\n';
        rest.remove_prefix(end + 1);
    }
    const std::string_view chat = model->chat_template();
    print(out, "chat template: {} bytes\n", chat.size());
    const HfWeights weights = TRY(HfWeights::open(path));
    print_weights(weights.files(), out);
    return {};
}

}  // namespace

bool is_hugging_face(const std::string& path) {
    return is_folder(path) || path.ends_with(".safetensors") || path.ends_with(".model") ||
           path.ends_with(".json");
}

Result<void> inspect_hugging_face(const std::string& path, std::ostream& out) {
    if (is_folder(path)) return inspect_folder(path, out);
    if (path.ends_with(".safetensors") || path.ends_with(".index.json")) {
        const bool index = path.ends_with(".json");
        const Safetensors weights = TRY(index ? Safetensors::open_index(path) : Safetensors::open(path));
        print_weights(weights, out);
        return {};
    }
    const TokenizerFile tokenizer = TRY(read_tokenizer_file(path));
    print_vocabulary(tokenizer.vocabulary, out);
    return {};
}

}  // namespace bareflow
