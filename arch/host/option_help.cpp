#include "arch/host/option_help.h"

namespace bareflow {
namespace {

constexpr OptionHelp kHelp[] = {
    {OptionId::kModel, "FILE",
     "model: .wllm, or on the host any file that can be imported (default: the embedded one)", false},
    {OptionId::kTokenizer, "FILE",
     "tokenizer of a model file that has none (default: NAME.tokenizer.bin beside it)", false},
    {OptionId::kPrompt, "TEXT", "write one story that begins with TEXT and end (default: chat)", false},
    {OptionId::kNPredict, "N", "tokens to write after the prompt; -1: to the story's end (default: 256)",
     false},
    {OptionId::kChatTemplate, "NAME",
     "how a chat is written for the model: plain, zephyr, llama-2 or chatml (default: the model's own)",
     false},
    {OptionId::kSystem, "TEXT", "what the chat begins with: who the model is to be, and how it is to answer",
     false},
    {OptionId::kStop,
     "TEXT",
     "end a reply where the model writes TEXT; may be given four times",
     false,
     {},
     true},
    {OptionId::kTemp, "T", "temperature, 0 to 100; 0 takes the likeliest token each time (default: 0.8)",
     false},
    {OptionId::kTopK, "K", "choose among the K likeliest tokens; 0: all (default: 40)", false},
    {OptionId::kTopP, "P", "choose among the likeliest tokens that together reach P; 1: all (default: 0.95)",
     false},
    {OptionId::kMinP, "P", "leave out tokens less likely than P times the likeliest; 0: none (default: 0.05)",
     false},
    {OptionId::kRepeatPenalty, "R",
     "divide the logits of recent tokens, 0.01 to 100; 1: no penalty (default: 1.0)", false},
    {OptionId::kSeed, "N", "seed of the random choices; -1: a random one (default: -1)", false},
    {OptionId::kCtxSize, "N", "context length in tokens; 0: the model's (default: 0)", false},
    {OptionId::kCacheType, "TYPE",
     "f32 or f16: how keys and values are kept; f16 takes half the memory (default: f32)", false},
    {OptionId::kThreads, "N", "cores that compute; 0: all (default: 0)", false},
    {OptionId::kIsa, "NAME", "auto, scalar, sse2, ssse3, avx2 or avx512: instructions to use (default: auto)",
     false},
    {OptionId::kJit, "on|off", "emit machine code for the model's shapes (default: on)", false},
    {OptionId::kAssembler, "NAME", "what encodes it: asmjit or tiny (default: asmjit)", false},
    {OptionId::kNumerics, "CLASS",
     "auto, fma or muladd: how products are summed (default: auto, fma where the CPU has it)", false},
    {OptionId::kTune, "WHEN",
     "idle, inline or off: when faster plans are looked for; inline: also between tokens (default: idle)",
     false},
    {OptionId::kTuneMs, "N",
     "milliseconds of that in one boot; given, a single run tunes after its text (default: 2000)", false},
    {OptionId::kStream, "on|off|auto",
     "read weights from the disk while they are needed (default: auto, if they are more than memory holds)",
     false, "on"},
    {OptionId::kRing, "MIB", "most memory for weights that are streamed; 0: what there is (default: 0)",
     false},
    {OptionId::kProfile, "on|off", "show where the time went, at the end (default: off)", false, "on"},
    {OptionId::kWeights, "WHERE",
     "fw_cfg, module, disk, stream or embedded: where the model is looked for (default: in this order; "
     "stream: on the disk, as --stream on)",
     true},
    {OptionId::kKeyboard, "LAYOUT", "us or de: the layout of a PS/2 keyboard (default: us)", true},
    {OptionId::kExit, "HOW", "debug-exit, acpi or halt: how the kernel stops (default: what the machine has)",
     true},
    {OptionId::kStage, "STAGE",
     "full, small or auto: what a disk that BareFlow starts from boots from now on (default: auto, less as "
     "it converges)",
     true},
    {OptionId::kTest, "NAME", "a self-test of the test kernel", true},
};
static_assert(std::size(kHelp) == kOptionCount);

}  // namespace

std::span<const OptionHelp> option_help() { return kHelp; }

}  // namespace bareflow
