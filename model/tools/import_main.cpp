// bareflow-import: makes a .wllm from a model in another format, or shows what one holds.
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <iostream>

#include "arch/base/options.h"
#include "arch/base/version.h"
#include "model/tools/files.h"
#include "model/tools/import.h"
#include "model/tools/inspect.h"
#include "model/tools/inspect_hf.h"
#include "model/tools/known_shapes.h"

namespace bareflow {
namespace {

constexpr int kOk = 0, kFailed = 1, kUsage = 2;

struct Arguments {
    ImportRequest request;
    std::string type, layout = "panels16";
    std::vector<std::string> overrides;
    std::string output;
    std::string inspect;
};

std::vector<std::string> names_of_shapes() {
    std::vector<std::string> names;
    for (const KnownShape& shape : known_shapes()) names.emplace_back(shape.name);
    return names;
}

void declare(CLI::App& app, Arguments& arguments) {
    app.set_version_flag("--version", "bareflow-import " + std::string(kVersion));
    auto* model = app.add_option("MODEL", arguments.request.model,
                                 "a .gguf, a llama2.c .bin (version 0, 1 or 2), or a Hugging Face folder");
    auto* tokenizer =
        app.add_option("-z,--tokenizer", arguments.request.tokenizer,
                       "its tokenizer, a .model, tokenizer.json or tokenizer.bin; default: its own, "
                       "NAME.tokenizer.bin, else the one beside it that fits");
    auto* output =
        app.add_option("-o,--output", arguments.output, "the .wllm to write; one that is there is replaced");
    app.add_option(
           "--quant,--type", arguments.type,
           "how weights are stored; norms are f32 always, and q8_0 and q4_0 leave f16 what has no multiple "
           "of 32 columns; default: what comes nearest to the model's own, f32 for llama2.c")
        ->check(CLI::IsMember({"f32", "f16", "q8_0", "q4_0"}))
        ->option_text("f32|f16|q8_0|q4_0");
    app.add_option("--tensor", arguments.overrides,
                   "how this matrix is stored, as in down=f16, or in one layer, down.3=f16; may be repeated")
        ->option_text("TENSOR=TYPE");
    app.add_option("--layout", arguments.layout, "how matrices lie: rows, or panels of 16 rows")
        ->check(CLI::IsMember({"rows", "panels16"}))
        ->option_text("rows|panels16 [panels16]");
    app.add_option("--chat-template", arguments.request.chat_template,
                   "name of the chat template; default: the model's own, else plain")
        ->check(CLI::IsMember(std::vector<std::string>(std::begin(kTemplateNames), std::end(kTemplateNames))))
        ->option_text("plain|zephyr|llama-2|chatml");
    auto* inspect =
        app.add_option("--inspect", arguments.inspect,
                       "print what is in a .wllm, .gguf, Hugging Face folder, .safetensors, .model or .json");
    auto* synthetic = app.add_option("--synthetic", arguments.request.synthetic,
                                     "no model, but weights of this shape from a seed: " +
                                         CLI::detail::join(names_of_shapes(), ", "))
                          ->check(CLI::IsMember(names_of_shapes()))
                          ->option_text("SHAPE")
                          ->excludes(model);
    app.add_option("--seed", arguments.request.seed, "of synthetic weights: the same seed, the same bytes")
        ->option_text("N [0]")
        ->needs(synthetic);
    synthetic->excludes(inspect);
    model->excludes(inspect)->option_text(" ");
    output->excludes(inspect)->option_text("OUT.wllm");
    inspect->option_text("FILE");
    tokenizer->option_text("FILE");
}

int report(const Error& error) {
    // A message may have names in it that somebody else wrote.
    std::cerr << "bareflow-import: " << printable(error.message()) << '\n';
    return kFailed;
}

void print_summary(const ImportSummary& summary, const Arguments& arguments) {
    const ModelConfig& c = summary.config;
    std::cout << arguments.output << ": " << summary.file_size << " bytes from " << summary.source_format
              << ", " << c.num_layers << " layers, hidden " << c.hidden_size << ", vocabulary "
              << c.vocab_size << ", context " << c.context_length << "; weights " << summary.weight_bytes
              << " bytes, " << (arguments.type.empty() ? "in their own types" : arguments.type) << ' '
              << arguments.layout << "; tokenizer "
              << (summary.tokenizer.empty() ? "its own" : summary.tokenizer) << ", " << summary.pieces
              << " pieces; hash " << FixedString<8>::formatted("{:08x}", summary.hash).view() << '\n';
}

Result<TensorTypes> types_of(const Arguments& arguments) {
    TensorTypes types;
    if (!arguments.type.empty()) types.all = TRY(parse_type(arguments.type));
    for (const std::string& text : arguments.overrides) types.overrides.push_back(TRY(parse_override(text)));
    return types;
}

/// What storing each matrix cost; of interest where it is more than a rounding to f16.
void print_errors(const std::vector<TensorReport>& tensors) {
    std::cout << "error of each tensor, relative to its weights: root mean square, and largest\n";
    for (const TensorReport& tensor : tensors) {
        if (is_norm(tensor.name.kind)) continue;
        const auto layer = tensor.name.layer == wllm::kNoLayer
                               ? FixedString<12>("-")
                               : FixedString<12>::formatted("{}", tensor.name.layer);
        std::cout << FixedString<200>::formatted(
                         "  {:<9} {:>5} {:<4} {:>7} x {:>7}  rms {:.6}  largest {:.6}",
                         wllm::name_of(tensor.name.kind), layer, name_of(tensor.stored), tensor.rows,
                         tensor.columns, tensor.rms, tensor.largest)
                         .view();
        if (tensor.kept) std::cout << "  the model's own";
        if (tensor.stored != tensor.wanted) {
            std::cout << "  not " << name_of(tensor.wanted) << ": its columns are no multiple of " << kGroup;
        }
        std::cout << '\n';
    }
}

/// Says on a terminal how far the work is, whenever that is another percent.
class PercentLine {
 public:
    ~PercentLine() {
        if (last_ >= 0) std::fputs("\r\x1b[K", stderr);
    }
    void operator()(uint64_t done, uint64_t total) {
        const int percent = static_cast<int>(done * 100 / total);
        if (percent == last_ || isatty(STDERR_FILENO) == 0) return;
        last_ = percent;
        std::fprintf(stderr, "\rbareflow-import: %d%% of %llu MiB ", percent, 0ULL + (total >> 20));
    }

 private:
    int last_ = -1;
};

Result<ImportSummary> import_with_progress(ImportRequest request, const std::string& output) {
    PercentLine line;
    request.progress = std::ref(line);
    return import_model(request, output);
}

int run(int argc, char** argv) {
    CLI::App app("Makes a .wllm, which BareFlow runs, from a model in another format.", "bareflow-import");
    Arguments arguments;
    declare(app, arguments);
    try {
        app.parse(argc, argv);
        const bool nothing = arguments.request.model.empty() && arguments.request.synthetic.empty();
        if (arguments.inspect.empty() && nothing) throw CLI::RequiredError("MODEL or --synthetic SHAPE");
        if (arguments.inspect.empty() && arguments.output.empty()) throw CLI::RequiredError("-o OUT.wllm");
    } catch (const CLI::ParseError& error) {
        return app.exit(error, std::cout, std::cerr) == 0 ? kOk : kUsage;
    }
    if (const auto types = types_of(arguments); types.ok()) {
        arguments.request.types = types.value();
    } else {
        report(types.error());
        return kUsage;
    }
    arguments.request.layout = arguments.layout == "rows" ? Layout::kRowMajor : Layout::kPanels16;
    if (!arguments.inspect.empty()) {
        const auto shown = is_hugging_face(arguments.inspect)
                               ? inspect_hugging_face(arguments.inspect, std::cout)
                               : inspect_model(arguments.inspect, std::cout);
        return shown.ok() ? kOk : report(shown.error());
    }
    const auto summary = import_with_progress(arguments.request, arguments.output);
    if (!summary.ok()) return report(summary.error());
    print_summary(summary.value(), arguments);
    const auto& tensors = summary.value().tensors;
    if (std::any_of(tensors.begin(), tensors.end(),
                    [](const TensorReport& tensor) { return is_quantised(tensor.stored); }))
        print_errors(tensors);
    return kOk;
}

}  // namespace
}  // namespace bareflow

int main(int argc, char** argv) {
    try {
        const int status = bareflow::run(argc, argv);
        if (!std::cout.flush()) {
            std::cerr << "bareflow-import: standard output cannot be written\n";
            return bareflow::kFailed;
        }
        return status;
    } catch (const std::exception& error) {
        std::cerr << "bareflow-import: " << error.what() << '\n';
        return bareflow::kFailed;
    }
}
