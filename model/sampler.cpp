#include "model/sampler.h"

#include <algorithm>
#include <limits>

#include "arch/base/libm.h"
#include "arch/base/sort.h"
#include "model/reference.h"

namespace bareflow {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Probabilities are whole numbers: e^(logit - highest) in units of 2^-40. So sums are exact, and do not
/// depend on the order in which they are made.
constexpr float kWeightOne = 0x1p40f;
/// So that no sum of weights overflows 64 bits, nor its double.
constexpr uint32_t kMaxVocabulary = 1u << 23;

uint64_t weight(float logit, float highest, float temperature) {
    return static_cast<uint64_t>(reference_exp(NumericClass::kMulAdd, (logit - highest) / temperature) *
                                 kWeightOne);
}

// Candidates are told apart by their distance from the highest logit in sixteenths; the last bucket takes all
// that are farther away, whose weight is 0.
constexpr uint32_t kBucketsPerUnit = 16;
constexpr uint32_t kBuckets = 28 * kBucketsPerUnit + 1;  // e^-28 < 2^-40

uint32_t bucket_of(float logit, float highest) {
    const float bucket = (highest - logit) * kBucketsPerUnit;
    return bucket < kBuckets - 1 ? static_cast<uint32_t>(bucket) : kBuckets - 1;
}

template <typename Condition>
std::span<Candidate> keep_if(std::span<Candidate> candidates, Condition condition) {
    Candidate* end = candidates.data();
    for (const Candidate& candidate : candidates) {
        if (condition(candidate)) *end++ = candidate;
    }
    return {candidates.data(), end};
}

/// splitmix64 (Steele, Lea, Flood 2014), which spreads a seed over the state of another generator.
uint64_t splitmix64(uint64_t& state) {
    uint64_t z = state += 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
}

constexpr uint64_t rotate_left(uint64_t value, int by) { return (value << by) | (value >> (64 - by)); }

}  // namespace

Result<Sampler> Sampler::make(uint32_t vocab_size, Allocator& allocator) {
    if (vocab_size == 0) return invalid("sampler: the vocabulary is empty; there is nothing to choose from");
    if (vocab_size > kMaxVocabulary) {
        return invalid("sampler: a vocabulary of {} tokens; at most {} are possible", vocab_size,
                       kMaxVocabulary);
    }
    Sampler sampler;
    sampler.vocab_size_ = vocab_size;
    sampler.highest_ = TRY(HighestLogits::make(vocab_size, allocator));
    sampler.candidates_ = TRY(Buffer<Candidate>::make(allocator, vocab_size, "sampler's candidates"));
    sampler.bucket_ = TRY(Buffer<Candidate>::make(allocator, vocab_size, "sampler's bucket"));
    sampler.adjusted_ = TRY(Buffer<float>::make(allocator, vocab_size, "sampler's logits"));
    sampler.seed(0);
    return sampler;
}

void Sampler::seed(uint64_t seed) {
    for (uint64_t& word : state_.words) word = splitmix64(seed);
}

/// xoshiro256++ 1.0 (Blackman, Vigna 2019).
uint64_t Sampler::next_random() {
    uint64_t(&s)[4] = state_.words;
    const uint64_t result = rotate_left(s[0] + s[3], 23) + s[0];
    const uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

/// The logits with those of recent tokens made smaller, each once however often it occurred.
const float* Sampler::penalised(const float* logits, float penalty, std::span<const uint32_t> recent) {
    if (penalty == 1.0f || !(penalty > 0.0f) || recent.empty()) return logits;
    std::copy_n(logits, vocab_size_, adjusted_.data());
    for (uint32_t token : recent.last(std::min<size_t>(recent.size(), kRepeatWindow))) {
        if (token >= vocab_size_) continue;
        // From the original logit, so that a second occurrence changes nothing.
        adjusted_[token] = logits[token] > 0.0f ? logits[token] / penalty : logits[token] * penalty;
    }
    return adjusted_.data();
}

/// All candidates that have a chance. A logit of -infinity has none, nor has a NaN.
Sampler::Candidates Sampler::take_all(const float* logits) {
    Candidate* end = candidates_.begin();
    for (uint32_t token = 0; token < vocab_size_; ++token) {
        if (logits[token] > -kInfinity) *end++ = {logits[token], token};
    }
    return {candidates_.begin(), end};
}

/// The first `count` candidates in descending order.
Sampler::Candidates Sampler::take_highest(const float* logits, uint32_t count, float highest) {
    const Candidates found = highest_.find(candidates_.data(), logits, count, highest);
    if (found.size() <= count) return found;
    std::copy(found.begin(), found.end(), bucket_.begin());
    sort(std::span(bucket_.begin(), found.size()), is_before);
    const Candidate* const last = bucket_.begin() + (count - 1);
    return keep_if(found, [last](const Candidate& candidate) { return !is_before(*last, candidate); });
}

/// The shortest run of candidates, in descending order, whose probabilities reach `top_p`; at least one. Only
/// the bucket in which that happens is sorted.
Sampler::Candidates Sampler::keep_top_p(Candidates candidates, float top_p, float highest) {
    uint64_t buckets[kBuckets] = {};
    uint64_t total = 0;
    for (const Candidate& candidate : candidates) {
        const uint64_t share = weight(candidate.logit, highest, 1.0f);
        buckets[bucket_of(candidate.logit, highest)] += share;
        total += share;
    }
    const double wanted = static_cast<double>(std::max(top_p, 0.0f)) * static_cast<double>(total);
    const uint64_t target = std::clamp<uint64_t>(static_cast<uint64_t>(wanted), 1, total);
    uint64_t sum = 0;
    uint32_t cut = 0;
    while (sum + buckets[cut] < target) sum += buckets[cut++];

    Candidate* end = bucket_.begin();
    for (const Candidate& candidate : candidates) {
        if (bucket_of(candidate.logit, highest) == cut) *end++ = candidate;
    }
    sort(std::span(bucket_.begin(), end), is_before);
    const Candidate* last = bucket_.begin();
    while ((sum += weight(last->logit, highest, 1.0f)) < target) ++last;
    return keep_if(candidates, [last](const Candidate& candidate) { return !is_before(*last, candidate); });
}

/// The candidates that are at least `min_p` times as probable as the best one; the best one even where min_p
/// is above 1.
Sampler::Candidates Sampler::keep_min_p(Candidates candidates, float min_p, float highest) {
    const float lowest = std::min(highest + bareflow_logf(min_p), highest);
    return keep_if(candidates, [lowest](const Candidate& candidate) { return candidate.logit >= lowest; });
}

uint32_t Sampler::draw(Candidates candidates, float temperature, float highest) {
    uint64_t total = 0;
    for (const Candidate& candidate : candidates) total += weight(candidate.logit, highest, temperature);
    // A random number below `total`: the high half of the 128-bit product.
    const unsigned __int128 product = static_cast<unsigned __int128>(next_random()) * total;
    uint64_t left = static_cast<uint64_t>(product >> 64);
    const Candidate* candidate = candidates.data();
    for (;; ++candidate) {
        const uint64_t share = weight(candidate->logit, highest, temperature);
        if (left < share) return candidate->token;
        left -= share;
    }
}

uint32_t Sampler::sample(const Logits& given, const SamplingOptions& options,
                         std::span<const uint32_t> recent, Operators& operators) {
    const float* const logits = penalised(given.values, options.repeat_penalty, recent);
    const uint32_t best = logits == given.values ? given.best : operators.argmax(logits, vocab_size_);
    const float highest = logits[best];
    const bool finite = highest > -kInfinity && highest < kInfinity;
    if (!(options.temperature > 0.0f) || !finite) return best;

    const bool limited = options.top_k > 0 && options.top_k < vocab_size_;
    Candidates candidates = limited ? take_highest(logits, options.top_k, highest) : take_all(logits);
    if (options.top_p < 1.0f) candidates = keep_top_p(candidates, options.top_p, highest);
    if (options.min_p > 0.0f) candidates = keep_min_p(candidates, options.min_p, highest);
    return draw(candidates, options.temperature, highest);
}

}  // namespace bareflow
