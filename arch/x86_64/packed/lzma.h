// Unpacks LZMA1 ("LZMA specification", Igor Pavlov, 2015, public domain) into memory, with the one set of parameters that
// packed.mk tells xz: lc=3, lp=0, pb=0, no header. The 32-bit stub is made of this, so it includes nothing of C++'s library.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace bareflow {

/// A probability that the next bit is 0, in 2048ths.
using LzmaProbability = uint16_t;

/// How long a match is.
struct LzmaLengthModel {
    LzmaProbability is_long, is_longest;
    LzmaProbability low[1 << 3], middle[1 << 3], high[1 << 8];
};

/// All that is learned from the bits so far: nothing but probabilities, so that it is set up as an array of them.
struct LzmaModel {
    static constexpr unsigned kStates = 12;
    static constexpr unsigned kLiteralContextBits = 3;
    static constexpr unsigned kLengthClasses = 4, kDistanceSlots = 64, kModelledDistances = 128,
                              kAlignments = 16;

    LzmaProbability is_match[kStates];
    LzmaProbability is_repeat[kStates], is_not_first[kStates], is_not_second[kStates], is_not_third[kStates];
    LzmaProbability is_not_one_byte[kStates];
    LzmaProbability slot[kLengthClasses][kDistanceSlots];
    LzmaProbability distance[kModelledDistances];
    LzmaProbability alignment[kAlignments];
    LzmaLengthModel match_length, repeat_length;
    LzmaProbability literal[1 << kLiteralContextBits][0x300];
};

/// Fills out[0, out_size) from in[0, in_size). False: the input ends too early, or says what no packer writes; what `out` then
/// holds is of no use. Neither reads nor writes beside the two, whatever the input; takes time in proportion to their sizes.
/// What follows in the input (an end marker) is not looked at.
bool lzma_unpack(LzmaModel& model, const uint8_t* in, size_t in_size, uint8_t* out, size_t out_size);

}  // namespace bareflow
