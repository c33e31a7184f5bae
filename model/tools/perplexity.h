// How well a model foresees a text: what quantising its weights costs.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "arch/base/result.h"
#include "model/tokenizer.h"
#include "model/transformer.h"

namespace bareflow {

struct Perplexity {
    uint64_t tokens = 0;   ///< that were foreseen
    double log_loss = 0;   ///< sum of -ln(probability of the token that came)
    double value() const;  ///< e^(log_loss / tokens)
};

/// Runs `text` through the model in windows as long as the context: BOS, then tokens of the text, each of which counts.
/// `progress` is told after each token. An error when the text has no tokens.
Result<Perplexity> measure_perplexity(Transformer& transformer, const Tokenizer& tokenizer,
                                      std::string_view text,
                                      const std::function<void(const Perplexity&, uint64_t total)>& progress);

}  // namespace bareflow
