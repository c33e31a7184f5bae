#include "model/highest_logits.h"

#include <algorithm>
#include <limits>

namespace bareflow {
namespace {

using Four = float __attribute__((vector_size(16)));
using Whole = int32_t __attribute__((vector_size(16)));
constexpr uint32_t kLanes = 4;
constexpr uint32_t kBlock = 64;  ///< tokens whose maxima are taken together
/// Blocks this far apart make a group: a vocabulary's likely tokens lie side by side, and should not be one group's.
constexpr uint32_t kGroups = 64;

// Maxima are told apart by their distance from the highest logit in sixteenths, the last bucket takes all others.
constexpr float kBucketsPerUnit = 16;
constexpr uint32_t kBuckets = 256;

Four all(float value) { return Four{value, value, value, value}; }
Four load(const float* from) {
    Four value;
    __builtin_memcpy(&value, from, sizeof value);
    return value;
}
/// value > best ? value : best in each lane, so that a NaN is passed over (Intel SDM 2B "MAXPS").
Four maximum(Four value, Four best) { return __builtin_ia32_maxps(value, best); }
/// A bit for each lane of `values` that is at least `lowest`.
uint32_t at_least(Four values, Four lowest) {
    return static_cast<uint32_t>(__builtin_ia32_movmskps((Four)(values >= lowest)));
}

/// The distances of four numbers from the highest, in buckets; at most the last one.
Four distance(Four values, Four highest) {
    return __builtin_ia32_minps((highest - values) * all(kBucketsPerUnit), all(kBuckets - 1));
}

}  // namespace

Result<HighestLogits> HighestLogits::make(uint32_t vocab_size, Allocator& allocator) {
    HighestLogits made;
    made.vocab_size_ = vocab_size;
    made.maxima_ = TRY(Buffer<Four>::make(allocator, vocab_size / kBlock, "sampler's maxima"));
    return made;
}

void HighestLogits::take_maxima(const float* logits) {
    for (Four& largest : maxima_) {
        Four chains[kLanes];
        for (Four& chain : chains) chain = all(-std::numeric_limits<float>::infinity());
#pragma GCC unroll 4
        for (uint32_t i = 0; i < kBlock; i += kLanes * kLanes) {
#pragma GCC unroll 4
            for (uint32_t j = 0; j < kLanes; ++j)
                chains[j] = maximum(load(logits + i + j * kLanes), chains[j]);
        }
        largest = maximum(maximum(chains[0], chains[1]), maximum(chains[2], chains[3]));
        logits += kBlock;
    }
}

/// At most the count-th highest logit: `count` groups have a maximum that is no smaller. Without so many, the least number.
float HighestLogits::threshold(uint32_t count, float highest) const {
    constexpr float kLeast = std::numeric_limits<float>::lowest();
    Four groups[kGroups];
    for (Four& group : groups) group = all(kLeast);
    for (size_t block = 0; block < maxima_.size(); ++block)
        groups[block % kGroups] = maximum(maxima_[block], groups[block % kGroups]);

    uint32_t counts[kBuckets] = {};
    for (const Four& group : groups) {
        const auto buckets = __builtin_convertvector(distance(group, all(highest)), Whole);
        for (uint32_t lane = 0; lane < kLanes; ++lane) ++counts[buckets[lane]];
    }
    uint32_t cut = 0;
    for (uint32_t sum = counts[0]; sum < count && cut < kBuckets - 1; sum += counts[cut]) ++cut;
    if (cut == kBuckets - 1) return kLeast;
    // The lowest of those that were counted.
    Four lowest = all(highest);
    for (const Four& group : groups) {
        const Whole taken = distance(group, all(highest)) < all(static_cast<float>(cut + 1));
        lowest = __builtin_ia32_minps((Four)(((Whole)group & taken) | ((Whole)lowest & ~taken)), lowest);
    }
    return std::min(std::min(lowest[0], lowest[1]), std::min(lowest[2], lowest[3]));
}

std::span<Candidate> HighestLogits::find(Candidate* to, const float* logits, uint32_t count, float highest) {
    take_maxima(logits);
    const float lowest = threshold(count, highest);
    Candidate* end = to;
    for (uint32_t block = 0; block < maxima_.size(); ++block) {
        if (at_least(maxima_[block], all(lowest)) == 0) continue;
        for (uint32_t token = block * kBlock; token < (block + 1) * kBlock; token += kLanes) {
            for (uint32_t lanes = at_least(load(logits + token), all(lowest)); lanes != 0;
                 lanes &= lanes - 1) {
                const uint32_t lane = static_cast<uint32_t>(__builtin_ctz(lanes));
                *end++ = {logits[token + lane], token + lane};
            }
        }
    }
    for (uint32_t token = static_cast<uint32_t>(maxima_.size()) * kBlock; token < vocab_size_; ++token) {
        if (logits[token] >= lowest) *end++ = {logits[token], token};
    }
    return {to, end};
}

}  // namespace bareflow
