#include "arch/x86_64/packed/lzma.h"

namespace bareflow {
namespace {

constexpr unsigned kProbabilityBits = 11, kAdaptationShift = 5;
constexpr uint32_t kLeastRange = 1u << 24;
constexpr unsigned kRangeBytes = 5;  // the coder's first bytes: a zero, and the first value of its code
constexpr unsigned kLeastMatch = 2;
// States: up to 6 the last packet was a literal, from 7 on a match or a repetition ("LZMA specification", "State machine").
constexpr unsigned kFirstMatchState = 7;
// Distance slots up to 3 are distances, up to 13 have all lower bits modelled, beyond only the lowest 4.
constexpr unsigned kFirstSlotWithBits = 4, kFirstSlotWithDirectBits = 14, kAlignmentBits = 4;

/// One unpacking: the range coder, and the output that later matches copy from.
class Unpacking {
 public:
    Unpacking(LzmaModel& model, const uint8_t* in, size_t in_size, uint8_t* out, size_t out_size)
        : model_(model), in_(in), in_end_(in + in_size), out_(out), out_size_(out_size) {}

    bool run() {
        auto* const probabilities = reinterpret_cast<LzmaProbability*>(&model_);
        for (size_t i = 0; i < sizeof model_ / sizeof *probabilities; ++i)
            probabilities[i] = 1u << (kProbabilityBits - 1);
        if (next_byte() != 0) return false;
        for (unsigned i = 1; i < kRangeBytes; ++i) code_ = code_ << 8 | next_byte();
        while (filled_ < out_size_) {
            if (bit(model_.is_match[state_]) == 0) {
                literal();
            } else if (!match()) {
                return false;
            }
            if (too_short_) return false;
        }
        return true;
    }

 private:
    // ---- the range coder
    uint8_t next_byte() {
        if (in_ != in_end_) return *in_++;
        too_short_ = true;
        return 0;
    }
    void normalise() {
        if (range_ >= kLeastRange) return;
        range_ <<= 8;
        code_ = code_ << 8 | next_byte();
    }
    unsigned bit(LzmaProbability& zero) {
        normalise();
        const uint32_t bound = (range_ >> kProbabilityBits) * zero;
        if (code_ < bound) {
            range_ = bound;
            zero =
                static_cast<LzmaProbability>(zero + (((1u << kProbabilityBits) - zero) >> kAdaptationShift));
            return 0;
        }
        range_ -= bound;
        code_ -= bound;
        zero = static_cast<LzmaProbability>(zero - (zero >> kAdaptationShift));
        return 1;
    }
    /// Bits that are not modelled, the highest first.
    uint32_t direct(unsigned bits) {
        uint32_t value = 0;
        for (; bits != 0; --bits) {
            normalise();
            range_ >>= 1;
            const bool is_one = code_ >= range_;
            if (is_one) code_ -= range_;
            value = value << 1 | is_one;
        }
        return value;
    }
    /// A number whose bits each have a node of a tree, the highest first.
    unsigned tree(LzmaProbability* nodes, unsigned bits) {
        unsigned node = 1;
        for (unsigned i = 0; i < bits; ++i) node = node << 1 | bit(nodes[node]);
        return node - (1u << bits);
    }
    /// The same, the lowest first.
    uint32_t reverse_tree(LzmaProbability* nodes, unsigned bits) {
        unsigned node = 1;
        uint32_t value = 0;
        for (unsigned i = 0; i < bits; ++i) {
            const unsigned one = bit(nodes[node]);
            node = node << 1 | one;
            value |= one << i;
        }
        return value;
    }

    // ---- what is coded
    void literal() {
        const unsigned before = filled_ == 0 ? 0 : out_[filled_ - 1];
        LzmaProbability* const nodes = model_.literal[before >> (8 - LzmaModel::kLiteralContextBits)];
        unsigned node = 1;
        if (state_ >= kFirstMatchState) {
            // Behind a match the byte that would have gone on with it is what the literal is not: a tree for each of its bits.
            unsigned other = out_[filled_ - distance_[0] - 1];
            do {
                const unsigned expected = other >> 7 & 1;
                other <<= 1;
                const unsigned one = bit(nodes[((1 + expected) << 8) + node]);
                node = node << 1 | one;
                if (one != expected) break;
            } while (node < 0x100);
        }
        while (node < 0x100) node = node << 1 | bit(nodes[node]);
        out_[filled_++] = static_cast<uint8_t>(node);
        state_ = state_ < 4 ? 0 : state_ < 10 ? state_ - 3 : state_ - 6;
    }

    unsigned length(LzmaLengthModel& lengths) {
        if (bit(lengths.is_long) == 0) return kLeastMatch + tree(lengths.low, 3);
        if (bit(lengths.is_longest) == 0) return kLeastMatch + 8 + tree(lengths.middle, 3);
        return kLeastMatch + 16 + tree(lengths.high, 8);
    }

    uint32_t new_distance(unsigned length) {
        unsigned length_class = length - kLeastMatch;
        if (length_class >= LzmaModel::kLengthClasses) length_class = LzmaModel::kLengthClasses - 1;
        const unsigned slot = tree(model_.slot[length_class], 6);
        if (slot < kFirstSlotWithBits) return slot;
        const unsigned bits = (slot >> 1) - 1;
        const uint32_t base = (2 | (slot & 1)) << bits;
        // The trees of the slots lie one into the other, each from where its own first distance is.
        if (slot < kFirstSlotWithDirectBits)
            return base + reverse_tree(model_.distance + (base - slot), bits);
        const uint32_t high = direct(bits - kAlignmentBits) << kAlignmentBits;
        return base + high + reverse_tree(model_.alignment, kAlignmentBits);
    }

    /// Takes the n-th latest distance out and makes it the latest.
    void repeat(unsigned n) {
        const uint32_t distance = distance_[n];
        for (; n != 0; --n) distance_[n] = distance_[n - 1];
        distance_[0] = distance;
    }

    /// A match or a repetition; false if there is nothing at its distance, or it goes on beyond the end.
    bool match() {
        unsigned count;
        const bool after_literal = state_ < kFirstMatchState;
        if (bit(model_.is_repeat[state_]) == 0) {
            count = length(model_.match_length);
            const uint32_t distance = new_distance(count);
            distance_[3] = distance;
            repeat(3);
            state_ = after_literal ? 7 : 10;
        } else {
            unsigned which = 0;
            bool one_byte = false;
            if (bit(model_.is_not_first[state_]) == 0) {
                one_byte = bit(model_.is_not_one_byte[state_]) == 0;
            } else if (bit(model_.is_not_second[state_]) == 0) {
                which = 1;
            } else {
                which = 2 + bit(model_.is_not_third[state_]);
            }
            repeat(which);
            if (one_byte) {
                count = 1;
                state_ = after_literal ? 9 : 11;
            } else {
                count = length(model_.repeat_length);
                state_ = after_literal ? 8 : 11;
            }
        }
        if (distance_[0] >= filled_ || count > out_size_ - filled_) return false;
        for (; count != 0; --count, ++filled_) out_[filled_] = out_[filled_ - distance_[0] - 1];
        return true;
    }

    LzmaModel& model_;
    const uint8_t *in_, *in_end_;
    uint8_t* out_;
    size_t out_size_, filled_ = 0;
    uint32_t range_ = 0xFFFFFFFF, code_ = 0;
    uint32_t distance_[4] = {};  // of the last four matches, less one
    unsigned state_ = 0;
    bool too_short_ = false;
};

}  // namespace

bool lzma_unpack(LzmaModel& model, const uint8_t* in, size_t in_size, uint8_t* out, size_t out_size) {
    return Unpacking(model, in, in_size, out, out_size).run();
}

}  // namespace bareflow
