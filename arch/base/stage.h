// How much of itself an image still carries (DESIGN.md "Persistence").
#pragma once

#include <cstdint>
#include <string_view>

namespace bareflow {

/// Stored in snapshots: numbers stay.
enum class Stage : uint8_t {
    kFull = 0,  ///< asmjit, tuner, profiler
    kSmall,     ///< the tiny assembler and the tuner
    kNative,    ///< routines in place; no emitter, no tuner, no profiler
};
constexpr Stage kStages[] = {Stage::kFull, Stage::kSmall, Stage::kNative};

constexpr std::string_view name_of(Stage stage) {
    constexpr std::string_view kNames[] = {"full", "small", "native"};
    return kNames[static_cast<uint8_t>(stage)];
}

}  // namespace bareflow
