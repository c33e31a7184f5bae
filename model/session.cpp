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
    weight_check_.emplace(*weights_);
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
    if (image_.file == nullptr) return load_weights(image_.image, allocator_, kCheckedLaterFrom);
    using Unit = AsyncFile::Unit;
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
    forget();
    tokens_ = {};
    sampler_.reset();
    transformer_.reset();
    tokenizer_.reset();
    streamed_.reset();
    stream_.reset();
    weight_check_.reset();
    if (weights_) free_weights(*weights_);
    weights_.reset();
    head_ = {};
}

Result<bool> Session::check_weights() {
    if (weight_check_->done()) return false;
    const Result<void> right = weight_check_->step();
    if (right.ok() && !weight_check_->done()) return true;
    LogRecord(log_, "weights_checked").field("bytes", weight_check_->bytes()).field("ok", right.ok());
    if (!right.ok()) return right.error();
    return false;
}

void Session::seed(uint64_t seed) {
    seed_ = seed;
    sampler_->seed(seed);
}

Result<Buffer<uint32_t>> Session::encode_prompt(std::string_view prompt, uint32_t& bos) const {
    const Buffer<uint32_t> encoded = TRY(tokenizer_->encode(prompt));
    // With BOS, which an empty text has whatever the vocabulary says: something must stand at the first position.
    bos = tokenizer_->add_bos() || encoded.size() == 0 ? 1 : 0;
    const size_t count = encoded.size() + bos;
    if (count > tokens_.size()) {
        return Error::make(
            ErrorCode::kOutOfRange,
            "the prompt has {} tokens, more than the context's {}; shorten it, or raise -c (this model "
            "has {} at most)",
            count, tokens_.size(), weights_->config.context_length);
    }
    Buffer<uint32_t> tokens = TRY(Buffer<uint32_t>::make(allocator_, count, "tokens of the prompt"));
    tokens[0] = weights_->config.bos_id;
    for (size_t i = 0; i < encoded.size(); ++i) tokens[i + bos] = encoded[i];
    return tokens;
}

Result<RunStatistics> Session::generate(std::string_view prompt, const WriteRequest& request,
                                        TextListener& listener) {
    const uint64_t began = clock_.now_ns();
    uint32_t bos = 0;
    const Buffer<uint32_t> tokens = TRY(encode_prompt(prompt, bos));
    lay_out(tokens.span());
    text_begin_ = bos;
    // The prompt is written as it was given; its tokens only tell the detokenizer what precedes the first new one.
    if (!prompt.empty()) listener.text(prompt);
    return write(request, began, listener);
}

uint32_t Session::put(uint32_t at, std::span<const uint32_t> tokens) {
    ASSERT(fits(at, tokens.size(), tokens_.size()));
    for (uint32_t token : tokens) {
        if (tokens_[at] != token && at < evaluated_) evaluated_ = at;
        tokens_[at++] = token;
    }
    return at;
}

void Session::lay_out(std::span<const uint32_t> prompt, std::span<const uint32_t> reply) {
    text_begin_ = reply_begin_ = put(0, prompt);
    size_ = put(reply_begin_, reply);
    if (evaluated_ > size_) evaluated_ = size_;
}

void Session::restore(std::span<const uint32_t> tokens, uint32_t evaluated, uint32_t text_begin,
                      uint32_t reply_begin) {
    size_ = put(0, tokens);
    evaluated_ = evaluated;
    text_begin_ = text_begin;
    reply_begin_ = reply_begin;
}

Result<RunStatistics> Session::write_on(const WriteRequest& request, TextListener& listener) {
    return write(request, clock_.now_ns(), listener);
}

Result<RunStatistics> Session::write(const WriteRequest& request, uint64_t began_ns, TextListener& listener) {
    RunStatistics run;
    Detokenizer detokenizer(*tokenizer_);
    for (uint32_t i = text_begin_; i < size_; ++i) detokenizer.next(tokens_[i]);
    StopFilter filter(request.stops);
    const Story story{request, began_ns, size_ - reply_begin_, listener, run, detokenizer, filter};

    const uint64_t prompt_began = clock_.now_ns();
    run.kept = evaluated_ < size_ ? evaluated_ : size_ - 1;
    const std::optional<Logits> logits = evaluate(listener);
    run.prompt = {evaluated_ - run.kept, since(prompt_began)};
    run.stop = logits ? continue_story(*logits, story) : StopReason::kInterrupt;
    const auto show = [&](std::string_view text) {
        if (!text.empty()) listener.text(text);
    };
    show(filter.next(detokenizer.finish()));
    show(filter.finish());
    if (filter.stopped()) {
        run.stop = StopReason::kStop;
        cut_reply(story.reply_before, filter.shown());
    }
    statistics_.add(run);
    log_run(run, request.sampling);
    if (stream_) {
        const WeightStream::Statistics read = stream_->statistics();
        LogRecord(log_, "streamed")
            .field("bytes", read.bytes)
            .field("wait_ms", TokenTiming{1, read.wait_ns}.milliseconds());
        if (failed()) evaluated_ = 0;  // keys and values of weights that were not there
        TRY(stream_->failure());
    }
    return run;
}

std::optional<Logits> Session::evaluate(TextListener& listener) {
    transformer_->operators().enter(Phase::kPrompt);
    // Of a text that is there already the last token is run again, for its logits.
    if (evaluated_ == size_) --evaluated_;
    while (evaluated_ + 1 < size_) {
        if (listener.stop_requested() || failed()) return std::nullopt;
        const uint32_t left = size_ - evaluated_, block = transformer_->block();
        // Streamed weights are read once for a block, however few tokens it has.
        if (stream_ && left <= block) return evaluate_last(left);
        const uint32_t rows = stream_ ? block : Transformer::prefill_rows(left - 1);
        transformer_->model_prefill({&tokens_[evaluated_], rows}, evaluated_);
        evaluated_ += rows;
    }
    return evaluate_last();
}

Logits Session::evaluate_last(uint32_t rows) {
    evaluated_ = size_;
    return transformer_->model_forward({&tokens_[size_ - rows], rows}, size_ - rows);
}

StopReason Session::continue_story(Logits logits, const Story& story) {
    RunStatistics& run = story.run;
    const ModelConfig& config = weights_->config;
    const uint32_t most = story.request.max_tokens;
    const uint64_t began = clock_.now_ns();
    transformer_->operators().enter(Phase::kGeneration);
    for (;;) {
        run.evaluation.ns = since(began);
        if (run.generated == most) return StopReason::kLength;
        if (story.listener.stop_requested()) return StopReason::kInterrupt;
        if (failed()) return StopReason::kInterrupt;
        const uint32_t token = choose(logits, story.request.sampling);
        if (token == config.eos_id || token == config.bos_id || token == story.request.end_token)
            return StopReason::kEndOfText;
        if (++run.generated == 1) note_first_token(story);
        const std::string_view piece = story.filter.next(story.detokenizer.next(token));
        if (!piece.empty()) story.listener.text(piece);
        if (size_ == tokens_.size() &&
            (story.request.room_maker == nullptr || !story.request.room_maker->make_room())) {
            run.evaluation.ns = since(began);
            return run.generated == most ? StopReason::kLength : StopReason::kContext;
        }
        tokens_[size_++] = token;
        if (story.filter.stopped()) return StopReason::kStop;
        if (run.generated == most) continue;  // nobody asks what comes after the last one
        if (evaluated_ + 1 == size_) {
            logits = evaluate_last();
        } else if (const std::optional<Logits> again = evaluate(story.listener)) {
            logits = *again;
            transformer_->operators().enter(Phase::kGeneration);
        } else {
            return StopReason::kInterrupt;
        }
        ++run.evaluation.tokens;
    }
}

void Session::cut_reply(uint32_t reply_before, uint64_t shown) {
    Detokenizer detokenizer(*tokenizer_);
    uint32_t at = text_begin_, keep = reply_begin_ + reply_before;
    while (at < keep) detokenizer.next(tokens_[at++]);
    for (uint64_t text = 0; at < size_; ++at) {
        const size_t piece = detokenizer.next(tokens_[at]).size();
        text += piece;
        if (text > shown) break;
        if (piece != 0) keep = at + 1;
    }
    size_ = keep;
    if (evaluated_ > size_) evaluated_ = size_;
}

uint32_t Session::choose(const Logits& logits, const SamplingOptions& sampling) {
    const uint32_t window = size_ < Sampler::kRepeatWindow ? size_ : Sampler::kRepeatWindow;
    return sampler_->sample(logits, sampling, tokens().last(window), transformer_->operators());
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
        .field("kept", run.kept)
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
