#include "model/tools/inspect.h"

#include <ostream>

#include "model/tokenizer_section.h"
#include "model/tools/files.h"
#include "model/tools/gguf.h"
#include "model/tools/gguf_inspect.h"
#include "model/tools/std_allocator.h"
#include "model/weights.h"
#include "model/wllm.h"

namespace bareflow {
namespace {

template <typename... Arguments>
void print(std::ostream& out, const char* pattern, const Arguments&... arguments) {
    out << FixedString<400>::formatted(pattern, arguments...).view();
}

void print_header(const Weights& weights, const wllm::WeightHeader& header, std::ostream& out) {
    const ModelConfig& c = weights.config;
    print(out, "wllm version {}, {} bytes, hash {:08x}\n", header.version, header.file_size, weights.hash);
    print(out, "  {} layers, hidden {}, intermediate {}, vocabulary {}, context {}\n", c.num_layers,
          c.hidden_size, c.intermediate_size, c.vocab_size, c.context_length);
    print(out, "  {} heads of {}, {} kv heads, {} embedding\n", c.num_heads, c.head_size, c.num_kv_heads,
          c.tied_embedding ? "tied" : "untied");
    const auto scaling =
        c.rope_scaling == 0
            ? FixedString<40>()
            : FixedString<40>::formatted(", positions / {:.6}", static_cast<double>(c.rope_scaling));
    print(out, "  rope theta {:.1}{}, norm eps {:.9}, bos {}, eos {}, unk {}\n",
          static_cast<double>(c.rope_theta), scaling, static_cast<double>(c.norm_eps), c.bos_id, c.eos_id,
          c.unk_id);
    print(out, "  weights {} bytes\n", weights.weight_bytes);
}

/// The image was checked: its tables are where they say.
template <typename Entry>
Entry entry_at(ByteSpan image, uint64_t table, uint64_t index) {
    return ByteReader(image.subspan(table + index * sizeof(Entry))).read<Entry>();
}

void print_tensors(ByteSpan image, const wllm::SectionEntry& directory, std::ostream& out) {
    print(out, "tensors\n  {:<14} {:>5} {:<4} {:<9} {:>7} {:>7} {:>12} {:>12} crc32c\n", "kind", "layer",
          "type", "layout", "rows", "columns", "offset", "bytes");
    for (uint64_t i = 0; i < directory.size / sizeof(wllm::TensorEntry); ++i) {
        const auto tensor = entry_at<wllm::TensorEntry>(image, directory.offset, i);
        const auto layer = tensor.layer == wllm::kNoLayer ? FixedString<12>("-")
                                                          : FixedString<12>::formatted("{}", tensor.layer);
        print(out, "  {:<14} {:>5} {:<4} {:<9} {:>7} {:>7} {:>12} {:>12} {:08x}\n",
              wllm::name_of(tensor.kind), layer, name_of(tensor.type), name_of(tensor.layout), tensor.rows,
              tensor.columns, tensor.offset, tensor.size, tensor.crc32c);
    }
}

void print_lines(std::string_view lines, std::ostream& out) {
    while (!lines.empty()) {
        const size_t end = lines.find('\n');
        out << "  " << lines.substr(0, end) << '\n';
        lines.remove_prefix(end == std::string_view::npos ? lines.size() : end + 1);
    }
}

}  // namespace

Result<void> inspect_wllm(const std::string& path, std::ostream& out) {
    const MappedFile file = TRY(MappedFile::open(path));
    const ByteSpan image = file.bytes();
    StdAllocator allocator;
    const Weights weights = TRY(load_weights(image, allocator));
    const auto header = entry_at<wllm::WeightHeader>(image, 0, 0);
    print_header(weights, header, out);

    print(out, "sections\n  {:<16} {:>12} {:>12} crc32c\n", "kind", "offset", "bytes");
    wllm::SectionEntry directory{};
    for (uint32_t i = 0; i < header.section_count; ++i) {
        const auto section = entry_at<wllm::SectionEntry>(image, header.section_table_offset, i);
        print(out, "  {:<16} {:>12} {:>12} {:08x}\n", wllm::name_of(section.kind), section.offset,
              section.size, section.crc32c);
        if (section.kind == wllm::SectionKind::kTensorDirectory) directory = section;
    }
    print_tensors(image, directory, out);

    const TokenizerSection tokenizer = TRY(read_tokenizer_section(weights.tokenizer));
    print(out, "tokenizer\n  {} pieces, {}\n", tokenizer.count(),
          tokenizer.add_dummy_prefix ? "dummy prefix" : "no dummy prefix");
    if (!tokenizer.add_bos) out << "  texts begin without BOS\n";
    out << "chat template\n  " << weights.chat_template << "\nprovenance\n";
    print_lines(weights.provenance, out);
    if (!weights.defaults.empty()) out << "defaults\n";
    print_lines(weights.defaults, out);
    return {};
}

Result<void> inspect_model(const std::string& path, std::ostream& out) {
    return TRY(is_gguf(path)) ? inspect_gguf(path, out) : inspect_wllm(path, out);
}

}  // namespace bareflow
