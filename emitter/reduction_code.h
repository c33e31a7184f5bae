// Sums that share 16 lanes: the fixed order and tree of norms, softmax and attention scores.
#pragma once

#include "emitter/vector_code.h"

namespace bareflow {

constexpr unsigned kSharedLanes = 16;

template <typename A>
class SharedLanes {
 public:
    /// The 16 lanes lie in 16 / lanes registers from `first` on.
    SharedLanes(VectorCode<A>& code, unsigned first) : code_(code), a_(code.a), first_(first) {}

    unsigned count() const { return kSharedLanes / code_.lanes(); }
    unsigned at(unsigned i) const { return first_ + i; }

    void zero() {
        for (unsigned i = 0; i < count(); ++i) code_.zero(at(i));
    }

    /// Lane 0 of the first register = the sum by the tree 16, 8, 4, 2, 1, lane i with lane i + half.
    void reduce(unsigned scratch) {
        for (unsigned half = count() / 2; half > 0; half /= 2) {
            for (unsigned i = 0; i < half; ++i) code_.add(at(i), at(i), at(i + half));
        }
        const x86::Xmm sum = x86::xmm(first_), other = x86::xmm(scratch);
        if (code_.lanes() == 16) {
            a_.vextractf64x4(x86::ymm(scratch), x86::zmm(first_), 1);
            a_.vaddps(x86::ymm(first_), x86::ymm(first_), x86::ymm(scratch));
        }
        if (code_.lanes() >= 8) {
            a_.vextractf128(other, x86::ymm(first_), 1);
            a_.vaddps(sum, sum, other);
        }
        if (code_.vex()) {
            a_.vmovhlps(other, other, sum);
            a_.vaddps(sum, sum, other);
            a_.vmovshdup(other, sum);
            a_.vaddss(sum, sum, other);
        } else {
            a_.movhlps(other, sum);
            a_.addps(sum, other);
            a_.movaps(other, sum);
            a_.shufps(other, other, kShufflePairs);
            a_.addss(sum, other);
        }
    }

 private:
    VectorCode<A>& code_;
    A& a_;
    unsigned first_;
};

}  // namespace bareflow
