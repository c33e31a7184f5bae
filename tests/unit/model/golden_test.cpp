// Whole models against llama2.c's own greedy texts, in each numeric class and element type. A text proves
// something only where the choice was clear, so each step's margin is asserted too: the gap between the two
// highest logits in double precision is more than twice what the logits were found to be off.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <sstream>

#include "model/tokenizer.h"
#include "model/tools/files.h"
#include "model/tools/import.h"
#include "model/weights.h"
#include "tests/unit/model/compute_support.h"

namespace bareflow {
namespace {

using testing::classes;
using testing::CountingAllocator;
using testing::DoubleTransformer;
using testing::operators_of;

#ifdef __SANITIZE_ADDRESS__
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

using Tokens = std::vector<uint32_t>;

/// A text that llama2.c's run wrote at temperature 0.
struct GreedyText {
    std::string prompt;
    std::string text;  ///< with the prompt
    size_t steps;      ///< positions that it was allowed; run also stops at BOS
    Tokens ids;        ///< the first ones after BOS, where they were recorded
};

std::string read_file(const std::string& path) {
    std::ifstream file(path);
    EXPECT_TRUE(file.good()) << path << " cannot be read; run the tests from the repository's root";
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

/// The part of `text` after `start` and before `end`; empty if there is none.
std::string between(const std::string& text, const std::string& start, const std::string& end,
                    size_t from = 0) {
    const size_t begin = text.find(start, from);
    if (begin == std::string::npos) return {};
    const size_t stop = text.find(end, begin + start.size());
    return stop == std::string::npos ? std::string()
                                     : text.substr(begin + start.size(), stop - begin - start.size());
}

/// The greedy texts of MODEL_CARD.md: "Prompt: …", an empty line, "> text".
std::vector<GreedyText> greedy_texts_of_model_card() {
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
std::vector<GreedyText> greedy_texts_of_stories260k(const std::string& path) {
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
            ADD_FAILURE() << summary.error().message.view();
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

/// All tokens from BOS on: the prompt's, then the greedy ones, as far as llama2.c's run goes: `steps` after
/// BOS, or up to a BOS or EOS, which is left out.
Tokens write_greedily(const ImportedModel& model, NumericClass numerics, const GreedyText& golden) {
    CountingAllocator allocator;
    Operators& operators = operators_of(numerics);
    Transformer transformer = Transformer::model_init(model.weights(), operators, allocator).take();
    const ModelConfig& config = model.weights().config;
    Tokens tokens = model.tokens_of(golden.prompt);
    const size_t given = tokens.size();
    for (uint32_t position = 0; position < golden.steps && position < config.context_length; ++position) {
        const float* logits = transformer.model_forward(tokens[position], position).values;
        if (position + 1 < given) continue;
        const uint32_t next = operators.argmax(logits, config.vocab_size);
        if (next == config.bos_id || next == config.eos_id) break;
        tokens.push_back(next);
    }
    return tokens;
}

/// For each position of a text: the logits in double precision, the token they choose, and by how much.
struct ExactStep {
    std::vector<double> logits;
    uint32_t best;
    double margin;  ///< between the best and the second
};

std::vector<ExactStep> exact_steps(DoubleTransformer& exact, const Tokens& tokens) {
    exact.reset();
    std::vector<ExactStep> steps;
    for (uint32_t token : tokens) {
        ExactStep step{exact.forward(token), 0, 0};
        std::vector<double> sorted = step.logits;
        std::partial_sort(sorted.begin(), sorted.begin() + 2, sorted.end(), std::greater<>());
        step.best = static_cast<uint32_t>(std::max_element(step.logits.begin(), step.logits.end()) -
                                          step.logits.begin());
        step.margin = sorted[0] - sorted[1];
        steps.push_back(std::move(step));
    }
    return steps;
}

/// How far from the f32 model's logits in double precision a type's may be, and how many steps of a text may
/// have too small a margin for it to say that the same token must be chosen.
struct Promise {
    ElementType type, cache;
    double logit_bound;
    double max_unclear_share;
};
// Measured over all texts below: 4.3e-5, 4.4e-2 with a KV cache of f16, and 1.3e-2 with f16 weights; logits are from -16
// to 26, the smallest margin is 2.8e-4, so in f32 every step is clear. In f16 what differs are the weights, not the arithmetic.
// In Q8_0 the inputs are rounded to 8 bits too: 0.6, and up to half of a text's steps are too close to tell.
constexpr Promise kPromises[] = {{ElementType::kF32, ElementType::kF32, 1e-4, 0.0},
                                 {ElementType::kF32, ElementType::kF16, 5e-2, 0.05},
                                 {ElementType::kF16, ElementType::kF32, 1.5e-2, 0.03},
                                 {ElementType::kQ8_0, ElementType::kF32, 0.7, 0.5}};

/// Runs one class over `tokens`, the first `given` of which are the prompt's: by induction, it would have
/// written the rest itself if each choice is the exact one.
void expect_same_choices(const ImportedModel& model, NumericClass numerics, const Tokens& tokens,
                         size_t given, const std::vector<ExactStep>& exact, const Promise& promise) {
    CountingAllocator allocator;
    Operators& operators = operators_of(numerics);
    Transformer transformer =
        Transformer::model_init(model.weights(), operators, allocator, 0, promise.cache).take();
    double worst = 0;
    size_t unclear = 0;
    for (uint32_t i = 0; i < tokens.size(); ++i) {
        const float* logits = transformer.model_forward(tokens[i], i).values;
        worst = std::max(worst, testing::worst_difference(logits, exact[i].logits));
        if (i + 1 < given) continue;
        if (exact[i].margin <= 2 * promise.logit_bound) {
            ++unclear;
        } else {
            EXPECT_EQ(operators.argmax(logits, exact[i].logits.size()), exact[i].best) << "position " << i;
        }
    }
    EXPECT_LE(worst, promise.logit_bound) << name_of(promise.type) << " " << name_of(numerics);
    EXPECT_LE(static_cast<double>(unclear), promise.max_unclear_share * static_cast<double>(tokens.size()))
        << name_of(promise.type);
    if (unclear > 0) {
        std::cout << "[ margins  ] " << name_of(promise.type) << " " << name_of(numerics) << ": " << unclear
                  << " of " << tokens.size() << " steps are too close to tell and not compared\n";
    }
}

void expect_llama2c_texts(const std::string& path, const std::string& tokenizer,
                          const std::vector<GreedyText>& texts) {
    const auto model = ImportedModel::make(path, tokenizer, ElementType::kF32);
    ASSERT_TRUE(model.has_value());
    DoubleTransformer exact(model->weights());
    for (const GreedyText& golden : texts) {
        SCOPED_TRACE("prompt '" + golden.prompt + "'");
        const Tokens tokens = write_greedily(*model, NumericClass::kMulAdd, golden);
        EXPECT_EQ(model->text_of(tokens), golden.text);
        ASSERT_LE(golden.ids.size() + 1, tokens.size());
        EXPECT_EQ(Tokens(tokens.begin() + 1, tokens.begin() + 1 + static_cast<long>(golden.ids.size())),
                  golden.ids);

        const size_t given = model->tokens_of(golden.prompt).size();
        const std::vector<ExactStep> steps = exact_steps(exact, tokens);
        for (size_t i = given; i < tokens.size(); ++i) EXPECT_EQ(tokens[i], steps[i - 1].best);
        for (const Promise& promise : kPromises) {
            const auto typed = ImportedModel::make(path, tokenizer, promise.type);
            ASSERT_TRUE(typed.has_value());
            for (NumericClass numerics : classes()) {
                expect_same_choices(*typed, numerics, tokens, given, steps, promise);
            }
        }
    }
}

TEST(GoldenTexts, TheDefaultModelWritesWhatLlama2cWroteFromItInEveryClassAndType) {
    std::vector<GreedyText> texts = greedy_texts_of_model_card();
    ASSERT_EQ(texts.size(), 7u);
    if (kSanitized) texts.resize(1);  // they are slow there, and look for other things
    expect_llama2c_texts("model/bareflow-stories.bin", "", texts);
}

TEST(GoldenTexts, Stories260KWritesWhatLlama2cWroteFromItInEveryClassAndType) {
    const std::string folder = "../shared/models/";
    if (!std::filesystem::exists(folder + "stories260K.bin")) {
        GTEST_SKIP() << folder << "stories260K.bin is not there: its golden texts are not compared";
    }
    const std::vector<GreedyText> texts = greedy_texts_of_stories260k(folder + "EXPECTED.md");
    ASSERT_EQ(texts.size(), 2u);
    for (const GreedyText& text : texts) EXPECT_EQ(text.ids.size(), 96u);
    expect_llama2c_texts(folder + "stories260K.bin", folder + "tok512.bin", texts);
}

}  // namespace
}  // namespace bareflow
