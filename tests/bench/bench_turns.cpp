#include "tests/bench/bench_turns.h"

#include <fstream>
#include <iostream>
#include <map>
#include <sstream>

#include <nlohmann/json.hpp>

#include "model/tools/known_shapes.h"
#include "model/tools/synthetic.h"
#include "tests/bench/cores.h"
#include "tests/bench/emitted.h"
#include "tests/bench/running_model.h"
#include "tests/gguf/gguf_writer.h"

namespace bareflow::bench {
namespace {

/// `model` with so many threads, made when it is first wanted.
class Turns {
 public:
    explicit Turns(const HugeImage& image) : image_(image) {}

    nlohmann::json answer(const std::string& line) {
        std::istringstream words(line);
        std::string what;
        unsigned cores = 0;
        uint32_t tokens = 0;
        words >> what;
        if (what == "continue") return {{"tokens", continuation(words)}};
        words >> cores >> tokens;
        if (what == "placement") return {{"placement", placement_text()}};
        if (what == "generate" && cores > 0) return {{"ns", generation(on(cores))}};
        if (what == "prompt" && cores > 0 && tokens > 0 && tokens <= on(cores).context()) {
            const double began = now_ns();
            on(cores).prompt(tokens);
            return {{"ns", (now_ns() - began) / tokens}};
        }
        give_up("\"" + line + "\" is no turn");
    }

 private:
    RunningModel& on(unsigned cores) {
        std::unique_ptr<RunningModel>& model = models_[cores];
        if (model == nullptr) {
            Options options;
            options.threads = cores;
            model = std::make_unique<RunningModel>(image_, options);
        }
        return *model;
    }
    std::vector<uint32_t> continuation(std::istream& words) {
        std::vector<uint32_t> prompt;
        const uint32_t vocabulary = on(1).weights().config.vocab_size;
        for (uint32_t token; words >> token && token < vocabulary;) prompt.push_back(token);
        if (prompt.empty() || prompt.size() > RunningModel::kSpan) give_up("a prompt is empty or too long");
        return on(1).continuation(prompt, RunningModel::kFirst);
    }
    static double generation(RunningModel& model) {
        SamplingOptions greedy;
        greedy.temperature = 0;
        const double began = now_ns();
        for (uint32_t i = 0; i < RunningModel::kSpan; ++i) model.next_token(greedy);
        return (now_ns() - began) / RunningModel::kSpan;
    }

    const HugeImage& image_;
    std::map<unsigned, std::unique_ptr<RunningModel>> models_;
};

}  // namespace

void write_gguf(const ModelChoice& choice, const std::string& path) {
    if (!choice.file.empty()) give_up("--gguf writes synthetic models only; name SHAPE:TYPE");
    const auto model = make_synthetic(choice.shape, must(shape_named(choice.shape)), 0);
    constexpr gguf::TensorType kTypes[] = {gguf::TensorType::kF32, gguf::TensorType::kF16,
                                           gguf::TensorType::kQ8_0, gguf::TensorType::kQ4_0};
    const gguf::TensorType type = kTypes[static_cast<size_t>(choice.type)];
    std::ofstream file(path, std::ios::binary);
    gguf::write_model(*model, *model->vocabulary(), {.type_of = [type](TensorName) { return type; }}, file);
    if (!file.flush()) give_up(path + " cannot be written; is there room, and the folder?");
}

void take_turns(const ModelChoice& choice) {
    const std::optional<HugeImage> image = HugeImage::make(choice);
    if (!image) std::exit(1);
    Turns turns(*image);
    std::cout << nlohmann::json{{"ready", choice.name}} << std::endl;
    for (std::string line; std::getline(std::cin, line);) std::cout << turns.answer(line) << std::endl;
}

}  // namespace bareflow::bench
