// The options that the kernel's command line, bareflow.cfg and the host program share (DESIGN.md "Faces"). Each
// face brings its own syntax and calls set().
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "arch/base/result.h"
#include "arch/base/tensor.h"

namespace bareflow {

struct SamplingOptions {
    float temperature = 0.8f;     ///< 0 is greedy
    uint32_t top_k = 40;          ///< 0 keeps all
    float top_p = 0.95f;          ///< 1 keeps all
    float min_p = 0.05f;          ///< 0 keeps all
    float repeat_penalty = 1.0f;  ///< 1 is none; over the last 64 tokens
    uint64_t seed = 0;
    bool random_seed = true;  ///< no seed was given: take one from the platform's entropy
};

constexpr uint32_t kUnlimitedTokens = UINT32_MAX;

constexpr size_t kMostStops = 4, kLongestStop = 64;  ///< --stop: how many, and of how many bytes

/// Which instructions routines may use; kAuto: the best that the CPU has.
enum class IsaChoice : uint8_t { kAuto, kScalar, kSse2, kSsse3, kAvx2, kAvx512 };

enum class AssemblerChoice : uint8_t { kAsmjit, kTiny };
constexpr std::string_view name_of(AssemblerChoice choice) {
    return choice == AssemblerChoice::kTiny ? "tiny" : "asmjit";
}

enum class NumericsChoice : uint8_t { kAuto, kFma, kMulAdd };

/// Whether weights are read while they are needed (model/weight_stream.h); kAuto: if they are more than memory holds.
enum class StreamChoice : uint8_t { kAuto, kOn, kOff };

/// When plans are tried: while nobody is waiting, also between two tokens, or never by itself.
enum class TuneChoice : uint8_t { kIdle, kInline, kOff };

/// Of a PS/2 keyboard.
enum class KeyboardLayout : uint8_t { kUs, kDe };

/// The options, in the order in which people read of them (arch/host/option_help.h).
enum class OptionId : uint8_t {
    kModel,
    kTokenizer,
    kPrompt,
    kNPredict,
    kChatTemplate,
    kSystem,
    kStop,
    kTemp,
    kTopK,
    kTopP,
    kMinP,
    kRepeatPenalty,
    kSeed,
    kCtxSize,
    kCacheType,
    kThreads,
    kIsa,
    kJit,
    kAssembler,
    kNumerics,
    kTune,
    kTuneMs,
    kStream,
    kRing,
    kProfile,
    kWeights,
    kKeyboard,
    kExit,
    kStage,
    kTest,
};
constexpr size_t kOptionCount = static_cast<size_t>(OptionId::kTest) + 1;

struct OptionName {
    const char* long_name;  ///< without dashes
    char short_name;        ///< 0: none
};
OptionName name_of(OptionId id);

struct Options {
    std::string_view model;              ///< -m; empty: model.wllm of the disk, or the embedded one
    std::string_view tokenizer;          ///< -z
    std::string_view prompt;             ///< -p
    bool has_prompt = false;             ///< -p was given, even an empty one: run once
    std::string_view chat_template;      ///< one of kTemplateNames; empty: the model's own
    std::string_view system;             ///< the chat's system prompt; empty: none
    std::string_view stops[kMostStops];  ///< texts that end a reply
    uint32_t stop_count = 0;
    uint32_t max_tokens = 256;  ///< -n; kUnlimitedTokens: until the story or the context ends
    uint32_t context = 0;       ///< -c; 0: the model's
    uint32_t threads = 0;       ///< -t; 0: all
    ElementType cache_type = ElementType::kF32;  ///< of the KV cache: kF32 or kF16
    SamplingOptions sampling;
    NumericsChoice numerics = NumericsChoice::kAuto;
    IsaChoice isa = IsaChoice::kAuto;
    AssemblerChoice assembler = AssemblerChoice::kAsmjit;
    bool jit = true;  ///< emit routines; off: the scalar reference runs
    TuneChoice tune = TuneChoice::kIdle;
    uint32_t tune_ms = 2000;   ///< of tuning, in one boot
    bool has_tune_ms = false;  ///< --tune-ms was given: a single run tunes, too
    StreamChoice stream = StreamChoice::kAuto;
    uint32_t ring_mib = 0;  ///< most memory for streamed weights, MiB; 0: what there is
    bool profile = false;   ///< show where the time went, at the end
    std::string_view
        weights;  ///< fw_cfg, module, disk, stream or embedded; empty: the first that there is (kernel)
    KeyboardLayout keyboard = KeyboardLayout::kUs;  ///< (kernel)
    std::string_view
        exit;  ///< how the kernel stops: debug-exit, acpi, halt; empty: what the machine has (kernel)
    std::string_view
        stage;  ///< full or small: what the boot disk is to stay at; empty or auto: as it converges (kernel)
    std::string_view test;  ///< a self-test of the test kernel

    /// Sets one option by its long name ("temp", "top-k", "prompt", …) or short one ("p"). The value is kept as a view:
    /// its bytes must live as long as the Options. An unknown name, a value out of range, and a value that this build
    /// does not have are errors that name the option and what is allowed.
    Result<void> set(std::string_view name, std::string_view value);

    /// What a model asks for, for sampling options that nobody has set: a `key=value` line each, of temp, top-k, top-p, min-p
    /// and repeat-penalty. Other keys are left alone. A wrong value is an error that names the line; those before it count.
    /// They do not count as set.
    Result<void> set_defaults(std::string_view lines);

    /// Reads a command line: `-p TEXT`, `--temp 0.8`, `--temp=0.8` and `temp=0.8`, words separated by white space,
    /// quoted with '…' or "…". Outside '…' a backslash escapes: \n, \t, \xHH, or the character after it; so GRUB writes
    /// the words that it hands over. A NUL ends the line. Unquotes in place, so `line` must outlive the Options.
    Result<void> parse_command_line(std::span<char> line);
    /// Reads a bareflow.cfg: one `key=value` or `key = value` a line, value to the end of the line, # comments.
    /// `file` must outlive the Options.
    Result<void> parse_config(std::string_view file);

 private:
    Result<void> assign(OptionId id, std::string_view value);

    uint64_t set_ = 0;  ///< a bit for each option that set() has seen
};

/// How a conversation can be written for a model (model/chat_template.h).
constexpr std::string_view kTemplateNames[] = {"plain", "zephyr", "llama-2", "chatml"};

}  // namespace bareflow
