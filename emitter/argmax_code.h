// The index of the largest value: as a routine, and behind the projection that makes the logits.
//
// The maximum is found first, in lanes and in any order (it is the same), then the first value that equals it. A NaN is
// never the largest; where there is nothing else the index is 0; ties go to the lowest index.
#pragma once

#include <limits>

#include "emitter/constant_pool.h"
#include "emitter/roles.h"
#include "emitter/vector_code.h"

namespace bareflow {

template <typename A>
class ArgmaxCode {
 public:
    /// `best` collects the maximum, lane by lane.
    ArgmaxCode(VectorCode<A>& code, ConstantPool<A>& pool, unsigned best)
        : code_(code), pool_(pool), a_(code.a), best_(best) {}

    void begin() {
        role(a_, code_.reg(best_), "largest");
        code_.broadcast(best_, pool_.at(-std::numeric_limits<float>::infinity()));
    }
    /// maxps takes its second operand where either is NaN: what is in `value` is lost, not what was collected.
    void include(unsigned value) { code_.maximum_into(best_, value); }
    /// One float in memory; `scratch` is overwritten.
    void include(x86::Mem value, unsigned scratch) {
        code_.broadcast(scratch, value);
        include(scratch);
    }

    /// `index` = that of the first of n `values` that equals the maximum. Overwrites vector registers 0 and 1.
    void find_first(x86::Gp values, x86::Gp index, x86::Gp bits, unsigned n) {
        constexpr unsigned kLow = 0, scratch = 1;  // VEX reaches the lower 16 registers only
        code_.copy(kLow, best_);
        best_ = kLow;
        reduce(scratch);
        code_.broadcast_lane0(best_, best_);
        const unsigned lanes = search_lanes();
        const unsigned whole = n / lanes * lanes;
        x86::Label found = a_.new_label(), done = a_.new_label();
        role(a_, index, "index");
        role(a_, bits, "equal lanes");
        role(a_, found, "found");
        role(a_, done, "index_known");
        a_.xor_(index.r32(), index.r32());
        if (whole != 0) {
            x86::Label again = a_.new_label();
            a_.bind(again);
            equal_lanes(bits, x86::ptr(values, index, 4), scratch);
            a_.test(bits.r32(), bits.r32());
            a_.jnz(found);
            a_.add(index, static_cast<int32_t>(lanes));
            a_.cmp(index, static_cast<int32_t>(whole));
            a_.jb(again);
        }
        if (whole != n) {
            x86::Label again = a_.new_label(), next = a_.new_label();
            a_.bind(again);
            compare_float(x86::ptr(values, index, 4));
            a_.jp(next);  // ZF is set where unordered, too; PF tells (Intel SDM 2B "UCOMISS")
            a_.je(done);
            a_.bind(next);
            a_.inc(index);
            a_.cmp(index, static_cast<int32_t>(n));
            a_.jb(again);
        }
        a_.xor_(index.r32(), index.r32());
        a_.jmp(done);
        a_.bind(found);
        if (whole != 0) {
            a_.bsf(bits.r32(), bits.r32());
            a_.add(index, bits);
        }
        a_.bind(done);
    }

 private:
    /// Masks are looked at in general registers: 4 or 8 lanes at a time will do, the values are few.
    unsigned search_lanes() const { return code_.lanes() < 8 ? code_.lanes() : 8; }

    void equal_lanes(x86::Gp bits, x86::Mem values, unsigned scratch) {
        constexpr uint8_t kEqual = 0;  // ordered, quiet (Intel SDM 2A table 3-1)
        if (code_.vex()) {
            const auto length = search_lanes() == 8 ? x86::VecLength::kYmm : x86::VecLength::kXmm;
            const x86::Vec lanes = x86::vec(length, scratch), best = x86::vec(length, best_);
            a_.vcmpps(lanes, best, values, kEqual);
            a_.vmovmskps(bits.r32(), lanes);
        } else {
            a_.movups(x86::xmm(scratch), values);
            a_.cmpps(x86::xmm(scratch), x86::xmm(best_), kEqual);
            a_.movmskps(bits.r32(), x86::xmm(scratch));
        }
    }
    void compare_float(x86::Mem value) {
        if (code_.vex()) {
            a_.vucomiss(x86::xmm(best_), value);
        } else {
            a_.ucomiss(x86::xmm(best_), value);
        }
    }
    /// Lane 0 of best_ = the largest of its lanes.
    void reduce(unsigned scratch) {
        const x86::Xmm best = x86::xmm(best_), other = x86::xmm(scratch);
        if (code_.lanes() == 16) {
            a_.vextractf64x4(x86::ymm(scratch), x86::zmm(best_), 1);
            a_.vmaxps(x86::ymm(best_), x86::ymm(best_), x86::ymm(scratch));
        }
        if (code_.lanes() >= 8) {
            a_.vextractf128(other, x86::ymm(best_), 1);
            a_.vmaxps(best, best, other);
        }
        if (code_.vex()) {
            a_.vmovhlps(other, other, best);
            a_.vmaxps(best, best, other);
            a_.vmovshdup(other, best);
            a_.vmaxps(best, best, other);
        } else {
            a_.movhlps(other, best);
            a_.maxps(best, other);
            a_.movaps(other, best);
            a_.shufps(other, other, kShufflePairs);
            a_.maxps(best, other);
        }
    }

    VectorCode<A>& code_;
    ConstantPool<A>& pool_;
    A& a_;
    unsigned best_;
};

/// The routine over values in memory.
template <typename A>
class ArgmaxRoutine {
 public:
    ArgmaxRoutine(A& assembler, const RoutineKey& key, const Plan& plan)
        : a_(assembler),
          key_(key),
          code_(assembler, key.isa, key.numerics, plan.vector_bytes),
          pool_(assembler, x86::r8),
          argmax_(code_, pool_, kBest) {}

    /// ArgmaxArguments in rdi.
    void emit() {
        pool_.load_base();
        a_.mov(kValues, x86::ptr(x86::rdi, offsetof(ArgmaxArguments, values)));
        argmax_.begin();
        const unsigned lanes = code_.lanes(), whole = key_.n / lanes * lanes;
        if (whole != 0) {
            x86::Label again = a_.new_label();
            a_.xor_(kIndex.r32(), kIndex.r32());
            a_.bind(again);
            code_.load(kValue, x86::ptr(kValues, kIndex, 4));
            argmax_.include(kValue);
            a_.add(kIndex, static_cast<int32_t>(lanes));
            a_.cmp(kIndex, static_cast<int32_t>(whole));
            a_.jb(again);
        }
        for (unsigned i = whole; i < key_.n; ++i) argmax_.include(x86::ptr(kValues, int64_t{i} * 4), kValue);
        argmax_.find_first(kValues, kIndex, x86::rax, key_.n);
        a_.mov(kValues, x86::ptr(x86::rdi, offsetof(ArgmaxArguments, index)));
        a_.mov(x86::ptr(kValues), kIndex);
        code_.leave();
        pool_.place();
    }

 private:
    static constexpr x86::Gp kValues = x86::rsi, kIndex = x86::rcx;
    static constexpr unsigned kValue = 0, kBest = 2;

    A& a_;
    const RoutineKey& key_;
    VectorCode<A> code_;
    ConstantPool<A> pool_;
    ArgmaxCode<A> argmax_;
};

}  // namespace bareflow
