// bareflow-import: makes a .wllm from a model in another format, or shows what a .wllm holds.
#include <CLI/CLI.hpp>
#include <iostream>

#include "arch/base/version.h"
#include "model/tools/import.h"
#include "model/tools/inspect.h"

namespace bareflow {
namespace {

constexpr int kOk = 0, kFailed = 1, kUsage = 2;

struct Arguments {
    ImportRequest request;
    std::string type = "f32", layout = "panels16";
    std::string output;
    std::string inspect;
};

void declare(CLI::App& app, Arguments& arguments) {
    app.set_version_flag("--version", "bareflow-import " + std::string(kVersion));
    auto* model = app.add_option("MODEL", arguments.request.model, "llama2.c .bin, version 0, 1 or 2");
    auto* tokenizer =
        app.add_option("-z,--tokenizer", arguments.request.tokenizer,
                       "its tokenizer.bin; default: NAME.tokenizer.bin, else the one beside it that fits");
    auto* output =
        app.add_option("-o,--output", arguments.output, "the .wllm to write; replaced if it is there");
    app.add_option("--type", arguments.type, "how weights are stored; norms are f32 always")
        ->check(CLI::IsMember({"f32", "f16"}))
        ->option_text("f32|f16 [f32]");
    app.add_option("--layout", arguments.layout, "how matrices lie: rows, or panels of 16 rows")
        ->check(CLI::IsMember({"rows", "panels16"}))
        ->option_text("rows|panels16 [panels16]");
    app.add_option("--chat-template", arguments.request.chat_template,
                   "name of the chat template; default: the model's own, else plain")
        ->option_text("NAME");
    auto* inspect =
        app.add_option("--inspect", arguments.inspect, "check this .wllm and print what it holds");
    model->excludes(inspect)->option_text(" ");
    output->excludes(inspect)->option_text("OUT.wllm");
    inspect->option_text("FILE.wllm");
    tokenizer->option_text("FILE");
}

int report(const Error& error) {
    std::cerr << "bareflow-import: " << error.message.view() << '\n';
    return kFailed;
}

void print_summary(const ImportSummary& summary, const Arguments& arguments) {
    const ModelConfig& c = summary.config;
    std::cout << arguments.output << ": " << summary.file_size << " bytes from " << summary.source_format
              << ", " << c.num_layers << " layers, hidden " << c.hidden_size << ", vocabulary "
              << c.vocab_size << ", context " << c.context_length << "; weights " << summary.weight_bytes
              << " bytes, " << arguments.type << ' ' << arguments.layout << "; tokenizer "
              << (summary.tokenizer.empty() ? "its own" : summary.tokenizer) << ", " << summary.pieces
              << " pieces; hash " << FixedString<8>::formatted("{:08x}", summary.hash).view() << '\n';
}

int run(int argc, char** argv) {
    CLI::App app("Makes a .wllm, which BareFlow runs, from a llama2.c model.", "bareflow-import");
    Arguments arguments;
    declare(app, arguments);
    try {
        app.parse(argc, argv);
        if (arguments.inspect.empty() && arguments.request.model.empty()) throw CLI::RequiredError("MODEL");
        if (arguments.inspect.empty() && arguments.output.empty()) throw CLI::RequiredError("-o OUT.wllm");
    } catch (const CLI::ParseError& error) {
        return app.exit(error, std::cout, std::cerr) == 0 ? kOk : kUsage;
    }
    arguments.request.type = arguments.type == "f16" ? ElementType::kF16 : ElementType::kF32;
    arguments.request.layout = arguments.layout == "rows" ? Layout::kRowMajor : Layout::kPanels16;
    if (!arguments.inspect.empty()) {
        const auto shown = inspect_wllm(arguments.inspect, std::cout);
        return shown.ok() ? kOk : report(shown.error());
    }
    const auto summary = import_model(arguments.request, arguments.output);
    if (!summary.ok()) return report(summary.error());
    print_summary(summary.value(), arguments);
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
