#include "model/tools/perplexity.h"

#include <algorithm>
#include <cmath>

namespace bareflow {
namespace {

/// -ln of the probability that the logits give to `token`, in double precision.
double loss_of(const float* logits, size_t count, uint32_t token) {
    const double largest = *std::max_element(logits, logits + count);
    double total = 0;
    for (size_t i = 0; i < count; ++i) total += std::exp(logits[i] - largest);
    return std::log(total) + largest - logits[token];
}

}  // namespace

double Perplexity::value() const { return std::exp(log_loss / static_cast<double>(tokens)); }

Result<Perplexity> measure_perplexity(
    Transformer& transformer, const Tokenizer& tokenizer, std::string_view text,
    const std::function<void(const Perplexity&, uint64_t total)>& progress) {
    const Buffer<uint32_t> tokens = TRY(tokenizer.encode(text));
    if (tokens.size() == 0) return invalid("perplexity: the text is empty; give one of some hundred words");
    const ModelConfig& config = transformer.config();
    Perplexity result;
    // Without BOS the first token follows nothing, and is not foretold.
    const size_t given = tokenizer.add_bos() ? 0 : 1;
    uint32_t previous = given == 0 ? config.bos_id : tokens[0], position = 0;
    for (size_t i = given; i < tokens.size(); ++i) {
        const Logits logits = transformer.model_forward(previous, position);
        result.log_loss += loss_of(logits.values, config.vocab_size, tokens[i]);
        ++result.tokens;
        progress(result, tokens.size());
        const bool full = ++position == transformer.context();
        previous = full && given == 0 ? config.bos_id : tokens[i];
        if (full) position = 0;
    }
    return result;
}

}  // namespace bareflow
