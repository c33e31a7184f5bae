// Choosing the next token from logits: greedy, temperature, top-k, top-p, min-p, repeat penalty. The same
// seed gives the same choice on every platform: its arithmetic is scalar and fixed (model/README.md
// "Numbers").
#pragma once

#include "arch/base/allocator.h"
#include "arch/base/options.h"
#include "arch/base/result.h"
#include "model/highest_logits.h"
#include "model/operators.h"

namespace bareflow {

class Sampler {
 public:
    /// Buffers for a vocabulary of `vocab_size` tokens (1 to 2^23), 20 bytes each.
    static Result<Sampler> make(uint32_t vocab_size, Allocator& allocator);

    /// Starts the random sequence anew.
    void seed(uint64_t seed);
    /// Where the random sequence is: it goes on from there.
    struct State {
        uint64_t words[4];
    };
    const State& state() const { return state_; }
    void set_state(const State& state) { state_ = state; }
    /// Picks a token from `logits` (vocab_size), in llama.cpp's order: repeat penalty over the last
    /// kRepeatWindow of `recent`, top-k, top-p, min-p, temperature, draw. temperature 0 is argmax (after the
    /// penalty), ties to the lowest id. Logits that are NaN count as the smallest. At least one token passes
    /// the filters whatever the options; where no logit is finite, or one is +infinity, it is the argmax.
    uint32_t sample(const Logits& logits, const SamplingOptions& options, std::span<const uint32_t> recent,
                    Operators& operators);

    static constexpr uint32_t kRepeatWindow = 64;  ///< how many recent tokens the penalty looks at

 private:
    using Candidates = std::span<Candidate>;  ///< in ascending order of tokens

    const float* penalised(const float* logits, float penalty, std::span<const uint32_t> recent);
    Candidates take_all(const float* logits);
    Candidates take_highest(const float* logits, uint32_t count, float highest);
    Candidates keep_top_p(Candidates candidates, float top_p, float highest);
    Candidates keep_min_p(Candidates candidates, float min_p, float highest);
    uint32_t draw(Candidates candidates, float temperature, float highest);
    uint64_t next_random();

    uint32_t vocab_size_ = 0;
    State state_ = {};  ///< xoshiro256++
    HighestLogits highest_;
    Buffer<Candidate> candidates_;  // (vocab_size)
    Buffer<Candidate> bucket_;      // (vocab_size)
    Buffer<float> adjusted_;        ///< logits after the penalty, (vocab_size)
};

}  // namespace bareflow
