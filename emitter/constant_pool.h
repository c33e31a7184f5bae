// 32-bit constants behind a routine's code, reached by a register that points at them: one label, however many uses.
// The same constant is stored once.
#pragma once

#include <bit>
#include <cstdint>

#include "emitter/instruction_set.h"
#include "emitter/roles.h"

namespace bareflow {

template <typename A>
class ConstantPool {
 public:
    /// `base` holds the pool's address from load_base() to the end of the routine.
    ConstantPool(A& assembler, x86::Gp base) : a_(assembler), label_(assembler.new_label()), base_(base) {}

    void load_base() {
        role(a_, base_, "constants");
        role(a_, label_, "constants");
        a_.lea(base_, x86::ptr(label_));
    }

    x86::Mem at(float value) { return at_bits(std::bit_cast<uint32_t>(value)); }
    x86::Mem at_bits(uint32_t bits) {
        unsigned i = 0;
        while (i < count_ && values_[i] != bits) ++i;
        if (i == kCapacity) return x86::ptr(x86::Label{});  // this does not exist: the assembler refuses it
        if (i == count_) values_[count_++] = bits;
        return x86::ptr(base_, static_cast<int64_t>(i * sizeof(uint32_t)));
    }

    /// Writes the constants; call once, behind the last instruction.
    void place() {
        a_.align(sizeof(uint32_t));
        a_.bind(label_);
        for (unsigned i = 0; i < count_; ++i) a_.embed_u32(values_[i]);
    }

 private:
    static constexpr unsigned kCapacity = 32;
    A& a_;
    x86::Label label_;
    x86::Gp base_;
    uint32_t values_[kCapacity] = {};
    unsigned count_ = 0;
};

}  // namespace bareflow
