// What a generator tells those who read its code: what a register holds from here on, and what a label stands for.
//
//     role(a, kInput, "x");
//     role(a, code.reg(sum), "sum of row {}, panel {}", row, panel);
//     role(a, loop, "blocks");
//
// For an assembler that has no ear for it, all of them in the kernel, this is nothing: no call, no string. The listing of
// bareflow-emit has one (emitter/tools/annotated.h).
#pragma once

#include <string_view>

#include "arch/base/format.h"
#include "emitter/operands.h"

namespace bareflow {

using RoleText = FixedString<48>;

template <typename A>
concept HearsRoles = requires(A a, x86::Gp gp, x86::Vec vector, x86::Label label, RoleText text) {
    a.gp_role(gp, text);
    a.vector_role(vector, text);
    a.label_role(label, text);
};

template <typename A, typename... Arguments>
[[gnu::always_inline]] inline void role(A& a, x86::Gp reg, const char* pattern,
                                        const Arguments&... arguments) {
    if constexpr (HearsRoles<A>) a.gp_role(reg, RoleText::formatted(pattern, arguments...));
}
template <typename A, typename... Arguments>
[[gnu::always_inline]] inline void role(A& a, x86::Vec reg, const char* pattern,
                                        const Arguments&... arguments) {
    if constexpr (HearsRoles<A>) a.vector_role(reg, RoleText::formatted(pattern, arguments...));
}
/// Call before the label is bound.
template <typename A, typename... Arguments>
[[gnu::always_inline]] inline void role(A& a, x86::Label label, const char* pattern,
                                        const Arguments&... arguments) {
    if constexpr (HearsRoles<A>) a.label_role(label, RoleText::formatted(pattern, arguments...));
}

}  // namespace bareflow
