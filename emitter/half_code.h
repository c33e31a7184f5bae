// Binary16 to binary32 without F16C.
#pragma once

#include "emitter/constant_pool.h"
#include "emitter/vector_code.h"

namespace bareflow {

/// Four binary16 from memory as floats in xmm `to`; overwrites the three registers from `scratch` on. The magnitude's bits
/// are moved into place and scaled by 2^112 (exact also for subnormals), infinity's and NaN's exponent filled up, the sign
/// put back.
template <typename A>
void emit_load_halves_sse2(VectorCode<A>& code, ConstantPool<A>& pool, unsigned to, x86::Mem from,
                           unsigned scratch) {
    constexpr uint32_t kMagnitude = 0x7FFF, kLargestFinite = 0x7BFFu << 13, kInfinity = 0x7F800000;
    A& a = code.a;
    const x86::Xmm value = x86::xmm(to), sign = x86::xmm(scratch), constant = x86::xmm(scratch + 1),
                   special = x86::xmm(scratch + 2);
    a.xorps(sign, sign);
    a.movq(value, from);
    a.punpcklwd(value, sign);
    a.movaps(sign, value);
    code.broadcast(scratch + 1, pool.at_bits(kMagnitude));
    a.pand(value, constant);
    a.pxor(sign, value);
    a.pslld(sign, 16);
    a.pslld(value, 13);
    a.movaps(special, value);
    code.broadcast(scratch + 1, pool.at_bits(kLargestFinite));
    a.pcmpgtd(special, constant);
    code.broadcast(scratch + 1, pool.at_bits(kInfinity));
    a.pand(special, constant);
    code.broadcast(scratch + 1, pool.at(0x1p112f));
    a.mulps(value, constant);
    a.orps(value, special);
    a.orps(value, sign);
}

}  // namespace bareflow
