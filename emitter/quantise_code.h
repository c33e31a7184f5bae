// Inputs of quantised matrices: 32 floats become a Q8Group or a Q8WordGroup, as model/quantised_kernels.h defines it. Vectors of 16 bytes
// whatever the ISA: the eight of a group fill the registers, and it is a hundredth of the products' work.
#pragma once

#include "arch/base/quantised.h"
#include "emitter/constant_pool.h"
#include "emitter/roles.h"
#include "emitter/vector_code.h"

namespace bareflow {

template <typename A>
class QuantiseCode {
 public:
    QuantiseCode(A& assembler, const RoutineKey& key, const Plan& plan)
        : a_(assembler),
          key_(key),
          code_(assembler, key.isa, key.numerics, plan.vector_bytes),
          pool_(assembler, x86::rax) {}

    /// QuantiseArguments in rdi.
    void emit() {
        pool_.load_base();
        role(a_, kX, "x");
        role(a_, kGroups, "groups");
        role(a_, kLeft, "groups left");
        a_.mov(kX, x86::ptr(x86::rdi, offsetof(QuantiseArguments, x)));
        a_.mov(kGroups, x86::ptr(x86::rdi, offsetof(QuantiseArguments, groups)));
        a_.mov(kLeft.r32(), static_cast<int64_t>(key_.n / kGroup));
        for (unsigned i = 0; i < kVectors; ++i) role(a_, code_.reg(i), "x");
        role(a_, code_.reg(kLargest), "largest");
        role(a_, code_.reg(kScratch), "scratch");
        x86::Label again = a_.new_label();
        role(a_, again, "next_group");
        a_.bind(again);
        for (unsigned i = 0; i < kVectors; ++i) code_.load(i, x86::ptr(kX, int64_t{i} * code_.bytes()));
        find_largest();
        find_scale();
        round();
        pack();
        a_.add(kX, static_cast<int32_t>(kGroup * sizeof(float)));
        a_.add(kGroups, static_cast<int32_t>(sizeof(Q8Group)));
        a_.dec(kLeft.r32());
        a_.jnz(again);
        code_.leave();
        pool_.place();
    }

 private:
    static constexpr x86::Gp kX = x86::rsi, kGroups = x86::rdi, kLeft = x86::rcx;
    static constexpr unsigned kVectors = 8, kLargest = 8, kScratch = 9, kOther = 10, kConstant = 11;
    static constexpr uint32_t kMagnitudeBits = 0x7FFFFFFF, kOneWords = 0x00010001;
    static constexpr uint8_t kSwapHalves = 0x4E;  ///< of a vector: lanes 2, 3, 0, 1

    /// All lanes of kLargest = the largest magnitude; a NaN is passed over.
    void find_largest() {
        code_.broadcast(kConstant, pool_.at_bits(kMagnitudeBits));
        code_.zero(kLargest);
        code_.zero(kOther);
        for (unsigned i = 0; i < kVectors; ++i) {
            code_.and_bits(kScratch, kConstant, i);
            code_.maximum_into(i % 2 == 0 ? kLargest : kOther, kScratch);
        }
        code_.maximum_into(kLargest, kOther);
        swap_halves(kScratch, kLargest);
        code_.maximum_into(kLargest, kScratch);
        code_.swap_pairs(kScratch, kLargest);
        code_.maximum_into(kLargest, kScratch);
    }
    void swap_halves(unsigned to, unsigned from) {
        code_.vex() ? a_.vpshufd(code_.reg(to), code_.reg(from), kSwapHalves)
                    : a_.pshufd(x86::xmm(to), x86::xmm(from), kSwapHalves);
    }

    /// Stores the scale, largest / 127; all lanes of kLargest = 1 / scale. Both are 0 where the group counts as zeros.
    void find_scale() {
        constexpr uint8_t kNotLess = 5;  // of cmpps: SDM 2A table 3-1
        constexpr unsigned kKept = kOther, kOne = kConstant;
        code_.broadcast(kScratch, pool_.at(kSmallestQ8Group));
        if (code_.vex()) {
            a_.vcmpps(code_.reg(kKept), code_.reg(kLargest), code_.reg(kScratch), kNotLess);
        } else {
            a_.movaps(x86::xmm(kKept), x86::xmm(kLargest));
            a_.cmpps(x86::xmm(kKept), x86::xmm(kScratch), kNotLess);
        }
        code_.broadcast(kScratch, pool_.at(kLargestQ8));
        code_.divide(kLargest, kLargest, kScratch);
        code_.broadcast(kOne, pool_.at(1.0f));
        code_.divide(kScratch, kOne, kLargest);
        code_.and_bits(kLargest, kKept, kLargest);
        code_.store_float(x86::ptr(kGroups, offsetof(Q8Group, scale)), kLargest);
        code_.and_bits(kLargest, kKept, kScratch);
    }

    /// Each x times kLargest, held within ±127 (a NaN becomes -127), rounded to a whole number.
    void round() {
        constexpr unsigned kHighest = kOther, kLowest = kConstant;
        code_.broadcast(kLowest, pool_.at(-kLargestQ8));
        code_.broadcast(kHighest, pool_.at(kLargestQ8));
        for (unsigned i = 0; i < kVectors; ++i) {
            code_.multiply(i, i, kLargest);
            code_.maximum(i, i, kLowest);
            code_.minimum(i, i, kHighest);
            code_.vex() ? a_.vcvtps2dq(code_.reg(i), code_.reg(i)) : a_.cvtps2dq(x86::xmm(i), x86::xmm(i));
        }
    }

    /// 32 whole numbers become words, their sum is stored, and then they are.
    void pack() {
        for (unsigned i = 0; i < kVectors; i += 2) {
            code_.vex() ? a_.vpackssdw(code_.reg(i), code_.reg(i), code_.reg(i + 1))
                        : a_.packssdw(x86::xmm(i), x86::xmm(i + 1));
        }
        store_sum();
        if (key_.operation == Operation::kQuantiseWords) return store_words();
        for (unsigned i = 0; i < kVectors; i += 4) store_bytes(offsetof(Q8Group, q), i, i, i + 2);
        for (unsigned i = 0; i < kVectors; i += 2) take_magnitudes(i);
        for (unsigned i = 0; i < kVectors; i += 4) store_bytes(offsetof(Q8Group, magnitude), i, i, i + 2);
    }
    void store_sum() {
        constexpr unsigned kSum = kScratch;
        add_words(kSum, 0, 2);
        add_words(kOther, 4, 6);
        add_words(kSum, kSum, kOther);
        code_.broadcast(kConstant, pool_.at_bits(kOneWords));
        code_.vex() ? a_.vpmaddwd(code_.reg(kSum), code_.reg(kSum), code_.reg(kConstant))
                    : a_.pmaddwd(x86::xmm(kSum), x86::xmm(kConstant));
        swap_halves(kOther, kSum);
        code_.add_32(kSum, kSum, kOther);
        code_.swap_pairs(kOther, kSum);
        code_.add_32(kSum, kSum, kOther);
        code_.store_float(x86::ptr(kGroups, offsetof(Q8Group, sum)), kSum);
    }
    /// The 16 words of two registers as bytes, inputs 4 i to 4 i + 15; keeps them.
    void store_bytes(size_t array, unsigned i, unsigned low, unsigned high) {
        if (code_.vex()) {
            a_.vpacksswb(code_.reg(kScratch), code_.reg(low), code_.reg(high));
        } else {
            code_.copy(kScratch, low);
            a_.packsswb(x86::xmm(kScratch), x86::xmm(high));
        }
        code_.store(x86::ptr(kGroups, static_cast<int64_t>(array + i * kQuad)), kScratch);
    }
    /// The larger of each word and its negative.
    void take_magnitudes(unsigned words) {
        code_.zero(kScratch);
        if (code_.vex()) {
            a_.vpsubw(code_.reg(kScratch), code_.reg(kScratch), code_.reg(words));
            a_.vpmaxsw(code_.reg(words), code_.reg(words), code_.reg(kScratch));
        } else {
            a_.psubw(x86::xmm(kScratch), x86::xmm(words));
            a_.pmaxsw(x86::xmm(words), x86::xmm(kScratch));
        }
    }
    /// Of each quad the even words before the odd ones.
    void store_words() {
        constexpr uint8_t kEvenBeforeOdd = 0xD8;  // 0, 2, 1, 3
        for (unsigned i = 0; i < kVectors; i += 2) {
            if (code_.vex()) {
                a_.vpshuflw(code_.reg(i), code_.reg(i), kEvenBeforeOdd);
                a_.vpshufhw(code_.reg(i), code_.reg(i), kEvenBeforeOdd);
            } else {
                a_.pshuflw(x86::xmm(i), x86::xmm(i), kEvenBeforeOdd);
                a_.pshufhw(x86::xmm(i), x86::xmm(i), kEvenBeforeOdd);
            }
            code_.store(x86::ptr(kGroups, int64_t{i} * code_.bytes() / 2), i);
        }
    }
    void add_words(unsigned to, unsigned x, unsigned y) {
        if (code_.vex()) return a_.vpaddw(code_.reg(to), code_.reg(x), code_.reg(y));
        code_.copy(to, x);
        a_.paddw(x86::xmm(to), x86::xmm(y));
    }

    A& a_;
    const RoutineKey& key_;
    VectorCode<A> code_;
    ConstantPool<A> pool_;
};

}  // namespace bareflow
