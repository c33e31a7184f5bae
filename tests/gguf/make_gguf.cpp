// make-gguf: writes models as GGUF files in any type, for tests and oracles (tests/gguf/README.md); --logits runs one.
#include <sys/mman.h>
#include <CLI/CLI.hpp>

#include <fstream>
#include <iostream>

#include "model/reference.h"
#include "model/tools/files.h"
#include "model/tools/import.h"
#include "model/tools/known_shapes.h"
#include "model/tools/llama2c.h"
#include "model/tools/llama2c_tokenizer.h"
#include "model/tools/std_allocator.h"
#include "model/tools/synthetic.h"
#include "model/transformer.h"
#include "tests/gguf/doubled_model.h"
#include "tests/gguf/gguf_writer.h"

namespace bareflow {
namespace {

struct Arguments {
    std::string output, model = "model/bareflow-stories.bin", synthetic, type = "f32", logits, corpus;
    bool doubled = false, embedding_only = false;
    uint32_t version = 3;
    float rope_scaling = 0;
};

template <typename T>
T must(Result<T> result) {
    if (!result.ok()) throw std::runtime_error(std::string(result.error().message()));
    if constexpr (!std::is_void_v<T>) return result.take();
}

void write(const Arguments& arguments) {
    std::unique_ptr<ModelSource> model;
    Vocabulary vocabulary;
    if (arguments.synthetic.empty()) {
        model = must(open_llama2c(arguments.model));
        const std::string tokenizer =
            must(find_llama2c_tokenizer(arguments.model, model->config().vocab_size));
        vocabulary = must(read_llama2c_tokenizer(must(InputFile::open(tokenizer))));
    } else {
        model = make_synthetic(arguments.synthetic, must(shape_named(arguments.synthetic)), 0);
        vocabulary = *model->vocabulary();
    }
    const DoubledModel doubled(*model, arguments.rope_scaling);
    const ModelSource& source = arguments.doubled ? static_cast<const ModelSource&>(doubled) : *model;
    const gguf::BlockShape* type = gguf::type_named(arguments.type);
    if (type == nullptr && arguments.type != "q4_k_m")
        throw std::runtime_error(arguments.type + " is no type of weights");
    const auto type_of = [&](TensorName name) {
        if (arguments.embedding_only && name.kind != wllm::TensorKind::kEmbedding)
            return gguf::TensorType::kF32;
        return type != nullptr ? type->type : gguf::q4_k_m(name, source.config().num_layers);
    };
    std::ofstream out(arguments.output, std::ios::binary);
    gguf::write_model(source, vocabulary, {.type_of = type_of, .version = arguments.version}, out);
    if (!out.flush()) throw std::runtime_error(arguments.output + " cannot be written");
}

/// Reads token ids, and prints a line of logits after each of them, as the model has them in f32.
void print_logits(const std::string& path) {
    const Descriptor memory(memfd_create("logits", MFD_CLOEXEC));
    must(import_model(
        {.model = path, .tokenizer = {}, .chat_template = {}, .types = {.all = ElementType::kF32}},
        memory.get()));
    const MappedFile file = must(MappedFile::map(memory.get(), path));
    StdAllocator allocator;
    const Weights weights = must(load_weights(file.bytes(), allocator));
    Operators& operators = *must(reference_operators(NumericClass::kMulAdd, CpuFeatures()));
    Transformer transformer = must(Transformer::model_init(weights, operators, allocator, 0));
    uint32_t position = 0;
    for (uint32_t token;
         std::cin >> token && position < transformer.context() && token < weights.config.vocab_size;) {
        const Logits logits = transformer.model_forward(token, position++);
        for (uint32_t i = 0; i < weights.config.vocab_size; ++i) std::cout << logits.values[i] << ' ';
        std::cout << '\n';
    }
}

/// A small file of each type, and of each version, for a fuzzer to begin with.
void write_corpus(const std::string& folder) {
    // K-quants want 256 columns; with so few rows, and F32 where columns are fewer, a file has less than ten kilobytes.
    ModelConfig config = must(shape_named("stories260k"));
    config.num_layers = config.intermediate_size = config.num_heads = config.num_kv_heads = 1;
    config.head_size = 2;
    config.vocab_size = 5;
    for (const gguf::BlockShape& shape : gguf::kBlockShapes) {
        config.hidden_size = std::max(32u, shape.values);
        const auto model = make_synthetic("a corpus", config, 0);
        for (const uint32_t version : {1u, 3u}) {
            const auto type_of = [&](TensorName name) {
                const bool fits = shape_of(config, name.kind).columns % shape.values == 0;
                return fits && shape.bytes != 4 ? shape.type : gguf::TensorType::kF32;
            };
            std::ofstream out(folder + "/seed-" + std::string(shape.name) + "-v" + std::to_string(version),
                              std::ios::binary);
            gguf::write_model(*model, *model->vocabulary(), {.type_of = type_of, .version = version}, out);
            if (!out.flush()) throw std::runtime_error(folder + " cannot be written to");
        }
    }
}

int run(int argc, char** argv) {
    Arguments arguments;
    CLI::App app("Writes a model as GGUF, for tests.", "make-gguf");
    auto* output = app.add_option("-o", arguments.output, "the file to write");
    app.add_option("--model", arguments.model, "a llama2.c .bin with its tokenizer beside it");
    app.add_option("--synthetic", arguments.synthetic, "made-up weights of this shape instead");
    app.add_option("--type", arguments.type, "f32, f16, bf16, q4_0 … q6_k, or the mixture q4_k_m");
    auto* doubled =
        app.add_flag("--doubled", arguments.doubled, "the same model twice as wide (doubled_model.h)");
    app.add_option("--rope-scaling", arguments.rope_scaling, "the factor of linear scaling")->needs(doubled);
    app.add_flag("--embedding-only", arguments.embedding_only, "all but the embedding in f32");
    app.add_option("--version", arguments.version, "of the format")->check(CLI::Range(1, 3));
    app.add_option("--logits", arguments.logits,
                   "no writing: the logits of this model after each token of stdin")
        ->excludes(output);
    app.add_option("--corpus", arguments.corpus, "instead: small files of every type, into this folder");
    CLI11_PARSE(app, argc, argv);
    std::cout.precision(9);
    if (!arguments.corpus.empty()) {
        write_corpus(arguments.corpus);
    } else {
        arguments.logits.empty() ? write(arguments) : print_logits(arguments.logits);
    }
    return std::cout.flush() ? 0 : 1;
}

}  // namespace
}  // namespace bareflow

int main(int argc, char** argv) {
    try {
        return bareflow::run(argc, argv);
    } catch (const std::exception& error) {
        std::cerr << "make-gguf: " << error.what() << '\n';
        return 1;
    }
}
