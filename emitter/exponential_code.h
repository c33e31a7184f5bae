// e^x and SiLU in vectors: the polynomial of model/README.md "Numbers", step for step.
#pragma once

#include "arch/base/exponential.h"
#include "emitter/constant_pool.h"
#include "emitter/vector_code.h"

namespace bareflow {

/// Registers that emit_exponential overwrites; all different, and different from the result.
struct ExponentialScratch {
    unsigned x, shifted, constant, n;
};

/// result = e^result.
template <typename A>
void emit_exponential(VectorCode<A>& code, ConstantPool<A>& pool, unsigned result,
                      const ExponentialScratch& s) {
    role(code.a, code.reg(result), "e^x");
    role(code.a, code.reg(s.x), "x");
    role(code.a, code.reg(s.shifted), "x/ln2 + magic");
    role(code.a, code.reg(s.constant), "constant");
    role(code.a, code.reg(s.n), "n");
    // Clamped with the constant as the first operand, so that NaN stays NaN.
    code.broadcast(s.constant, pool.at(kExpHighest));
    code.minimum(s.constant, s.constant, result);
    code.broadcast(s.x, pool.at(kExpLowest));
    code.maximum(s.x, s.x, s.constant);

    code.broadcast(s.shifted, pool.at(kExpRoundingMagic));
    code.copy(s.n, s.shifted);
    code.broadcast(s.constant, pool.at(kExpLog2E));
    code.multiply_add(s.shifted, s.x, s.constant, result);
    code.subtract(s.constant, s.shifted, s.n);
    code.copy(s.n, s.constant);
    code.broadcast(s.constant, pool.at(-kExpLn2High));
    code.multiply_add(s.x, s.n, s.constant, result);
    code.broadcast(s.constant, pool.at(-kExpLn2Low));
    code.multiply_add(s.x, s.n, s.constant, result);

    code.broadcast(result, pool.at(kExpCoefficients[0]));
    for (size_t i = 1; i < sizeof kExpCoefficients / sizeof(float); ++i) {
        code.broadcast(s.constant, pool.at(kExpCoefficients[i]));
        code.multiply_add_to(result, s.x, s.constant);
    }
    code.broadcast(s.constant, pool.at_bits(kFloatExponentBias));
    code.add_32(s.shifted, s.shifted, s.constant);
    code.shift_left_32(s.shifted, s.shifted, kFloatExponentShift);
    code.multiply(result, result, s.shifted);
}

/// gate = gate / (1 + e^-gate) * up. `result` is one more scratch register.
template <typename A>
void emit_silu_multiply(VectorCode<A>& code, ConstantPool<A>& pool, unsigned gate, unsigned up,
                        unsigned result, const ExponentialScratch& s) {
    role(code.a, code.reg(s.constant), "constant");
    role(code.a, code.reg(result), "-gate");
    code.broadcast(s.constant, pool.at(-1.0f));
    code.multiply(result, gate, s.constant);
    emit_exponential(code, pool, result, s);
    code.broadcast(s.constant, pool.at(1.0f));
    role(code.a, code.reg(result), "1 + e^-gate");
    code.add(result, result, s.constant);
    role(code.a, code.reg(gate), "silu");
    code.divide(gate, gate, result);
    code.multiply(gate, gate, up);
}

}  // namespace bareflow
