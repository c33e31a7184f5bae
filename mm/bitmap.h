// A bitmap over words that somebody else owns, searched and filled a word at a time.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace bareflow {

class Bitmap {
 public:
    static constexpr size_t kWordBits = 64;
    static constexpr size_t words_for(size_t bits) { return (bits + kWordBits - 1) / kWordBits; }

    Bitmap() = default;
    /// `words` holds words_for(bits) words and outlives the Bitmap.
    Bitmap(uint64_t* words, size_t bits) : words_(words), bits_(bits) {}

    size_t size() const { return bits_; }
    bool test(size_t index) const { return (words_[index / kWordBits] >> (index % kWordBits) & 1) != 0; }
    void set(size_t first, size_t count) {
        for_each_word(first, count, [](uint64_t& word, uint64_t mask) { word |= mask; });
    }
    void clear(size_t first, size_t count) {
        for_each_word(first, count, [](uint64_t& word, uint64_t mask) { word &= ~mask; });
    }

    /// The first set (clear) bit in [from, to), or `to` if there is none.
    size_t find_set(size_t from, size_t to) const { return find(from, to, 0); }
    size_t find_clear(size_t from, size_t to) const { return find(from, to, ~uint64_t{0}); }

 private:
    /// `flip` turns the wanted bits into ones.
    size_t find(size_t from, size_t to, uint64_t flip) const {
        if (from >= to) return to;
        size_t word = from / kWordBits;
        uint64_t wanted = (words_[word] ^ flip) & (~uint64_t{0} << (from % kWordBits));
        while (wanted == 0) {
            if (++word * kWordBits >= to) return to;
            wanted = words_[word] ^ flip;
        }
        return std::min(word * kWordBits + static_cast<size_t>(std::countr_zero(wanted)), to);
    }

    template <typename Change>
    void for_each_word(size_t first, size_t count, Change change) {
        while (count > 0) {
            const size_t bit = first % kWordBits;
            const size_t here = std::min(count, kWordBits - bit);
            const uint64_t ones = here == kWordBits ? ~uint64_t{0} : (uint64_t{1} << here) - 1;
            change(words_[first / kWordBits], ones << bit);
            first += here;
            count -= here;
        }
    }

    uint64_t* words_ = nullptr;
    size_t bits_ = 0;
};

}  // namespace bareflow
