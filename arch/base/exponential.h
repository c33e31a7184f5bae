// The constants of e^x as SiLU and softmax compute it: data that the scalar reference and the emitter share. How they are
// used, step by step, stands in model/README.md "Numbers".
#pragma once

#include <cstdint>

namespace bareflow {

// e^x = 2^n * e^r with n = round(x / ln 2), |r| <= ln 2 / 2, and e^r by a polynomial. At the clamps' ends n is -127 and
// 128, whose exponent bits make the scale 0 and infinity: so far below and far above need no extra steps.
constexpr float kExpLowest = -88.0f;
constexpr float kExpHighest = 89.0f;
constexpr float kExpLog2E = 0x1.715476p+0f;
/// 1.5 * 2^23: a float this large has no fraction bits, so adding it rounds to an integer, which then stands in its
/// lowest bits.
constexpr float kExpRoundingMagic = 0x1.8p+23f;
/// ln 2 in two parts; the first has 15 bits, so that n times it is exact.
constexpr float kExpLn2High = 0x1.62e4p-1f;
constexpr float kExpLn2Low = 0x1.7f7d1cp-20f;
/// The polynomial of e^r, highest power first; of its terms from r² on, minimax in relative error of e^r (3.2e-9), each
/// coefficient rounded before the next was fitted.
constexpr float kExpCoefficients[] = {
    0x1.6ac74cp-10f, 0x1.123de0p-7f, 0x1.555858p-5f, 0x1.55548cp-3f, 0x1.fffffcp-2f, 1.0f, 1.0f};
// binary32: the exponent field and its bias (IEEE 754-2019, table 3.5).
constexpr uint32_t kFloatExponentBias = 127;
constexpr uint8_t kFloatExponentShift = 23;

}  // namespace bareflow
