#include "arch/base/float16.h"

namespace bareflow {
namespace {

// Four at a time in what every x86-64 has: a KV cache is written for each token, on CPUs without F16C too.
using Lanes = int32_t __attribute__((vector_size(16)));
using UnsignedLanes = uint32_t __attribute__((vector_size(16)));
using Floats = float __attribute__((vector_size(16)));
using Halves = int16_t __attribute__((vector_size(16)));
static_assert(sizeof(Lanes) == 4 * sizeof(int32_t));

inline Lanes all(uint32_t value) {
    const auto lane = static_cast<int32_t>(value);
    return Lanes{lane, lane, lane, lane};
}
/// Per lane: `mask` is all ones or all zeros.
inline Lanes select(Lanes mask, Lanes ones, Lanes zeros) { return (ones & mask) | (zeros & ~mask); }

/// f16_from_f32 without branches; each lane is the half, its sign extended to 32 bits.
inline Lanes convert(const float* from) {
    using namespace float16;
    Lanes bits;
    __builtin_memcpy(&bits, from, sizeof bits);
    const Lanes magnitude = bits & all(~kSign32);
    const Lanes last_bit = (magnitude >> kFractionShift) & all(1);
    const Lanes half_less_one = all((1u << (kFractionShift - 1)) - 1);
    const auto rounded = (Lanes)((UnsignedLanes)magnitude + (UnsignedLanes)(half_less_one + last_bit));
    const Lanes normal = (rounded >> kFractionShift) - all(kRebias << 10);
    constexpr float kAligner = 0.5f;
    const Floats aligner = {kAligner, kAligner, kAligner, kAligner};
    const Lanes subnormal = (Lanes)((Floats)magnitude + aligner) - (Lanes)aligner;
    const Lanes nan = all(kQuietNan) | ((magnitude >> kFractionShift) & all(kFraction));
    Lanes half = select(magnitude < all(kSmallestNormal), subnormal, normal);
    half = select(magnitude >= all(kOverflow), all(kInfinity), half);
    half = select(magnitude > all(kInfinity32), nan, half);
    return half | (bits >> 31 & all(~(kSign - 1)));
}

}  // namespace

void f16_from_f32(uint16_t* to, const float* from, size_t count) {
    constexpr size_t kAtOnce = 8;
    size_t i = 0;
    for (; i + kAtOnce <= count; i += kAtOnce) {
        // Signed saturation changes nothing: every lane is a 16-bit number.
        const auto halves = (Halves)__builtin_ia32_packssdw128(convert(from + i), convert(from + i + 4));
        __builtin_memcpy(to + i, &halves, sizeof halves);
    }
    for (; i < count; ++i) to[i] = f16_from_f32(from[i]);
}

}  // namespace bareflow
