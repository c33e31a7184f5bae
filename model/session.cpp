#include "model/session.h"

#include <algorithm>

namespace bareflow {

Result<void> Session::open(const ModelImage& image, Operators& operators, uint32_t context,
                           ElementType cache_type) {
    const uint64_t began = clock_.now_ns();
    close();
    Result<void> opened = try_open(image, operators, context, cache_type);
    if (!opened.ok()) {
        close();
        return opened;
    }
    statistics_ = {.load_ns = since(began)};
    log_model();
    return {};
}

Result<void> Session::try_open(const ModelImage& image, Operators& operators, uint32_t context,
                               ElementType cache_type) {
    image_ = image;
    // Each part refers to the ones before it, which therefore stay where they are.
    weights_.emplace(TRY(load()));
    Operators* used = &operators;
    if (image.file != nullptr) {
        stream_.emplace(*weights_, *image.file, clock_);
        used = &streamed_.emplace(operators, *stream_);
    }
    tokenizer_.emplace(TRY(Tokenizer::make(weights_->tokenizer, allocator_)));
    transformer_.emplace(TRY(Transformer::model_init(*weights_, *used, allocator_, context, cache_type)));
    sampler_.emplace(TRY(Sampler::make(weights_->config.vocab_size, allocator_)));
    tokens_ = TRY(Buffer<uint32_t>::make(allocator_, transformer_->context(), "tokens of the story"));
    if (!stream_) return {};
    TRY(stream_->open(image.ring_bytes, allocator_));  // last, since it may take what memory is left
    LogRecord(log_, "stream")
        .field("ring", stream_->ring_bytes())
        .field("cycle", stream_->cycle_bytes())
        .field("resident", stream_->resident());
    return {};
}

Result<Weights> Session::load() {
    if (image_.file == nullptr) return load_weights(image_.image, allocator_);
    struct alignas(AsyncFile::kUnit) Unit {
        uint8_t bytes[AsyncFile::kUnit];
    };
    AsyncFile& file = *image_.file;
    const Buffer<Unit> scratch = TRY(Buffer<Unit>::make(allocator_, 16, "room for a read"));
    const std::span<uint8_t> room(scratch[0].bytes, scratch.size() * sizeof(Unit));
    const auto read_head = [&](uint64_t bytes) -> Result<void> {
        head_ = TRY(Buffer<uint8_t>::make(allocator_, bytes, "the model's header and sections"));
        return file.read_now(0, head_.span(), room);
    };
    TRY(read_head(std::min<uint64_t>(kWeightHeadBytes, file.size())));
    const uint64_t bytes = TRY(weight_table_bytes(head_.span(), file.size(), allocator_));
    TRY(read_head(bytes));
    return load_weight_table(head_.span(), file.size(), allocator_);
}

void Session::show_calls(Operators& operators, uint32_t rows) {
    if (!stream_) return transformer_->show_calls(operators, rows);
    StreamedOperators shown(operators, *stream_, StreamedOperators::Mode::kShow);
    transformer_->show_calls(shown, rows);
}

void Session::close() {
    tokens_ = {};
    sampler_.reset();
    transformer_.reset();
    tokenizer_.reset();
    streamed_.reset();
    stream_.reset();
    if (weights_) free_weights(*weights_);
    weights_.reset();
    head_ = {};
}

void Session::seed(uint64_t seed) {
    seed_ = seed;
    sampler_->seed(seed);
}

Result<RunStatistics> Session::generate(std::string_view prompt, uint32_t max_tokens,
                                        const SamplingOptions& sampling, TextListener& listener) {
    const uint64_t began = clock_.now_ns();
    RunStatistics run;
    const uint32_t prompt_tokens = TRY(fill_prompt(prompt));
    // The prompt is written as it was given; its tokens only tell the detokenizer what precedes the first new one.
    Detokenizer detokenizer(*tokenizer_);
    for (uint32_t i = 1; i < prompt_tokens; ++i) detokenizer.next(tokens_[i]);
    if (!prompt.empty()) listener.text(prompt);

    const uint64_t prompt_began = clock_.now_ns();
    const std::optional<Logits> logits = evaluate_prompt(prompt_tokens, listener);
    run.prompt = {prompt_tokens, since(prompt_began)};
    Story story{prompt_tokens, max_tokens, began, sampling, listener, run};
    run.stop = logits ? continue_story(*logits, story, detokenizer) : StopReason::kInterrupt;
    if (stream_) {
        const WeightStream::Statistics read = stream_->statistics();
        LogRecord(log_, "streamed")
            .field("bytes", read.bytes)
            .field("wait_ms", TokenTiming{1, read.wait_ns}.milliseconds());
        TRY(stream_->failure());
    }
    if (std::string_view rest = detokenizer.finish(); !rest.empty()) listener.text(rest);

    statistics_.add(run);
    log_run(run, sampling);
    return run;
}

Result<uint32_t> Session::fill_prompt(std::string_view prompt) {
    const Buffer<uint32_t> encoded = TRY(tokenizer_->encode(prompt));
    // With BOS, which an empty text has whatever the vocabulary says: something must stand at the first position.
    const size_t bos = tokenizer_->add_bos() || encoded.size() == 0 ? 1 : 0;
    const size_t count = encoded.size() + bos;
    if (count > tokens_.size()) {
        return Error::make(
            ErrorCode::kOutOfRange,
            "the prompt has {} tokens, more than the context's {}; shorten it, or raise -c (this model "
            "has {} at most)",
            count, tokens_.size(), weights_->config.context_length);
    }
    tokens_[0] = weights_->config.bos_id;
    for (size_t i = 0; i < encoded.size(); ++i) tokens_[i + bos] = encoded[i];
    return static_cast<uint32_t>(count);
}

std::optional<Logits> Session::evaluate_prompt(uint32_t count, TextListener& listener) {
    transformer_->operators().enter(Phase::kPrompt);
    for (uint32_t position = 0; position + 1 < count;) {
        if (listener.stop_requested()) return std::nullopt;
        const uint32_t rows = Transformer::prefill_rows(count - 1 - position);
        transformer_->model_prefill({&tokens_[position], rows}, position);
        position += rows;
    }
    return transformer_->model_forward(tokens_[count - 1], count - 1);
}

StopReason Session::continue_story(Logits logits, const Story& story, Detokenizer& detokenizer) {
    RunStatistics& run = story.run;
    const ModelConfig& config = weights_->config;
    const uint64_t began = clock_.now_ns();
    transformer_->operators().enter(Phase::kGeneration);
    for (uint32_t count = story.prompt_tokens;; ++count) {  // tokens so far: the next one's position
        run.evaluation.ns = since(began);
        if (run.generated == story.max_tokens) return StopReason::kLength;
        if (story.listener.stop_requested()) return StopReason::kInterrupt;
        if (stream_ && !stream_->failure().ok()) return StopReason::kInterrupt;
        const uint32_t token = choose(logits, story.sampling, count);
        if (token == config.eos_id || token == config.bos_id) return StopReason::kEndOfText;
        if (++run.generated == 1) note_first_token(story);
        if (std::string_view piece = detokenizer.next(token); !piece.empty()) story.listener.text(piece);
        if (count == tokens_.size()) {
            run.evaluation.ns = since(began);
            return run.generated == story.max_tokens ? StopReason::kLength : StopReason::kContext;
        }
        tokens_[count] = token;
        if (run.generated < story.max_tokens) {  // nobody asks what comes after the last one
            logits = transformer_->model_forward(token, count);
            ++run.evaluation.tokens;
        }
    }
}

uint32_t Session::choose(const Logits& logits, const SamplingOptions& sampling, uint32_t count) {
    const uint32_t window = count < Sampler::kRepeatWindow ? count : Sampler::kRepeatWindow;
    const std::span<const uint32_t> recent(tokens_.data() + count - window, window);
    return sampler_->sample(logits, sampling, recent, transformer_->operators());
}

void Session::note_first_token(const Story& story) {
    constexpr double kMsPerNs = 1e-6;
    story.run.first_token_ns = since(story.began_ns);
    const uint64_t since_start = since(start_ns_);
    if (statistics_.start_to_first_token_ns == 0) statistics_.start_to_first_token_ns = since_start;
    LogRecord(log_, "first_token")
        .field("ms", static_cast<double>(story.run.first_token_ns) * kMsPerNs)
        .field("since_start_ms", static_cast<double>(since_start) * kMsPerNs);
}

void Session::log_model() const {
    const ModelConfig& config = weights_->config;
    LogRecord(log_, "model")
        .field("source", image_.kind)
        .field("name", image_.name)
        .field("bytes", weights_->file_size)
        .field("hash", FixedString<8>::formatted("{:08x}", weights_->hash))
        .field("layers", config.num_layers)
        .field("hidden", config.hidden_size)
        .field("intermediate", config.intermediate_size)
        .field("heads", config.num_heads)
        .field("kv_heads", config.num_kv_heads)
        .field("vocab", config.vocab_size)
        .field("context", transformer_->context())
        .field("type", name_of(weights_->layers[0].query.type))
        .field("layout", name_of(weights_->layers[0].query.layout))
        .field("numerics", name_of(transformer_->operators().numeric_class()))
        .field("cache_type", name_of(transformer_->cache_type()))
        .field("kv_bytes", transformer_->kv_bytes())
        .field("activation_bytes", transformer_->activation_bytes())
        .field("load_ms", TokenTiming{1, statistics_.load_ns}.milliseconds());
}

void Session::log_run(const RunStatistics& run, const SamplingOptions& sampling) const {
    LogRecord record(log_, "run");
    record.field("prompt_tokens", run.prompt.tokens)
        .field("generated", run.generated)
        .field("stop", name_of(run.stop))
        .field("prompt_ms", run.prompt.milliseconds())
        .field("eval_ms", run.evaluation.milliseconds())
        .field("tok_per_s", run.evaluation.tokens_per_second())
        .field("temp", sampling.temperature)
        .field("seed", seed_);
    if (run.stop == StopReason::kContext) {
        record.field("note",
                     FixedString<80>::formatted("the context of {} positions is full", tokens_.size()));
    }
}

}  // namespace bareflow
