// Weights of a softmax, as a part of attention and as a routine: e^(x - max) of any number of values, in place, and one
// over their sum. The sum goes over 16 shared lanes.
#pragma once

#include "emitter/constant_pool.h"
#include "emitter/exponential_code.h"
#include "emitter/reduction_code.h"
#include "emitter/roles.h"

namespace bareflow {

template <typename A>
class SoftmaxCode {
 public:
    /// `values` points at `count` >= 1 floats; both stay. The others are overwritten.
    struct Registers {
        x86::Gp values, count, index, end, temporary;
    };
    /// xmm that holds 1 / sum after weights(), which overwrites vector registers 0 to 14.
    static constexpr unsigned kInverseSum = 15;

    SoftmaxCode(VectorCode<A>& code, ConstantPool<A>& pool, Registers registers)
        : code_(code), pool_(pool), a_(code.a), r_(registers) {}

    /// values[i] = e^(values[i] - the largest of them)
    void weights() {
        role(a_, code_.reg(kMaximum), "maximum");
        role(a_, code_.reg(kValue), "value");
        maximum();
        SharedLanes<A> sums(code_, 0);
        for (unsigned i = 0; i < sums.count(); ++i) role(a_, code_.reg(sums.at(i)), "sum of e^x");
        sums.zero();
        // Whole groups of 16, then one more with zeros where there are no values.
        x86::Label whole = a_.new_label(), tail = a_.new_label(), done = a_.new_label();
        role(a_, whole, "next_16_values");
        role(a_, tail, "tail_of_values");
        role(a_, done, "all_values");
        a_.xor_(r_.index.r32(), r_.index.r32());
        a_.mov(r_.end, r_.count);
        a_.and_(r_.end, -static_cast<int32_t>(kSharedLanes));
        a_.jz(tail);
        a_.bind(whole);
        for (unsigned v = 0; v < sums.count(); ++v) {
            const x86::Mem place = x86::ptr(r_.values, r_.index, 4, v * code_.bytes());
            code_.load(kValue, place);
            code_.subtract(kValue, kValue, kMaximum);
            emit_exponential(code_, pool_, kValue, kExponential);
            code_.store(place, kValue);
            code_.add(sums.at(v), sums.at(v), kValue);
        }
        a_.add(r_.index, static_cast<int32_t>(kSharedLanes));
        a_.cmp(r_.index, r_.end);
        a_.jb(whole);
        a_.bind(tail);
        a_.cmp(r_.index, r_.count);
        a_.jae(done);
        add_tail(sums);
        a_.bind(done);
        sums.reduce(kScratch);
        const x86::Xmm sum = x86::xmm(0), inverse = x86::xmm(kInverseSum);
        role(a_, inverse, "1/sum");
        if (code_.vex()) {
            a_.vmovss(inverse, pool_.at(1.0f));
            a_.vdivss(inverse, inverse, sum);
        } else {
            a_.movss(inverse, pool_.at(1.0f));
            a_.divss(inverse, sum);
        }
    }

 private:
    static constexpr unsigned kValue = 4, kScratch = 5, kMaximum = 14;
    static constexpr ExponentialScratch kExponential{9, 10, 11, 12};

    /// All lanes of kMaximum = the largest value. As the reference: a later one replaces it only if it is greater.
    void maximum() {
        x86::Label again = a_.new_label();
        code_.load_float(kMaximum, x86::ptr(r_.values));
        a_.xor_(r_.index.r32(), r_.index.r32());
        a_.bind(again);
        code_.load_float(kValue, x86::ptr(r_.values, r_.index, 4));
        const x86::Xmm largest = x86::xmm(kMaximum), value = x86::xmm(kValue);
        if (code_.vex()) {
            a_.vmaxss(largest, value, largest);
        } else {
            a_.maxss(value, largest);
            a_.movaps(largest, value);
        }
        a_.inc(r_.index);
        a_.cmp(r_.index, r_.count);
        a_.jb(again);
        code_.broadcast_lane0(kMaximum, kMaximum);
    }
    /// The last values one by one: each into its lane's place in the red zone, whose other lanes are zero.
    void add_tail(SharedLanes<A>& sums) {
        constexpr int64_t kRedZone = -64;
        code_.zero(kValue);
        for (unsigned v = 0; v < sums.count(); ++v)
            code_.store(x86::ptr(x86::rsp, kRedZone + v * code_.bytes()), kValue);
        x86::Label again = a_.new_label();
        VectorCode<A> one(a_, code_.isa(), code_.numerics(), 16);
        const x86::Mem value = x86::ptr(r_.values, r_.index, 4);
        a_.xor_(r_.temporary.r32(), r_.temporary.r32());
        a_.bind(again);
        one.load_float(kValue, value);
        one.subtract(kValue, kValue, kMaximum);
        emit_exponential(one, pool_, kValue, kExponential);
        one.store_float(value, kValue);
        one.store_float(x86::ptr(x86::rsp, r_.temporary, 4, kRedZone), kValue);
        a_.inc(r_.temporary);
        a_.inc(r_.index);
        a_.cmp(r_.index, r_.count);
        a_.jb(again);
        for (unsigned v = 0; v < sums.count(); ++v) {
            code_.load(kValue, x86::ptr(x86::rsp, kRedZone + v * code_.bytes()));
            code_.add(sums.at(v), sums.at(v), kValue);
        }
    }

    VectorCode<A>& code_;
    ConstantPool<A>& pool_;
    A& a_;
    Registers r_;
};

/// The routine: values become probabilities, in place.
template <typename A>
class SoftmaxRoutine {
 public:
    SoftmaxRoutine(A& assembler, const RoutineKey& key, const Plan& plan)
        : a_(assembler),
          key_(key),
          code_(assembler, key.isa, key.numerics, plan.vector_bytes),
          pool_(assembler, x86::r8),
          weights_(code_, pool_, {kValues, kCount, kIndex, kEnd, x86::rax}) {}

    /// SoftmaxArguments in rdi.
    void emit() {
        role(a_, kValues, "values");
        role(a_, kCount, "count");
        role(a_, kIndex, "index");
        role(a_, kEnd, "end");
        pool_.load_base();
        a_.mov(kValues, x86::ptr(x86::rdi, offsetof(SoftmaxArguments, values)));
        a_.mov(kCount.r32(), int64_t{key_.n});
        weights_.weights();
        constexpr unsigned kInverse = SoftmaxCode<A>::kInverseSum, kValue = 0;
        code_.broadcast_lane0(kInverse, kInverse);
        const unsigned whole = key_.n / code_.lanes() * code_.lanes();
        if (whole != 0) {
            x86::Label again = a_.new_label();
            a_.xor_(kIndex.r32(), kIndex.r32());
            a_.bind(again);
            code_.load(kValue, x86::ptr(kValues, kIndex, 4));
            code_.multiply(kValue, kValue, kInverse);
            code_.store(x86::ptr(kValues, kIndex, 4), kValue);
            a_.add(kIndex, static_cast<int32_t>(code_.lanes()));
            a_.cmp(kIndex, static_cast<int32_t>(whole));
            a_.jb(again);
        }
        for (unsigned i = whole; i < key_.n; ++i) {
            const x86::Mem value = x86::ptr(kValues, int64_t{i} * 4);
            VectorCode<A> one(a_, key_.isa, key_.numerics, 16);
            one.load_float(kValue, value);
            one.multiply(kValue, kValue, kInverse);
            one.store_float(value, kValue);
        }
        code_.leave();
        pool_.place();
    }

 private:
    static constexpr x86::Gp kValues = x86::rsi, kCount = x86::rdx, kIndex = x86::rcx, kEnd = x86::r9;

    A& a_;
    const RoutineKey& key_;
    VectorCode<A> code_;
    ConstantPool<A> pool_;
    SoftmaxCode<A> weights_;
};

}  // namespace bareflow
