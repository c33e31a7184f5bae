#include "model/tools/import.h"

#include <array>
#include <filesystem>
#include <memory>

#include "arch/base/version.h"
#include "model/tokenizer_section.h"
#include "model/tools/files.h"
#include "model/tools/gguf.h"
#include "model/tools/gguf_file.h"
#include "model/tools/hf_folder.h"
#include "model/tools/known_shapes.h"
#include "model/tools/llama2c.h"
#include "model/tools/llama2c_tokenizer.h"
#include "model/tools/std_allocator.h"
#include "model/tools/synthetic.h"
#include "model/tools/tokenizer_file.h"
#include "model/tools/wllm_writer.h"
#include "model/wllm.h"

namespace bareflow {
namespace {

constexpr std::string_view kDefaultChatTemplate = "plain";

/// The first four bytes of a file, as a number.
Result<uint32_t> magic_of(const std::string& path) {
    const InputFile file = TRY(InputFile::open(path));
    std::array<uint8_t, sizeof(uint32_t)> bytes{};
    if (file.size() < bytes.size()) {
        return invalid("{}: {} bytes are too few for a model", std::string_view(file.name()), file.size());
    }
    TRY(file.read_at(0, bytes));
    return ByteReader(bytes).read<uint32_t>();
}

/// Opens a model of any format that there is, or makes one up.
Result<std::unique_ptr<ModelSource>> open_model(const ImportRequest& request) {
    if (!request.synthetic.empty())
        return make_synthetic(request.synthetic, TRY(shape_named(request.synthetic)), request.seed);
    const std::string& path = request.model;
    std::error_code ignored;
    const std::string name = base_name(path);
    if (std::filesystem::is_directory(path, ignored)) return open_hf_folder(path, request.tokenizer.empty());
    const uint32_t magic = TRY(magic_of(path));
    if (magic == gguf::kMagic) return open_gguf(path);
    if (magic == wllm::kMagic)
        return invalid("{}: is a .wllm already; use it as it is", std::string_view(name));
    for (std::string_view part : {".safetensors", ".json", ".model", ".jinja"}) {
        if (path.ends_with(part))
            return invalid("{}: is a part of a Hugging Face model; name its folder", std::string_view(name));
    }
    return open_llama2c(path);
}

/// Rows hold no quantised weights, whoever wants these: the command line, or the model.
Result<void> check_layout(const ImportRequest& request, const ModelSource& model) {
    const ModelConfig& config = model.config();
    for (uint32_t i = 0; request.layout == Layout::kRowMajor && i < tensor_count(config); ++i) {
        const TensorName name = nth_tensor(config, i);
        if (is_quantised(request.types.wanted(name, model.own_type(name)))) {
            return invalid(
                "rows (--layout) hold f32 and f16 only, not {} in q8_0 or q4_0; leave --layout out, or take "
                "--quant f16",
                wllm::name_of(name.kind));
        }
    }
    return {};
}

/// An exception that is for no matrix is a slip of the pen, or meant for another model.
Result<void> check_overrides(const TensorTypes& types, const ModelConfig& config) {
    for (const TensorTypes::Override& exception : types.overrides) {
        const bool of_layers = is_per_layer(exception.kind);
        if (of_layers && exception.layer && *exception.layer >= config.num_layers) {
            return invalid("--tensor {}.{}: the model has {} layers, from 0", wllm::name_of(exception.kind),
                           *exception.layer, config.num_layers);
        }
        if (exception.kind == wllm::TensorKind::kLmHead && config.tied_embedding)
            return invalid("--tensor lm-head: this model has none of its own; it is the embedding");
    }
    return {};
}

/// Only a .wllm is written over: another file of that name may be the model itself.
Result<void> check_output(const std::string& output) {
    std::error_code none;
    if (std::filesystem::file_size(output, none) == 0 || none) return {};
    const Result<bool> ours = is_wllm(output);
    if (ours.ok() && ours.value()) return {};
    return invalid("{}: is there and is no .wllm; name another output", std::string_view(output));
}

/// Reads what was written with the loader's own eyes.
Result<void> read_back(int fd, ImportSummary& summary) {
    const MappedFile file = TRY(MappedFile::map(fd, "the new .wllm"));
    StdAllocator allocator;
    const Weights weights = TRY(load_weights(file.bytes(), allocator));
    summary.weight_bytes = weights.weight_bytes;
    summary.file_size = weights.file_size;
    summary.hash = weights.hash;
    if (weights.config == summary.config) return {};
    return Error::make(ErrorCode::kUnsupported,
                       "a .wllm cannot say all of the model's configuration; it was not made");
}

}  // namespace

Result<bool> is_wllm(const std::string& path) {
    std::error_code ignored;
    if (std::filesystem::is_directory(path, ignored)) return false;
    return TRY(magic_of(path)) == wllm::kMagic;
}

Result<ImportSummary> import_model(const ImportRequest& request, int fd) {
    const std::unique_ptr<ModelSource> model = TRY(open_model(request));
    TRY(check_layout(request, *model));
    const ModelConfig& config = model->config();
    TRY(check_overrides(request.types, config));
    ImportSummary summary{.source_format = std::string(model->format()), .tokenizer = {}, .config = config};
    std::string provenance = TRY(model->provenance());

    Vocabulary from_file;
    const Vocabulary* vocabulary = request.tokenizer.empty() ? model->vocabulary() : nullptr;
    if (vocabulary == nullptr) {
        const std::string path = request.tokenizer.empty()
                                     ? TRY(find_llama2c_tokenizer(request.model, config.vocab_size))
                                     : request.tokenizer;
        const InputFile file = TRY(InputFile::open(path));
        TokenizerFile read = TRY(read_tokenizer_file(path));
        from_file = std::move(read.vocabulary);
        vocabulary = &from_file;
        summary.tokenizer = file.name();
        const auto crc = FixedString<8>::formatted("{:08x}", TRY(file.checksum()));
        provenance +=
            "tokenizer=" + printable(file.name()) + "\ntokenizer_crc32c=" + std::string(crc.view()) + "\n";
    }
    if (vocabulary->pieces.size() > config.vocab_size) {
        return invalid(
            "{}: has {} pieces, the model's vocabulary (vocab_size) only {}; name its own tokenizer with -z",
            std::string_view(summary.tokenizer), vocabulary->pieces.size(), config.vocab_size);
    }
    summary.pieces = static_cast<uint32_t>(vocabulary->pieces.size());
    provenance += "importer=bareflow-import " + std::string(kVersion) + "\n";

    std::string chat_template(request.chat_template.empty() ? model->chat_template() : request.chat_template);
    if (chat_template.empty()) chat_template = kDefaultChatTemplate;
    if (!is_utf8(chat_template)) return invalid("the chat template's name is not UTF-8; write it so");

    const std::string_view defaults = model->sampling_defaults();
    FileWriter writer(fd, "the new .wllm");
    summary.tensors = TRY(write_wllm({.model = *model,
                                      .vocabulary = *vocabulary,
                                      .chat_template = chat_template,
                                      .provenance = provenance,
                                      .defaults = defaults,
                                      .types = request.types,
                                      .layout = request.layout,
                                      .progress = request.progress},
                                     writer));
    TRY(read_back(fd, summary));
    return summary;
}

Result<ImportSummary> import_model(const ImportRequest& request, const std::string& output) {
    TRY(check_output(output));
    ReplacementFile file = TRY(ReplacementFile::create(output));
    ImportSummary summary = TRY(import_model(request, file.fd()));
    TRY(file.commit());
    return summary;
}

}  // namespace bareflow
