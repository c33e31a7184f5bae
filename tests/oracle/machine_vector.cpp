// Vector instructions, as far as routines use them, in plain C++ (Intel SDM 2). Legacy, VEX and EVEX forms share a
// handler: a legacy instruction's first source is its destination.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <map>

#include "arch/base/float16.h"
#include "tests/oracle/machine.h"

namespace bareflow {
namespace {

using M = Machine;
using I = Instruction;

float as_float(uint32_t bits) { return std::bit_cast<float>(bits); }
uint32_t as_bits(float value) { return std::bit_cast<uint32_t>(value); }

/// Lanes of operand i, a register's or memory's size telling how many.
unsigned lanes_of(const I& i, unsigned operand = 0) { return i.bytes(operand) / 4; }
/// Where the sources stand: in legacy instructions the destination is the first of them.
unsigned first_source(const I& i) { return i.legacy() ? 0 : 1; }
unsigned second_source(const I& i) { return i.legacy() ? 1 : 2; }
bool same_register(const I& i, unsigned a, unsigned b) {
    return !i.is_memory(a) && !i.is_memory(b) && i.operands[a].reg.value == i.operands[b].reg.value;
}

// ---------------------------------------------------------------- arithmetic
using Binary = uint32_t (*)(uint32_t, uint32_t);

template <Binary kOperation>
void packed(M& m, const I& i) {
    const unsigned lanes = lanes_of(i);
    const VectorValue a = m.vector(i, first_source(i), lanes), b = m.vector(i, second_source(i), lanes);
    VectorValue result{{}, a.known & b.known};
    for (unsigned lane = 0; lane < lanes; ++lane)
        result.lanes[lane] = kOperation(a.lanes[lane], b.lanes[lane]);
    m.set_vector(i, 0, result, lanes);
}
/// Lane 0; lanes 1 to 3 are those of the first source.
template <Binary kOperation>
void scalar(M& m, const I& i) {
    const VectorValue b = m.vector(i, second_source(i), 1);
    VectorValue result = m.vector(i, first_source(i), 4);
    result.lanes[0] = kOperation(result.lanes[0], b.lanes[0]);
    result.known &= b.known | ~1u;
    m.set_vector(i, 0, result, 4);
}
/// The same register twice gives zero whatever it held.
template <Binary kOperation>
void exclusive_or(M& m, const I& i) {
    if (same_register(i, first_source(i), second_source(i)))
        return m.set_vector(i, 0, {{}, lanes_mask(lanes_of(i))}, lanes_of(i));
    packed<kOperation>(m, i);
}

constexpr Binary kAdd = [](uint32_t a, uint32_t b) { return as_bits(as_float(a) + as_float(b)); };
constexpr Binary kSubtract = [](uint32_t a, uint32_t b) { return as_bits(as_float(a) - as_float(b)); };
constexpr Binary kMultiply = [](uint32_t a, uint32_t b) { return as_bits(as_float(a) * as_float(b)); };
constexpr Binary kDivide = [](uint32_t a, uint32_t b) { return as_bits(as_float(a) / as_float(b)); };
// The second source where both are zero or either is NaN.
constexpr Binary kMaximum = [](uint32_t a, uint32_t b) { return as_float(a) > as_float(b) ? a : b; };
constexpr Binary kMinimum = [](uint32_t a, uint32_t b) { return as_float(a) < as_float(b) ? a : b; };
constexpr Binary kSquareRoot = [](uint32_t, uint32_t b) { return as_bits(std::sqrt(as_float(b))); };
constexpr Binary kAnd = [](uint32_t a, uint32_t b) { return a & b; };
constexpr Binary kOr = [](uint32_t a, uint32_t b) { return a | b; };
constexpr Binary kXor = [](uint32_t a, uint32_t b) { return a ^ b; };
constexpr Binary kAddInteger = [](uint32_t a, uint32_t b) { return a + b; };
constexpr Binary kGreaterInteger = [](uint32_t a, uint32_t b) {
    return static_cast<int32_t>(a) > static_cast<int32_t>(b) ? UINT32_MAX : 0u;
};

/// cmpps with the predicates that routines use: all ones where it holds (Intel SDM 2A table 3-1).
void compare(M& m, const I& i) {
    constexpr uint8_t kEqual = 0, kNotLess = 5;
    if (i.immediate() != kEqual && i.immediate() != kNotLess)
        throw Violation("cmpps is simulated for equal and not less");
    const unsigned lanes = lanes_of(i);
    const VectorValue a = m.vector(i, first_source(i), lanes), b = m.vector(i, second_source(i), lanes);
    VectorValue result{{}, a.known & b.known};
    for (unsigned lane = 0; lane < lanes; ++lane) {
        const float x = as_float(a.lanes[lane]), y = as_float(b.lanes[lane]);
        result.lanes[lane] = (i.immediate() == kEqual ? x == y : !(x < y)) ? UINT32_MAX : 0;
    }
    m.set_vector(i, 0, result, lanes);
}
/// The lanes' sign bits, in a general register.
void move_signs(M& m, const I& i) {
    const unsigned lanes = lanes_of(i, 1);
    const VectorValue a = m.vector(i, 1, lanes);
    if ((~a.known & lanes_mask(lanes)) != 0) throw Violation("moves the signs of lanes that it never wrote");
    uint64_t signs = 0;
    for (unsigned lane = 0; lane < lanes; ++lane) signs |= uint64_t{a.lanes[lane] >> 31} << lane;
    m.set_value(i, 0, signs);
}
/// ucomiss: flags as SDM 2B has them; unordered sets all three.
void compare_floats(M& m, const I& i) {
    const VectorValue a = m.vector(i, 0, 1), b = m.vector(i, 1, 1);
    if ((a.known & b.known & 1) == 0) throw Violation("compares what it never wrote");
    const float x = as_float(a.lanes[0]), y = as_float(b.lanes[0]);
    const bool unordered = x != x || y != y;
    m.flags = {.known = true, .zero = unordered || x == y, .carry = unordered || x < y, .parity = unordered};
}

/// multiplicands and addend by operand number: 132, 213, 231.
template <unsigned kX, unsigned kY, unsigned kAddend, bool kScalar = false>
void fused_multiply_add(M& m, const I& i) {
    const unsigned lanes = kScalar ? 1 : lanes_of(i);
    const VectorValue v[3] = {m.vector(i, 0, lanes), m.vector(i, 1, lanes), m.vector(i, 2, lanes)};
    VectorValue result = v[0];
    result.known &= (v[1].known & v[2].known) | ~lanes_mask(lanes);
    for (unsigned lane = 0; lane < lanes; ++lane) {
        result.lanes[lane] = as_bits(std::fma(as_float(v[kX].lanes[lane]), as_float(v[kY].lanes[lane]),
                                              as_float(v[kAddend].lanes[lane])));
    }
    m.set_vector(i, 0, result, kScalar ? 4 : lanes);
}
/// psrad by an immediate.
void shift_right(M& m, const I& i) {
    const unsigned lanes = lanes_of(i), bits = std::min<unsigned>(i.immediate(), 31);
    VectorValue value = m.vector(i, first_source(i), lanes);
    for (unsigned lane = 0; lane < lanes; ++lane)
        value.lanes[lane] = static_cast<uint32_t>(static_cast<int32_t>(value.lanes[lane]) >> bits);
    m.set_vector(i, 0, value, lanes);
}

void shift_left(M& m, const I& i) {
    const unsigned lanes = lanes_of(i), bits = i.immediate();
    VectorValue value = m.vector(i, first_source(i), lanes);
    for (unsigned lane = 0; lane < lanes; ++lane)
        value.lanes[lane] = bits > 31 ? 0 : value.lanes[lane] << bits;
    m.set_vector(i, 0, value, lanes);
}

void halves_to_floats(M& m, const I& i) {
    const unsigned lanes = lanes_of(i);
    const VectorValue halves = m.vector(i, 1, lanes / 2);
    VectorValue result;
    for (unsigned lane = 0; lane < lanes; ++lane) {
        result.known |= (halves.known >> lane / 2 & 1) << lane;
        result.lanes[lane] =
            as_bits(f32_from_f16(static_cast<uint16_t>(halves.lanes[lane / 2] >> (lane % 2 * 16))));
    }
    m.set_vector(i, 0, result, lanes);
}

// ---------------------------------------------------------------- bytes and words, as quantised weights want them
template <typename T>
T part(uint32_t lane, unsigned index) {
    return static_cast<T>(lane >> (index * 8 * sizeof(T)));
}
/// Result lane = the words of each half, by a function of both sources' lanes and the half.
template <int32_t (*kWord)(uint32_t, uint32_t, unsigned)>
uint32_t two_words(uint32_t a, uint32_t b) {
    return (static_cast<uint32_t>(kWord(a, b, 0)) & 0xFFFF) | static_cast<uint32_t>(kWord(a, b, 1)) << 16;
}
/// pmaddubsw: bytes of a have no sign, those of b have; the sum saturates.
int32_t multiply_bytes(uint32_t a, uint32_t b, unsigned word) {
    int32_t sum = 0;
    for (unsigned i = 2 * word; i < 2 * word + 2; ++i)
        sum += int32_t{part<uint8_t>(a, i)} * int32_t{part<int8_t>(b, i)};
    return std::clamp(sum, int32_t{INT16_MIN}, int32_t{INT16_MAX});
}
int32_t add_words(uint32_t a, uint32_t b, unsigned word) {
    return int32_t{part<int16_t>(a, word)} + int32_t{part<int16_t>(b, word)};
}
int32_t multiply_words_low(uint32_t a, uint32_t b, unsigned word) {
    return int32_t{part<int16_t>(a, word)} * int32_t{part<int16_t>(b, word)};
}
int32_t subtract_words(uint32_t a, uint32_t b, unsigned word) {
    return int32_t{part<int16_t>(a, word)} - int32_t{part<int16_t>(b, word)};
}
int32_t larger_words(uint32_t a, uint32_t b, unsigned word) {
    return std::max(part<int16_t>(a, word), part<int16_t>(b, word));
}
constexpr Binary kMultiplyWords = [](uint32_t a, uint32_t b) {
    uint32_t sum = 0;  // wraps where all four are -32768
    for (unsigned i = 0; i < 2; ++i)
        sum += static_cast<uint32_t>(int32_t{part<int16_t>(a, i)} * int32_t{part<int16_t>(b, i)});
    return sum;
};
/// psignb: a, -a or 0 as b says.
constexpr Binary kSignBytes = [](uint32_t a, uint32_t b) {
    uint32_t result = 0;
    for (unsigned i = 0; i < 4; ++i) {
        const int sign = (part<int8_t>(b, i) > 0) - (part<int8_t>(b, i) < 0);
        result |= (static_cast<uint32_t>(part<int8_t>(a, i) * sign) & 0xFF) << (8 * i);
    }
    return result;
};
constexpr Binary kSubtractInteger = [](uint32_t a, uint32_t b) { return a - b; };

using Unary = uint32_t (*)(uint32_t);
template <Unary kOperation>
void each_lane(M& m, const I& i) {
    const unsigned lanes = lanes_of(i);
    VectorValue value = m.vector(i, 1, lanes);
    for (unsigned lane = 0; lane < lanes; ++lane) value.lanes[lane] = kOperation(value.lanes[lane]);
    m.set_vector(i, 0, value, lanes);
}
constexpr Unary kMagnitudeOfBytes = [](uint32_t a) {
    uint32_t result = 0;
    for (unsigned i = 0; i < 4; ++i)
        result |= (static_cast<uint32_t>(std::abs(int{part<int8_t>(a, i)})) & 0xFF) << (8 * i);
    return result;
};
/// Exact: the dots of a group are below 2^24.
constexpr Unary kToFloat = [](uint32_t a) { return as_bits(static_cast<float>(static_cast<int32_t>(a))); };

/// To nearest, ties to even, as MXCSR has it; what does not fit becomes the lowest number.
constexpr Unary kToInteger = [](uint32_t a) {
    const float x = as_float(a);
    return x >= -0x1p31f && x < 0x1p31f ? static_cast<uint32_t>(std::lrint(x)) : 0x80000000u;
};
/// vpdpbusd: bytes of the first source have no sign, those of the second have; four products are added to the lane.
void add_dots_of_bytes(M& m, const I& i) {
    const unsigned lanes = lanes_of(i);
    const VectorValue a = m.vector(i, 1, lanes), b = m.vector(i, 2, lanes);
    VectorValue sum = m.vector(i, 0, lanes);
    sum.known &= a.known & b.known;
    for (unsigned lane = 0; lane < lanes; ++lane) {
        for (unsigned byte = 0; byte < 4; ++byte) {
            sum.lanes[lane] += static_cast<uint32_t>(int32_t{part<uint8_t>(a.lanes[lane], byte)} *
                                                     int32_t{part<int8_t>(b.lanes[lane], byte)});
        }
    }
    m.set_vector(i, 0, sum, lanes);
}
/// packssdw, packsswb: two lanes (of both sources, in blocks of 16 bytes) become one, by `kPack`.
template <Binary kPack>
void pack(M& m, const I& i) {
    const unsigned lanes = lanes_of(i);
    const VectorValue a = m.vector(i, first_source(i), lanes), b = m.vector(i, second_source(i), lanes);
    VectorValue result;
    for (unsigned lane = 0; lane < lanes; ++lane) {
        const VectorValue& from = lane % 4 < 2 ? a : b;
        const unsigned first = lane / 4 * 4 + lane % 2 * 2;
        result.lanes[lane] = kPack(from.lanes[first], from.lanes[first + 1]);
        result.known |= (from.known >> first & from.known >> (first + 1) & 1) << lane;
    }
    m.set_vector(i, 0, result, lanes);
}
constexpr Binary kPackWords = [](uint32_t low, uint32_t high) {
    const auto word = [](uint32_t x) {
        return static_cast<uint32_t>(
                   std::clamp(static_cast<int32_t>(x), int32_t{INT16_MIN}, int32_t{INT16_MAX})) &
               0xFFFF;
    };
    return word(low) | word(high) << 16;
};
constexpr Binary kPackBytes = [](uint32_t low, uint32_t high) {
    uint32_t result = 0;
    for (unsigned i = 0; i < 4; ++i) {
        const int value = part<int16_t>(i < 2 ? low : high, i % 2);
        result |= (static_cast<uint32_t>(std::clamp(value, -128, 127)) & 0xFF) << (8 * i);
    }
    return result;
};

/// pshuflw (kHalf 0), pshufhw (1): four words of that half of each block of 16 bytes change places.
template <unsigned kHalf>
void shuffle_words(M& m, const I& i) {
    const unsigned lanes = lanes_of(i);
    const VectorValue a = m.vector(i, 1, lanes);
    VectorValue result = a;
    for (unsigned block = 2 * kHalf; block < lanes; block += 4) {
        result.known &= ~(3u << block);
        for (unsigned word = 0; word < 4; ++word) {
            const unsigned from = i.immediate() >> (2 * word) & 3, to = block + word / 2;
            const uint32_t value = part<uint16_t>(a.lanes[block + from / 2], from % 2);
            if (word % 2 == 0) {
                result.lanes[to] = value;
                result.known |= (a.known >> (block + from / 2) & 1) << to;
            } else {
                result.lanes[to] |= value << 16;
                if ((a.known >> (block + from / 2) & 1) == 0) result.known &= ~(1u << to);
            }
        }
    }
    m.set_vector(i, 0, result, lanes);
}
/// psllw by an immediate.
void shift_words_left(M& m, const I& i) {
    const unsigned lanes = lanes_of(i), bits = i.immediate();
    VectorValue value = m.vector(i, first_source(i), lanes);
    for (unsigned lane = 0; lane < lanes; ++lane) {
        const uint32_t low = value.lanes[lane] & 0xFFFF, high = value.lanes[lane] >> 16;
        value.lanes[lane] = bits > 15 ? 0 : (low << bits & 0xFFFF) | (high << bits & 0xFFFF) << 16;
    }
    m.set_vector(i, 0, value, lanes);
}
/// psrlw and psraw by an immediate.
template <bool kSigned>
void shift_words_right(M& m, const I& i) {
    const unsigned lanes = lanes_of(i), bits = i.immediate();
    VectorValue value = m.vector(i, first_source(i), lanes);
    for (unsigned lane = 0; lane < lanes; ++lane) {
        uint32_t result = 0;
        for (unsigned word = 0; word < 2; ++word) {
            const int32_t from = kSigned ? int32_t{part<int16_t>(value.lanes[lane], word)}
                                         : int32_t{part<uint16_t>(value.lanes[lane], word)};
            const int32_t shifted = bits < 16 ? from >> bits : kSigned && from < 0 ? -1 : 0;
            result |= (static_cast<uint32_t>(shifted) & 0xFFFF) << (16 * word);
        }
        value.lanes[lane] = result;
    }
    m.set_vector(i, 0, value, lanes);
}
/// punpcklbw (kUpper false), punpckhbw: bytes of both sources take turns.
template <bool kUpper>
void interleave_bytes(M& m, const I& i) {
    if (!i.legacy()) throw Violation("punpcklbw and punpckhbw are simulated in their legacy form only");
    const VectorValue a = m.vector(i, 0, 4), b = m.vector(i, 1, 4);
    VectorValue result;
    for (unsigned lane = 0; lane < 4; ++lane) {
        const unsigned from = lane / 2 + (kUpper ? 2 : 0), first = lane % 2 * 2;
        result.known |= ((a.known & b.known) >> from & 1) << lane;
        for (unsigned byte = 0; byte < 2; ++byte) {
            result.lanes[lane] |= uint32_t{part<uint8_t>(a.lanes[from], first + byte)} << (16 * byte);
            result.lanes[lane] |= uint32_t{part<uint8_t>(b.lanes[from], first + byte)} << (16 * byte + 8);
        }
    }
    m.set_vector(i, 0, result, 4);
}

// ---------------------------------------------------------------- moves
void move_whole(M& m, const I& i) {
    const unsigned lanes = lanes_of(i, i.is_memory(0) ? 1 : 0);
    m.set_vector(i, 0, m.vector(i, 1, lanes), lanes);
}
/// movss, vmovss: a load clears the rest of the xmm register, a move between registers keeps it.
void move_float(M& m, const I& i) {
    if (i.is_memory(0)) return m.set_vector(i, 0, m.vector(i, 1, 1), 1);
    if (i.is_memory(i.count - 1)) {
        VectorValue value = m.vector(i, i.count - 1, 1);
        value.known = lanes_mask(4);  // the others are zero
        return m.set_vector(i, 0, value, 4);
    }
    VectorValue value = m.vector(i, first_source(i), 4);
    const VectorValue b = m.vector(i, second_source(i), 1);
    value.lanes[0] = b.lanes[0];
    value.known = (value.known & ~1u) | (b.known & 1u);
    m.set_vector(i, 0, value, 4);
}
/// movq, vmovq between xmm and memory.
void move_pair(M& m, const I& i) {
    if (i.is_memory(0)) return m.set_vector(i, 0, m.vector(i, 1, 2), 2);
    VectorValue value = m.vector(i, 1, 2);
    value.lanes[2] = value.lanes[3] = 0;
    value.known |= lanes_mask(4) & ~lanes_mask(2);
    m.set_vector(i, 0, value, 4);
}
/// movlps, vmovlps to memory.
void store_low_pair(M& m, const I& i) {
    if (!i.is_memory(0)) throw Violation("movlps is simulated as a store only");
    m.set_vector(i, 0, m.vector(i, 1, 2), 2);
}
/// movhlps: the second source's upper pair below the first one's.
void move_high_to_low(M& m, const I& i) {
    const VectorValue b = m.vector(i, second_source(i), 4);
    VectorValue result = m.vector(i, first_source(i), 4);
    result.lanes[0] = b.lanes[2];
    result.lanes[1] = b.lanes[3];
    result.known = (result.known & ~3u) | (b.known >> 2 & 3u);
    m.set_vector(i, 0, result, 4);
}
void broadcast(M& m, const I& i) {
    VectorValue value = m.vector(i, 1, 1);
    value.lanes.fill(value.lanes[0]);
    value.known = value.known & 1 ? lanes_mask(16) : 0;
    m.set_vector(i, 0, value, lanes_of(i));
}

// ---------------------------------------------------------------- shuffles
/// Result lane l = from[l] of the concatenation of a and b (16 lanes each).
struct Pick {
    const VectorValue &a, &b;
    VectorValue result{};
    void set(unsigned lane, bool from_b, unsigned source) {
        const VectorValue& from = from_b ? b : a;
        result.lanes[lane] = from.lanes[source];
        result.known |= (from.known >> source & 1) << lane;
    }
};
/// Two lanes of the first source, then two of the second, in each 128 bits.
void shuffle(M& m, const I& i) {
    const unsigned lanes = lanes_of(i);
    const VectorValue a = m.vector(i, first_source(i), lanes), b = m.vector(i, second_source(i), lanes);
    Pick pick{a, b};
    for (unsigned lane = 0; lane < lanes; ++lane) {
        const unsigned source = lane / 4 * 4 + (i.immediate() >> (lane % 4 * 2) & 3);
        pick.set(lane, lane % 4 >= 2, source);
    }
    m.set_vector(i, 0, pick.result, lanes);
}
void permute_in_lanes(M& m, const I& i) {
    if (i.operands[2].type != ZYDIS_OPERAND_TYPE_IMMEDIATE)
        throw Violation("vpermilps is simulated with an immediate");
    const unsigned lanes = lanes_of(i);
    const VectorValue a = m.vector(i, 1, lanes);
    Pick pick{a, a};
    for (unsigned lane = 0; lane < lanes; ++lane)
        pick.set(lane, false, lane / 4 * 4 + (i.immediate() >> (lane % 4 * 2) & 3));
    m.set_vector(i, 0, pick.result, lanes);
}
/// vmovshdup (1), vmovsldup (0): every pair becomes twice one of its lanes.
template <unsigned kOdd>
void duplicate(M& m, const I& i) {
    const unsigned lanes = lanes_of(i);
    const VectorValue a = m.vector(i, 1, lanes);
    Pick pick{a, a};
    for (unsigned lane = 0; lane < lanes; ++lane) pick.set(lane, false, lane / 2 * 2 + kOdd);
    m.set_vector(i, 0, pick.result, lanes);
}
void interleave_low(M& m, const I& i) {
    const unsigned lanes = lanes_of(i);
    const VectorValue a = m.vector(i, first_source(i), lanes), b = m.vector(i, second_source(i), lanes);
    Pick pick{a, b};
    for (unsigned lane = 0; lane < lanes; ++lane) pick.set(lane, lane % 2 != 0, lane / 4 * 4 + lane % 4 / 2);
    m.set_vector(i, 0, pick.result, lanes);
}
void interleave_low_words(M& m, const I& i) {
    if (!i.legacy()) throw Violation("punpcklwd is simulated in its legacy form only");
    const VectorValue a = m.vector(i, 0, 2), b = m.vector(i, 1, 2);
    VectorValue result;
    for (unsigned lane = 0; lane < 4; ++lane) {
        result.known |= ((a.known & b.known) >> lane / 2 & 1) << lane;
        const unsigned shift = lane % 2 * 16;
        result.lanes[lane] = (a.lanes[lane / 2] >> shift & 0xFFFF) | (b.lanes[lane / 2] >> shift & 0xFFFF)
                                                                         << 16;
    }
    m.set_vector(i, 0, result, 4);
}
/// 32 bits become 64 with zeros above.
void zero_extend_pairs(M& m, const I& i) {
    const unsigned lanes = lanes_of(i);
    const VectorValue a = m.vector(i, 1, lanes / 2);
    VectorValue result;
    for (unsigned lane = 0; lane < lanes; lane += 2) {
        result.lanes[lane] = a.lanes[lane / 2];
        result.known |= (a.known >> lane / 2 & 1 ? 3u : 2u) << lane;
    }
    m.set_vector(i, 0, result, lanes);
}
/// Part `immediate` of kLanes lanes.
template <unsigned kLanes>
void extract(M& m, const I& i) {
    const unsigned parts = lanes_of(i, 1) / kLanes, first = i.immediate() % parts * kLanes;
    const VectorValue a = m.vector(i, 1, lanes_of(i, 1));
    Pick pick{a, a};
    for (unsigned lane = 0; lane < kLanes; ++lane) pick.set(lane, false, first + lane);
    m.set_vector(i, 0, pick.result, kLanes);
}
/// vshuff32x4: blocks of four lanes, the lower half of the result from the first source.
void shuffle_blocks(M& m, const I& i) {
    const unsigned lanes = lanes_of(i), blocks = lanes / 4, selector_bits = blocks == 4 ? 2 : 1;
    const VectorValue a = m.vector(i, 1, lanes), b = m.vector(i, 2, lanes);
    Pick pick{a, b};
    for (unsigned block = 0; block < blocks; ++block) {
        const unsigned source = i.immediate() >> (block * selector_bits) & (blocks - 1);
        for (unsigned lane = 0; lane < 4; ++lane)
            pick.set(block * 4 + lane, block >= blocks / 2, source * 4 + lane);
    }
    m.set_vector(i, 0, pick.result, lanes);
}

void zero_upper(M& m, const I&) {
    for (unsigned reg = 0; reg < 16; ++reg) {
        for (unsigned lane = 4; lane < 16; ++lane) m.vectors[reg].lanes[lane] = 0;
        m.vectors[reg].known |= lanes_mask(16) & ~lanes_mask(4);
    }
}

const std::map<ZydisMnemonic, Handler>& handlers() {
#define LEGACY_AND_VEX(name, handler) \
    {ZYDIS_MNEMONIC_##name, handler}, { ZYDIS_MNEMONIC_V##name, handler }
    static const std::map<ZydisMnemonic, Handler> table = {
        LEGACY_AND_VEX(ADDPS, packed<kAdd>),
        LEGACY_AND_VEX(SUBPS, packed<kSubtract>),
        LEGACY_AND_VEX(MULPS, packed<kMultiply>),
        LEGACY_AND_VEX(DIVPS, packed<kDivide>),
        LEGACY_AND_VEX(MAXPS, packed<kMaximum>),
        LEGACY_AND_VEX(MINPS, packed<kMinimum>),
        LEGACY_AND_VEX(ADDSS, scalar<kAdd>),
        LEGACY_AND_VEX(SUBSS, scalar<kSubtract>),
        LEGACY_AND_VEX(MULSS, scalar<kMultiply>),
        LEGACY_AND_VEX(DIVSS, scalar<kDivide>),
        LEGACY_AND_VEX(MAXSS, scalar<kMaximum>),
        LEGACY_AND_VEX(MINSS, scalar<kMinimum>),
        LEGACY_AND_VEX(SQRTSS, scalar<kSquareRoot>),
        LEGACY_AND_VEX(ORPS, packed<kOr>),
        LEGACY_AND_VEX(ANDPS, packed<kAnd>),
        LEGACY_AND_VEX(PAND, packed<kAnd>),
        LEGACY_AND_VEX(XORPS, exclusive_or<kXor>),
        LEGACY_AND_VEX(PXOR, exclusive_or<kXor>),
        {ZYDIS_MNEMONIC_VPXORD, exclusive_or<kXor>},
        {ZYDIS_MNEMONIC_VPANDD, packed<kAnd>},
        {ZYDIS_MNEMONIC_VPDPBUSD, add_dots_of_bytes},
        LEGACY_AND_VEX(PACKSSDW, pack<kPackWords>),
        LEGACY_AND_VEX(PACKSSWB, pack<kPackBytes>),
        LEGACY_AND_VEX(CVTPS2DQ, each_lane<kToInteger>),
        LEGACY_AND_VEX(CMPPS, compare),
        LEGACY_AND_VEX(MOVMSKPS, move_signs),
        LEGACY_AND_VEX(UCOMISS, compare_floats),
        LEGACY_AND_VEX(PADDD, packed<kAddInteger>),
        LEGACY_AND_VEX(PCMPGTD, packed<kGreaterInteger>),
        LEGACY_AND_VEX(PSLLD, shift_left),
        LEGACY_AND_VEX(PSRAD, shift_right),
        LEGACY_AND_VEX(PSUBD, packed<kSubtractInteger>),
        LEGACY_AND_VEX(PSUBW, packed<two_words<subtract_words>>),
        LEGACY_AND_VEX(PMAXSW, packed<two_words<larger_words>>),
        LEGACY_AND_VEX(PSHUFLW, shuffle_words<0>),
        LEGACY_AND_VEX(PSHUFHW, shuffle_words<1>),
        LEGACY_AND_VEX(PSLLW, shift_words_left),
        LEGACY_AND_VEX(PMULLW, packed<two_words<multiply_words_low>>),
        LEGACY_AND_VEX(PADDW, packed<two_words<add_words>>),
        LEGACY_AND_VEX(PMADDWD, packed<kMultiplyWords>),
        LEGACY_AND_VEX(PMADDUBSW, packed<two_words<multiply_bytes>>),
        LEGACY_AND_VEX(PSIGNB, packed<kSignBytes>),
        LEGACY_AND_VEX(PABSB, each_lane<kMagnitudeOfBytes>),
        LEGACY_AND_VEX(PSRLW, shift_words_right<false>),
        LEGACY_AND_VEX(PSRAW, shift_words_right<true>),
        {ZYDIS_MNEMONIC_PUNPCKLBW, interleave_bytes<false>},
        {ZYDIS_MNEMONIC_PUNPCKHBW, interleave_bytes<true>},
        LEGACY_AND_VEX(CVTDQ2PS, each_lane<kToFloat>),
        {ZYDIS_MNEMONIC_VFMADD132PS, fused_multiply_add<0, 2, 1>},
        {ZYDIS_MNEMONIC_VFMADD213PS, fused_multiply_add<1, 0, 2>},
        {ZYDIS_MNEMONIC_VFMADD231PS, fused_multiply_add<1, 2, 0>},
        {ZYDIS_MNEMONIC_VFMADD231SS, fused_multiply_add<1, 2, 0, true>},
        {ZYDIS_MNEMONIC_VCVTPH2PS, halves_to_floats},
        LEGACY_AND_VEX(MOVUPS, move_whole),
        LEGACY_AND_VEX(MOVAPS, move_whole),
        LEGACY_AND_VEX(MOVSS, move_float),
        LEGACY_AND_VEX(MOVQ, move_pair),
        LEGACY_AND_VEX(MOVLPS, store_low_pair),
        LEGACY_AND_VEX(MOVHLPS, move_high_to_low),
        {ZYDIS_MNEMONIC_VBROADCASTSS, broadcast},
        LEGACY_AND_VEX(SHUFPS, shuffle),
        {ZYDIS_MNEMONIC_VPERMILPS, permute_in_lanes},
        LEGACY_AND_VEX(PSHUFD, permute_in_lanes),
        {ZYDIS_MNEMONIC_VMOVSHDUP, duplicate<1>},
        {ZYDIS_MNEMONIC_VMOVSLDUP, duplicate<0>},
        LEGACY_AND_VEX(UNPCKLPS, interleave_low),
        {ZYDIS_MNEMONIC_PUNPCKLWD, interleave_low_words},
        {ZYDIS_MNEMONIC_VPMOVZXDQ, zero_extend_pairs},
        {ZYDIS_MNEMONIC_VEXTRACTF128, extract<4>},
        {ZYDIS_MNEMONIC_VEXTRACTF32X4, extract<4>},
        {ZYDIS_MNEMONIC_VEXTRACTF64X4, extract<8>},
        {ZYDIS_MNEMONIC_VSHUFF32X4, shuffle_blocks},
        {ZYDIS_MNEMONIC_VZEROUPPER, zero_upper},
    };
#undef LEGACY_AND_VEX
    return table;
}

}  // namespace

Handler vector_handler(ZydisMnemonic mnemonic) {
    const auto found = handlers().find(mnemonic);
    return found == handlers().end() ? nullptr : found->second;
}

}  // namespace bareflow
