// A model ready to write: weights, tokenizer, transformer and sampler together, and the loop that generates text.
#pragma once

#include <optional>

#include "arch/base/allocator.h"
#include "arch/base/log.h"
#include "arch/base/options.h"
#include "arch/base/terminal.h"
#include "model/run_statistics.h"
#include "model/sampler.h"
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
class TextListener {
 public:
    /// The next piece of text: whole UTF-8 characters.
    virtual void text(std::string_view piece) = 0;
    /// Asked between tokens: true ends the generation.
    virtual bool stop_requested() = 0;

 protected:
    ~TextListener() = default;
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
    /// the context is full, or when the listener asks for it. Nothing is allocated per token. An error, with nothing
    /// written, when the prompt does not fit in the context.
    Result<RunStatistics> generate(std::string_view prompt, uint32_t max_tokens,
                                   const SamplingOptions& sampling, TextListener& listener);

    /// As Transformer::show_calls.
    void show_calls(Operators& operators, uint32_t rows);
    /// The weights are read while a token needs them; nullptr: they are in memory.
    const WeightStream* stream() const { return stream_ ? &*stream_ : nullptr; }

    const ModelImage& image() const { return image_; }
    const Weights& weights() const { return *weights_; }
    const Tokenizer& tokenizer() const { return *tokenizer_; }
    const Transformer& transformer() const { return *transformer_; }
    /// What was measured since the model was opened.
    const SessionStatistics& statistics() const { return statistics_; }
    uint64_t current_seed() const { return seed_; }

 private:
    /// One generation while it runs.
    struct Story {
        uint32_t prompt_tokens;  ///< BOS included
        uint32_t max_tokens;
        uint64_t began_ns;
        const SamplingOptions& sampling;
        TextListener& listener;
        RunStatistics& run;
    };

    Result<void> try_open(const ModelImage& image, Operators& operators, uint32_t context,
                          ElementType cache_type);
    void close();
    /// The weights of image_, whole or as a table.
    Result<Weights> load();
    /// Puts BOS and the tokens of `prompt` into tokens_; how many.
    Result<uint32_t> fill_prompt(std::string_view prompt);
    /// Runs the first `count` tokens_ through the model; the logits after them, or nothing if the listener stopped it.
    std::optional<Logits> evaluate_prompt(uint32_t count, TextListener& listener);
    StopReason continue_story(Logits logits, const Story& story, Detokenizer& detokenizer);
    /// The next token after the first `count` tokens_.
    uint32_t choose(const Logits& logits, const SamplingOptions& sampling, uint32_t count);
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
    std::optional<WeightStream> stream_;
    std::optional<StreamedOperators> streamed_;
    std::optional<Tokenizer> tokenizer_;
    std::optional<Transformer> transformer_;
    std::optional<Sampler> sampler_;
    Buffer<uint32_t> tokens_;  ///< (context): the story so far, BOS first
    SessionStatistics statistics_;
};

}  // namespace bareflow
