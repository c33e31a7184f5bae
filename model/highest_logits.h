// The likeliest tokens of a large vocabulary without sorting it: what cannot be among them is left out in one pass that
// only takes maxima, and a second one looks at the few blocks where some are.
#pragma once

#include <cstdint>
#include <span>

#include "arch/base/allocator.h"
#include "arch/base/result.h"

namespace bareflow {

struct Candidate {
    float logit;
    uint32_t token;
};
/// Descending order of logits; ties: the lower token first.
inline bool is_before(const Candidate& a, const Candidate& b) {
    return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

class HighestLogits {
 public:
    static Result<HighestLogits> make(uint32_t vocab_size, Allocator& allocator);

    /// Puts candidates in ascending order of tokens into `to` (vocab_size), among them the `count` first ones in descending
    /// order, ties included; for 40 of 32,000 some 45 to 100. All there are where they are fewer. `highest` is the largest
    /// logit, finite. -infinity and NaN are no candidates.
    std::span<Candidate> find(Candidate* to, const float* logits, uint32_t count, float highest);

 private:
    using Four = float __attribute__((vector_size(16)));

    void take_maxima(const float* logits);
    float threshold(uint32_t count, float highest) const;

    uint32_t vocab_size_ = 0;
    Buffer<Four> maxima_;  ///< of each block, in four lanes
};

}  // namespace bareflow
