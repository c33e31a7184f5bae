// The scalar operators that define the numbers (DESIGN.md "Numbers are a contract"; model/README.md "Numbers"
// has each definition). Plain loops, compiled without vectorisation and contraction; whatever else computes
// an operator must give these bits.
#pragma once

#include "arch/base/cpu_features.h"
#include "arch/base/quantised.h"
#include "arch/base/result.h"
#include "arch/base/routine.h"
#include "model/operators.h"

namespace bareflow {

/// The reference for a numeric class. kFma needs a CPU with FMA (its multiply-adds are the vfmadd
/// instruction); on another CPU it is an error that says so. The object is static and has no state.
Result<Operators*> reference_operators(NumericClass numerics, const CpuFeatures& cpu);

/// x as quantised weights meet it, on any CPU. to: (k / 32), x: (k), k a multiple of 32. Each group of 32 with `largest`
/// the largest magnitude: scale = largest / 127, q = x * (1 / scale) to the nearest whole number, ties to even, within
/// ±127 (a NaN becomes -127). A group whose largest is below 2^-100 is all zeros.
void quantise_input(Q8Group* to, const float* x, size_t k);
void quantise_input(Q8WordGroup* to, const float* x, size_t k);
/// As the key's routines want it: Q8Groups or Q8WordGroups, which are of one size.
void quantise_input_for(const RoutineKey& key, void* to, const float* x, size_t k);

/// e^x by the contract's polynomial in either class, as SiLU and softmax use it. Exactly 1 at 0. The relative
/// error is at most kExpMaxRelativeError from kExpLowestNormal to kExpHighestFinite. Below, the result goes
/// through the subnormals to +0 (from -87.69 down); above, it soon is +infinity, before the largest finite
/// float is reached. NaN gives a NaN. kFma needs a CPU with FMA.
float reference_exp(NumericClass numerics, float x);

constexpr float kExpLowestNormal = -87.3365402f;  ///< e^x is just above 2^-126
constexpr float kExpHighestFinite = 88.3762589f;  ///< 127.5 ln 2; e^x is 2.4e38
/// Measured against a double exp over every float in that range: 7.63e-8 (fma), 9.81e-8 (muladd); 2^-24 is
/// 5.96e-8.
constexpr double kExpMaxRelativeError = 9.9e-8;

}  // namespace bareflow
