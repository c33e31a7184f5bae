// What a model is doing: reading the prompt, or writing.
#pragma once

#include <cstdint>
#include <string_view>

namespace bareflow {

enum class Phase : uint8_t { kPrompt = 0, kGeneration };
constexpr std::string_view name_of(Phase phase) { return phase == Phase::kPrompt ? "prompt" : "generation"; }

}  // namespace bareflow
