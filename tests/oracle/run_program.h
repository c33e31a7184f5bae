// Calls an assembler's methods, by their public names, for the steps of a program.
#pragma once

#include <utility>

#include "tests/oracle/program.h"

namespace bareflow::x86 {

namespace run_detail {

inline KMask mask_of(const AnyOperand& operand) {
    return k((operand.masking() & operand_bits::kMask) >> operand_bits::kMaskShift);
}
template <typename V>
V vector_as(const AnyOperand& operand) {
    const V masked = V(operand.vec().id()).masked(mask_of(operand));
    return operand.vec().zeroing() ? masked.zeroed() : masked;
}

template <typename T>
T as(const AnyOperand& operand) {
    const bool memory = operand.kind() == AnyOperand::Kind::kMemory;
    if constexpr (std::is_same_v<T, Vec>) {
        return operand.vec();
    } else if constexpr (std::is_base_of_v<Vec, T>) {
        return vector_as<T>(operand);
    } else if constexpr (std::is_same_v<T, VecMem>) {
        return memory ? T(operand.memory()) : T(operand.vec());
    } else if constexpr (std::is_same_v<T, XmmMem>) {
        return memory ? T(operand.memory()) : T(vector_as<Xmm>(operand));
    } else if constexpr (std::is_same_v<T, YmmMem>) {
        return memory ? T(operand.memory()) : T(vector_as<Ymm>(operand));
    } else if constexpr (std::is_same_v<T, Gp>) {
        return operand.gp();
    } else if constexpr (std::is_same_v<T, GpMem>) {
        return memory ? T(operand.memory()) : T(operand.gp());
    } else if constexpr (std::is_same_v<T, KMask>) {
        return operand.mask_register();
    } else if constexpr (std::is_same_v<T, KMem>) {
        return memory ? T(operand.memory()) : T(operand.mask_register());
    } else if constexpr (std::is_same_v<T, Mem>) {
        return operand.memory();
    } else if constexpr (std::is_same_v<T, Label>) {
        return operand.label();
    } else {
        return static_cast<T>(operand.immediate());
    }
}

template <typename A, typename... Types, size_t... i>
void call(A& a, void (InstructionSet<A>::*method)(Types...), const Operands& operands,
          std::index_sequence<i...>) {
    (a.*method)(as<Types>(operands[i])...);
}
template <typename A, typename... Types>
void call(A& a, void (InstructionSet<A>::*method)(Types...), const Operands& operands) {
    call(a, method, operands, std::index_sequence_for<Types...>());
}

template <typename A>
void emit_form(A& a, Form form, const Operands& operands) {
    using Caller = void (*)(A&, const Operands&);
    static constexpr Caller kCallers[] = {
#define FORM(form, method, asmjit, main, evex, ...)                                                        \
    [](A& to, const Operands& list) {                                                                      \
        call(to, static_cast<void (InstructionSet<A>::*)(__VA_ARGS__)>(&InstructionSet<A>::method), list); \
    },
#include "emitter/instructions.inc"
    };
    kCallers[static_cast<unsigned>(form)](a, operands);
}

}  // namespace run_detail

/// Runs `program` through `a` to the end and fetches the result.
template <typename A>
Assembled run_program(A& a, const Program& program) {
    Assembled result;
    std::vector<Label> labels;
    const auto resolve = [&](Operands operands) {  // the program's label numbers to the assembler's
        for (AnyOperand& operand : operands) {
            if (operand.kind() == AnyOperand::Kind::kLabel && operand.label().id < labels.size()) {
                const Label label = labels[operand.label().id];
                operand = operand.label().in_short_reach ? label.near() : label;
            }
        }
        return operands;
    };
    for (const Step& step : program) {
        result.starts.push_back(a.size());
        switch (step.kind) {
            case Step::Kind::kInstruction:
                run_detail::emit_form(a, step.form, resolve(step.operands));
                break;
            case Step::Kind::kMoveConstant:
                a.mov(step.operands[0].gp(), step.value);
                break;
            case Step::Kind::kNewLabel:
                labels.push_back(a.new_label());
                break;
            case Step::Kind::kBind:
                a.bind(labels.at(static_cast<size_t>(step.value)));
                break;
            case Step::Kind::kAlign:
                a.align(static_cast<unsigned>(step.value));
                break;
            case Step::Kind::kEmbed: {
                const std::vector<uint8_t> filler(static_cast<size_t>(step.value), 0x90);
                a.embed(filler);
                break;
            }
        }
    }
    result.error = a.finish();
    result.size = a.size();
    const ByteSpan code = a.code();
    result.bytes.assign(code.begin(), code.end());
    return result;
}

}  // namespace bareflow::x86
