// A model ready to write: weights, tokenizer, transformer and sampler together, and the loop that generates text.
#pragma once

#include <optional>

#include "arch/base/allocator.h"
#include "arch/base/log.h"
#include "arch/base/options.h"
#include "arch/base/printer.h"
#include "arch/base/terminal.h"
#include "model/run_statistics.h"
#include "model/sampler.h"
#include "model/stop_filter.h"
#include "model/streamed_operators.h"
#include "model/tokenizer.h"
#include "model/transformer.h"
#include "model/weights.h"

namespace bareflow {

/// A .wllm image in memory and where it came from.
struct ModelImage {
    std::string_view kind;      ///< "embedded", "module", "file": for the log
    std::string_view name;      ///< for people: a file's or a module's name
    ByteSpan image;             ///< 64-byte aligned; must outlive the session
    AsyncFile* file = nullptr;  ///< instead of an image: its weights are streamed. Must outlive the session
    uint64_t ring_bytes = 0;    ///< most memory for streamed weights; 0: what there is
};

/// Who receives a story while it is written.
class TextListener : public Printer {
 public:
    /// The next piece of text: whole UTF-8 characters.
    virtual void text(std::string_view piece) = 0;
    /// Asked between tokens: true ends the generation.
    virtual bool stop_requested() = 0;

 protected:
    ~TextListener() = default;

 private:
    void print_text(std::string_view piece) final { text(piece); }
};

/// Who can make the text shorter when every position of the context is taken.
class RoomMaker {
 public:
    /// Lays out less before the reply, with Session::lay_out(); false: nothing can go.
    virtual bool make_room() = 0;

 protected:
    ~RoomMaker() = default;
};

/// What is to be written.
struct WriteRequest {
    uint32_t max_tokens;
    const SamplingOptions& sampling;
    std::span<const std::string_view> stops = {};  ///< texts that end it (StopFilter)
    uint32_t end_token = Tokenizer::kNone;         ///< ends it as EOS does; kNone: none
    RoomMaker* room_maker = nullptr;               ///< nullptr: it ends when the context is full
};

class Session {
 public:
    /// `start_ns`: when the program began, by `clock`, for the time to the first token.
    Session(Allocator& allocator, LogSink& log, Clock& clock, uint64_t start_ns)
        : allocator_(allocator), log_(log), clock_(clock), start_ns_(start_ns) {}
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    /// Loads the model of `image` with `context` positions (0: the model's own) in a KV cache of `cache_type`, and logs
    /// what it is. After an error the session is empty and another source may be tried.
    Result<void> open(const ModelImage& image, Operators& operators, uint32_t context,
                      ElementType cache_type = ElementType::kF32);

    /// Starts the random sequence anew; later stories go on in it.
    void seed(uint64_t seed);

    /// Writes `prompt` byte for byte to `listener`, then up to `max_tokens` tokens that continue it; the story begins
    /// from nothing when the prompt is empty. Ends early at the end of the text (EOS, or the BOS of a next one), when
    /// the context is full, at a stop string, or when the listener asks for it. Nothing is allocated per token. An error,
    /// with nothing written, when the prompt does not fit in the context.
    Result<RunStatistics> generate(std::string_view prompt, const WriteRequest& request,
                                   TextListener& listener);
    Result<RunStatistics> generate(std::string_view prompt, uint32_t max_tokens,
                                   const SamplingOptions& sampling, TextListener& listener) {
        return generate(prompt, WriteRequest{max_tokens, sampling}, listener);
    }

    // ---- a conversation: its tokens, of which some have their keys and values in the cache
    /// What comes before the next reply, and what the reply has so far; together 1 to context() tokens. Keys and values of
    /// the tokens that are the same as before, from the first one on, are kept.
    void lay_out(std::span<const uint32_t> prompt, std::span<const uint32_t> reply = {});
    /// Evaluates what is laid out and has no keys and values yet, and writes on behind it, as generate() does.
    /// An error: the weights cannot be read any more.
    Result<RunStatistics> write_on(const WriteRequest& request, TextListener& listener);
    /// All tokens, and those behind the prompt. What a stop string made part of it is not there.
    std::span<const uint32_t> tokens() const { return tokens_.span().first(size_); }
    std::span<const uint32_t> reply() const { return tokens().subspan(reply_begin_); }
    /// How many tokens, from the first one on, have their keys and values in the cache.
    uint32_t evaluated() const { return evaluated_; }
    /// Where the text begins that the reply goes on with: 1 in a story, the reply's own beginning in a conversation.
    uint32_t text_begin() const { return text_begin_; }
    /// No tokens any more.
    void forget() { size_ = evaluated_ = text_begin_ = reply_begin_ = 0; }
    /// As saved: the first `evaluated` tokens' keys and values are in the cache, by Transformer::kept().
    void restore(std::span<const uint32_t> tokens, uint32_t evaluated, uint32_t text_begin,
                 uint32_t reply_begin);
    const Sampler::State& random_state() const { return sampler_->state(); }
    void set_random_state(uint64_t seed, const Sampler::State& state) {
        seed_ = seed;
        sampler_->set_state(state);
    }

    /// As Transformer::show_calls.
    void show_calls(Operators& operators, uint32_t rows);
    /// The weights are read while a token needs them; nullptr: they are in memory.
    const WeightStream* stream() const { return stream_ ? &*stream_ : nullptr; }

    /// Looks at some of a large model's weights that nobody has looked at yet, for about a tenth of a millisecond; false: there
    /// are none, or no more. An error, once: they are not what their file should hold.
    Result<bool> check_weights();

    const ModelImage& image() const { return image_; }
    const Weights& weights() const { return *weights_; }
    const Tokenizer& tokenizer() const { return *tokenizer_; }
    const Transformer& transformer() const { return *transformer_; }
    LogSink& log() const { return log_; }
    /// What was measured since the model was opened.
    const SessionStatistics& statistics() const { return statistics_; }
    uint64_t current_seed() const { return seed_; }

 private:
    /// One generation while it runs.
    struct Story {
        const WriteRequest& request;
        uint64_t began_ns;
        uint32_t reply_before;  ///< tokens that the reply had already
        TextListener& listener;
        RunStatistics& run;
        Detokenizer& detokenizer;
        StopFilter& filter;
    };

    Result<void> try_open(const ModelImage& image, Operators& operators, uint32_t context,
                          ElementType cache_type);
    void close();
    /// The weights of image_, whole or as a table.
    Result<Weights> load();
    /// BOS, `bos` of it, and the tokens of `prompt`.
    Result<Buffer<uint32_t>> encode_prompt(std::string_view prompt, uint32_t& bos) const;
    /// The weights are streamed, and cannot be trusted any more.
    bool failed() const { return stream_ && !stream_->failure().ok(); }
    Result<RunStatistics> write(const WriteRequest& request, uint64_t began_ns, TextListener& listener);
    /// Puts tokens to `at`; those evaluated stay so up to the first one that differs.
    uint32_t put(uint32_t at, std::span<const uint32_t> tokens);
    /// Runs the tokens that are not evaluated through the model, at least the last one; the logits after them, or nothing if
    /// the listener stopped it.
    std::optional<Logits> evaluate(TextListener& listener);
    /// The last `rows` tokens.
    Logits evaluate_last(uint32_t rows = 1);
    StopReason continue_story(Logits logits, const Story& story);
    uint32_t choose(const Logits& logits, const SamplingOptions& sampling);
    /// Takes the tokens back that have the stop string in them.
    void cut_reply(uint32_t reply_before, uint64_t shown);
    void note_first_token(const Story& story);
    void log_model() const;
    void log_run(const RunStatistics& run, const SamplingOptions& sampling) const;
    uint64_t since(uint64_t earlier_ns) const { return clock_.now_ns() - earlier_ns; }

    Allocator& allocator_;
    LogSink& log_;
    Clock& clock_;
    uint64_t start_ns_;
    uint64_t seed_ = 0;
    ModelImage image_;
    Buffer<uint8_t> head_;  ///< of a streamed model's file: header and sections
    std::optional<Weights> weights_;
    std::optional<WeightCheck> weight_check_;
    std::optional<WeightStream> stream_;
    std::optional<StreamedOperators> streamed_;
    std::optional<Tokenizer> tokenizer_;
    std::optional<Transformer> transformer_;
    std::optional<Sampler> sampler_;
    Buffer<uint32_t> tokens_;  ///< (context): BOS, and the text so far
    uint32_t size_ = 0, evaluated_ = 0, text_begin_ = 0, reply_begin_ = 0;
    SessionStatistics statistics_;
};

}  // namespace bareflow
