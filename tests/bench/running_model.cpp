#include "tests/bench/running_model.h"

#include <signal.h>

#include <algorithm>
#include <vector>

#include "tests/bench/emitted.h"

namespace bareflow::bench {
RunningModel::RunningModel(const HugeImage& image, const Options& options, const Wrap& wrap, Start start) {
    signal(SIGINT, SIG_DFL);  // the platform's terminal took it, for a chat
    Operators* operators = must(engine_.start(platform_, options));
    if (wrap) operators = wrap(*operators);
    Allocator& allocator = platform_.allocator();
    weights_ = must(load_weights(image.bytes(), allocator));
    if (start == Start::kCold) weights_.config.num_layers = 1;
    const uint32_t context = std::min(weights_.config.context_length, kLongestPrompt + kSpan);
    transformer_.emplace(must(Transformer::model_init(weights_, *operators, allocator, context)));
    sampler_.emplace(must(Sampler::make(weights_.config.vocab_size, allocator)));
    sampler_->seed(1);
    token_ = weights_.config.bos_id;
    if (start == Start::kCold) return;
    for (uint32_t position = 0; position < kFirst; ++position)
        token_ = transformer_->model_forward(token_, position).best;
}

void RunningModel::next_token(const SamplingOptions& sampling) {
    transformer_->operators().enter(Phase::kGeneration);
    const Logits logits = transformer_->model_forward(token_, position_);
    token_ = sampler_->sample(logits, sampling, {}, transformer_->operators());
    if (++position_ == kFirst + kSpan) position_ = kFirst;
}

void RunningModel::prompt(uint32_t tokens) {
    transformer_->operators().enter(Phase::kPrompt);
    for (uint32_t position = 0; position < tokens;) {
        uint32_t block[Transformer::kBlock];
        const uint32_t rows = Transformer::prefill_rows(tokens - position);
        for (uint32_t i = 0; i < rows; ++i) block[i] = (position + i) * 7 % weights_.config.vocab_size;
        transformer_->model_prefill({block, rows}, position);
        position += rows;
    }
}

std::vector<uint32_t> RunningModel::continuation(std::span<const uint32_t> prompt, uint32_t count) {
    std::vector<uint32_t> tokens(prompt.begin(), prompt.end());
    for (uint32_t position = 0; tokens.size() < prompt.size() + count; ++position) {
        const Logits logits = transformer_->model_forward(tokens[position], position);
        if (position + 1 == tokens.size()) tokens.push_back(logits.best);
    }
    tokens.erase(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(prompt.size()));
    return tokens;
}

/// The importer writes tensors in the order in which a token meets them, so that they are one stretch of memory.
ByteSpan RunningModel::read_by_a_token() const {
    const auto* first = static_cast<const uint8_t*>(
        weights_.config.tied_embedding ? weights_.embedding.data : weights_.layers[0].query.data);
    uint64_t bytes = weights_.lm_head.bytes();
    for (const LayerWeights& layer : weights_.layers.span())
        for (const TensorView* w :
             {&layer.query, &layer.key, &layer.value, &layer.output, &layer.gate, &layer.up, &layer.down})
            bytes += w->bytes();
    return {first, bytes};
}

double RunningModel::operations_a_token() const {
    double weights = 0;
    for (const LayerWeights& layer : weights_.layers.span())
        for (const TensorView* w :
             {&layer.query, &layer.key, &layer.value, &layer.output, &layer.gate, &layer.up, &layer.down})
            weights += double(w->rows) * w->columns;
    return 2 * weights;
}

}  // namespace bareflow::bench
