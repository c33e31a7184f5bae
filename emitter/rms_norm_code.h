// y = (x * 1 / sqrt(mean(x²) + eps)) * weight.
#pragma once

#include "emitter/constant_pool.h"
#include "emitter/reduction_code.h"

namespace bareflow {

template <typename A>
class RmsNormCode {
 public:
    RmsNormCode(A& assembler, const RoutineKey& key, const Plan& plan)
        : a_(assembler),
          key_(key),
          code_(assembler, key.isa, key.numerics, plan.vector_bytes),
          pool_(assembler, x86::rax) {}

    /// RmsNormArguments in rdi.
    void emit() {
        pool_.load_base();
        role(a_, kX, "x");
        role(a_, kWeight, "weight");
        role(a_, kY, "y");
        role(a_, kIndex, "bytes done");
        a_.mov(kX, x86::ptr(x86::rdi, offsetof(RmsNormArguments, x)));
        a_.mov(kWeight, x86::ptr(x86::rdi, offsetof(RmsNormArguments, weight)));
        a_.mov(kY, x86::ptr(x86::rdi, offsetof(RmsNormArguments, y)));
        SharedLanes<A> sums(code_, 0);
        for (unsigned i = 0; i < sums.count(); ++i) role(a_, code_.reg(sums.at(i)), "sum");
        role(a_, code_.reg(kValue), "x[i]");
        role(a_, code_.reg(kScratch), "scratch");
        sums.zero();
        sum_squares(sums);
        sums.reduce(kScratch);
        inverse_root();
        role(a_, code_.reg(kInverse), "1/rms");
        code_.broadcast_lane0(kInverse, 0);
        scale();
        code_.leave();
        pool_.place();
    }

 private:
    static constexpr x86::Gp kX = x86::rsi, kWeight = x86::rdx, kY = x86::rdi, kIndex = x86::rcx;
    static constexpr unsigned kValue = 5, kScratch = 6, kInverse = 7;
    static constexpr int64_t kFloat = sizeof(float);

    void sum_squares(SharedLanes<A>& sums) {
        const unsigned whole = key_.n / kSharedLanes * kSharedLanes, tail = key_.n - whole;
        if (whole != 0) {
            loop(whole, kSharedLanes, [&] {
                for (unsigned i = 0; i < sums.count(); ++i) {
                    code_.load(kValue, x86::ptr(kX, kIndex, 1, i * code_.bytes()));
                    code_.multiply_add(sums.at(i), kValue, kValue, kScratch);
                }
            });
        }
        if (tail == 0) return;
        // The tail with zeros behind it, in the red zone: a product with zero changes no sum.
        constexpr int64_t kRedZone = -64;
        code_.zero(kValue);
        for (unsigned i = 0; i < sums.count(); ++i)
            code_.store(x86::ptr(x86::rsp, kRedZone + i * code_.bytes()), kValue);
        for (unsigned i = 0; i < tail; ++i) {
            a_.mov(kIndex.r32(), x86::ptr(kX, (int64_t{whole} + i) * kFloat));
            a_.mov(x86::ptr(x86::rsp, kRedZone + i * kFloat), kIndex.r32());
        }
        for (unsigned i = 0; i < sums.count(); ++i) {
            code_.load(kValue, x86::ptr(x86::rsp, kRedZone + i * code_.bytes()));
            code_.multiply_add(sums.at(i), kValue, kValue, kScratch);
        }
    }

    /// xmm0 = 1 / sqrt(xmm0 / n + eps)
    void inverse_root() {
        const x86::Xmm sum = x86::xmm(0), one = x86::xmm(kValue);
        const x86::Mem n = pool_.at(static_cast<float>(key_.n)), eps = pool_.at(key_.eps),
                       unit = pool_.at(1.0f);
        if (code_.vex()) {
            a_.vdivss(sum, sum, n);
            a_.vaddss(sum, sum, eps);
            a_.vsqrtss(sum, sum, sum);
            a_.vmovss(one, unit);
            a_.vdivss(sum, one, sum);
        } else {
            a_.divss(sum, n);
            a_.addss(sum, eps);
            a_.sqrtss(sum, sum);
            a_.movss(one, unit);
            a_.divss(one, sum);
            a_.movaps(sum, one);
        }
    }

    void scale() {
        const unsigned whole = key_.n / code_.lanes() * code_.lanes();
        if (whole != 0) {
            loop(whole, code_.lanes(), [&] {
                code_.load(kValue, x86::ptr(kX, kIndex, 1));
                code_.multiply(kValue, kValue, kInverse);
                code_.load(kScratch, x86::ptr(kWeight, kIndex, 1));
                code_.multiply(kValue, kValue, kScratch);
                code_.store(x86::ptr(kY, kIndex, 1), kValue);
            });
        }
        const x86::Xmm value = x86::xmm(kValue), inverse = x86::xmm(kInverse);
        for (unsigned i = whole; i < key_.n; ++i) {
            const int64_t place = int64_t{i} * kFloat;
            if (code_.vex()) {
                a_.vmulss(value, inverse, x86::ptr(kX, place));
                a_.vmulss(value, value, x86::ptr(kWeight, place));
                a_.vmovss(x86::ptr(kY, place), value);
            } else {
                a_.movss(value, x86::ptr(kX, place));
                a_.mulss(value, inverse);
                a_.mulss(value, x86::ptr(kWeight, place));
                a_.movss(x86::ptr(kY, place), value);
            }
        }
    }

    /// kIndex goes over the bytes of `count` floats in steps of `step` floats.
    template <typename Body>
    void loop(unsigned count, unsigned step, Body body) {
        x86::Label again = a_.new_label();
        role(a_, again, "next_floats");
        a_.xor_(kIndex.r32(), kIndex.r32());
        a_.bind(again);
        body();
        a_.add(kIndex, static_cast<int32_t>(step * kFloat));
        a_.cmp(kIndex, static_cast<int32_t>(count * kFloat));
        a_.jb(again);
    }

    A& a_;
    const RoutineKey& key_;
    VectorCode<A> code_;
    ConstantPool<A> pool_;
};

}  // namespace bareflow
