// Texts that llama2.c wrote greedily, models imported as a user would, and what a model in double precision says of each
// step of a text.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>

#include "model/tokenizer.h"
#include "model/tools/files.h"
#include "model/tools/import.h"
#include "model/weights.h"
#include "tests/unit/base/sanitized.h"
#include "tests/unit/model/compute_support.h"

namespace bareflow::testing {

using Tokens = std::vector<uint32_t>;

/// As far into a text as sanitizers look, which are slow and look for other things: all of it is the ordinary build's.
constexpr size_t kSanitizedSteps = 48;

/// A text that llama2.c's run wrote at temperature 0.
struct GreedyText {
    std::string prompt;
    std::string text;  ///< with the prompt
    size_t steps;      ///< positions that it was allowed; run also stops at BOS
    Tokens ids;        ///< the first ones after BOS, where they were recorded
};

inline std::string read_file(const std::string& path) {
    std::ifstream file(path);
    EXPECT_TRUE(file.good()) << path << " cannot be read; run the tests from the repository's root";
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

/// The part of `text` after `start` and before `end`; empty if there is none.
inline std::string between(const std::string& text, const std::string& start, const std::string& end,
                           size_t from = 0) {
    const size_t begin = text.find(start, from);
    if (begin == std::string::npos) return {};
    const size_t stop = text.find(end, begin + start.size());
    return stop == std::string::npos ? std::string()
                                     : text.substr(begin + start.size(), stop - begin - start.size());
}

/// The greedy texts of MODEL_CARD.md: "Prompt: …", an empty line, "> text".
inline std::vector<GreedyText> greedy_texts_of_model_card() {
    const std::string section = between(read_file("model/MODEL_CARD.md"), "### Greedy", "### Sampled");
    std::vector<GreedyText> texts;
    for (size_t at = section.find("\nPrompt: "); at != std::string::npos;
         at = section.find("\nPrompt: ", at + 1)) {
        const std::string prompt = between(section, "\nPrompt: ", "\n", at);
        texts.push_back({prompt == "(empty)" ? "" : prompt, between(section, "\n> ", "\n", at), 400, {}});
    }
    return texts;
}

/// The greedy texts of EXPECTED.md: "### prompt '…', -n N", the text in a fence, the ids after a colon.
inline std::vector<GreedyText> greedy_texts_of_stories260k(const std::string& path) {
    const std::string file = read_file(path);
    std::vector<GreedyText> texts;
    for (size_t at = file.find("### prompt '"); at != std::string::npos;
         at = file.find("### prompt '", at + 1)) {
        GreedyText text;
        text.prompt = between(file, "### prompt '", "', -n ", at);
        text.steps = std::stoul(between(file, "', -n ", "\n", at));
        text.text = between(file, "```text\n", "\n```", at);
        std::istringstream ids(between(file, "generated): ", "\n", at));
        for (uint32_t id; ids >> id;) text.ids.push_back(id);
        texts.push_back(text);
    }
    return texts;
}

/// A model imported as a user would.
class ImportedModel {
 public:
    static std::optional<ImportedModel> make(const std::string& path, const std::string& tokenizer,
                                             ElementType type) {
        const int fd = memfd_create("model", 0);
        const ImportRequest request = {
            .model = path, .tokenizer = tokenizer, .chat_template = {}, .types = {.all = type}};
        auto summary = import_model(request, fd);
        if (!summary.ok()) {
            ADD_FAILURE() << summary.error().message();
            close(fd);
            return {};
        }
        ImportedModel model(MappedFile::map(fd, path).take());
        close(fd);
        return model;
    }
    const Weights& weights() const { return weights_; }
    const Tokenizer& tokenizer() const { return tokenizer_; }

    Tokens tokens_of(const std::string& prompt) const {
        const auto ids = tokenizer_.encode(prompt).take();
        Tokens tokens = {weights_.config.bos_id};
        tokens.insert(tokens.end(), ids.begin(), ids.end());
        return tokens;
    }
    std::string text_of(const Tokens& tokens) const {
        Detokenizer detokenizer(tokenizer_);
        std::string text;
        for (uint32_t token : tokens) text += detokenizer.next(token);
        text += detokenizer.finish();
        return text;
    }

 private:
    explicit ImportedModel(MappedFile file)
        : file_(std::move(file)),
          weights_(load_weights(file_.bytes(), allocator()).take()),
          tokenizer_(Tokenizer::make(weights_.tokenizer, allocator()).take()) {}
    static Allocator& allocator() {
        static CountingAllocator allocator;
        return allocator;
    }
    MappedFile file_;
    Weights weights_;
    Tokenizer tokenizer_;
};

/// For each position of a text: the logits in double precision, the token they choose, and by how much.
struct ExactStep {
    std::vector<double> logits;
    uint32_t best;
    double margin;  ///< between the best and the second
};

inline ExactStep exact_step(DoubleTransformer& exact, uint32_t token) {
    ExactStep step{exact.forward(token), 0, 0};
    std::vector<double> sorted = step.logits;
    std::partial_sort(sorted.begin(), sorted.begin() + 2, sorted.end(), std::greater<>());
    step.best =
        static_cast<uint32_t>(std::max_element(step.logits.begin(), step.logits.end()) - step.logits.begin());
    step.margin = sorted[0] - sorted[1];
    return step;
}
inline std::vector<ExactStep> exact_steps(DoubleTransformer& exact, const Tokens& tokens) {
    exact.reset();
    std::vector<ExactStep> steps;
    for (uint32_t token : tokens) steps.push_back(exact_step(exact, token));
    return steps;
}

}  // namespace bareflow::testing
