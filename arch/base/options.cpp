#include "arch/base/options.h"

#include <optional>

#include "arch/base/text.h"
#include "arch/base/workers.h"

namespace bareflow {
namespace {

constexpr OptionSpec kTable[] = {
    {"model", 'm', "FILE",
     "model: .wllm, or on the host any file that can be imported (default: the embedded one)", false},
    {"tokenizer", 'z', "FILE",
     "tokenizer of a model file that has none (default: NAME.tokenizer.bin beside it)", false},
    {"prompt", 'p', "TEXT", "write one story that begins with TEXT and end (default: chat)", false},
    {"n-predict", 'n', "N", "tokens to write after the prompt; -1: to the story's end (default: 256)", false},
    {"chat-template", 0, "NAME",
     "how a chat is written for the model: plain, zephyr, llama-2 or chatml (default: the model's own)",
     false},
    {"system", 0, "TEXT", "what the chat begins with: who the model is to be, and how it is to answer",
     false},
    {"stop", 0, "TEXT", "end a reply where the model writes TEXT; may be given four times", false, {}, true},
    {"temp", 0, "T", "temperature, 0 to 100; 0 takes the likeliest token each time (default: 0.8)", false},
    {"top-k", 0, "K", "choose among the K likeliest tokens; 0: all (default: 40)", false},
    {"top-p", 0, "P", "choose among the likeliest tokens that together reach P; 1: all (default: 0.95)",
     false},
    {"min-p", 0, "P", "leave out tokens less likely than P times the likeliest; 0: none (default: 0.05)",
     false},
    {"repeat-penalty", 0, "R",
     "divide the logits of recent tokens, 0.01 to 100; 1: no penalty (default: 1.0)", false},
    {"seed", 0, "N", "seed of the random choices; -1: a random one (default: -1)", false},
    {"ctx-size", 'c', "N", "context length in tokens; 0: the model's (default: 0)", false},
    {"cache-type", 0, "TYPE",
     "f32 or f16: how keys and values are kept; f16 takes half the memory (default: f32)", false},
    {"threads", 't', "N", "cores that compute; 0: all (default: 0)", false},
    {"isa", 0, "NAME", "auto, scalar, sse2, ssse3, avx2 or avx512: instructions to use (default: auto)",
     false},
    {"jit", 0, "on|off", "emit machine code for the model's shapes (default: on)", false},
    {"assembler", 0, "NAME", "what encodes it: asmjit or tiny (default: asmjit)", false},
    {"numerics", 0, "CLASS",
     "auto, fma or muladd: how products are summed (default: auto, fma where the CPU has it)", false},
    {"tune", 0, "WHEN",
     "idle, inline or off: when faster plans are looked for; inline: also between tokens (default: idle)",
     false},
    {"tune-ms", 0, "N",
     "milliseconds of that in one boot; given, a single run tunes after its text (default: 2000)", false},
    {"stream", 0, "on|off|auto",
     "read weights from the disk while they are needed (default: auto, if they are more than memory holds)",
     false, "on"},
    {"ring", 0, "MIB", "most memory for weights that are streamed; 0: what there is (default: 0)", false},
    {"profile", 0, "on|off", "show where the time went, at the end (default: off)", false, "on"},
    {"weights", 0, "WHERE",
     "fw_cfg, module, disk, stream or embedded: where the model is looked for (default: in this order; "
     "stream: on the disk, as --stream on)",
     true},
    {"keyboard", 0, "LAYOUT", "us or de: the layout of a PS/2 keyboard (default: us)", true},
    {"exit", 0, "HOW", "debug-exit, acpi or halt: how the kernel stops (default: what the machine has)",
     true},
    {"stage", 0, "STAGE",
     "full, small or auto: what a disk that BareFlow starts from boots from now on (default: auto, less as "
     "it converges)",
     true},
    {"test", 0, "NAME", "a self-test of the test kernel", true},
};

const OptionSpec* find_option(std::string_view name) {
    for (const OptionSpec& spec : kTable) {
        if (name == spec.name || (name.size() == 1 && name[0] == spec.short_name)) return &spec;
    }
    return nullptr;
}

Error unknown_option(std::string_view name) {
    FixedString<180> known;
    for (const OptionSpec& spec : kTable) {
        known.append(known.empty() ? "" : " ");
        known.append(spec.name);
    }
    return invalid("unknown option \"{}\"; there are: {}", name, known.view());
}

Error bad_value(std::string_view name, std::string_view value, std::string_view allowed) {
    return invalid("--{}: \"{}\" is not allowed; give {}", name, value, allowed);
}

struct Range {
    double low, high;
    std::string_view allowed;  ///< the same for people
};
constexpr Range kTemperature{0, 100, "a number from 0 to 100"};
constexpr Range kProbability{0, 1, "a number from 0 to 1"};
constexpr Range kPenalty{0.01, 100, "a number from 0.01 to 100"};

Result<float> number(std::string_view name, std::string_view value, const Range& range) {
    std::optional<double> parsed = parse_double(value);
    if (!parsed || !(*parsed >= range.low && *parsed <= range.high))
        return bad_value(name, value, range.allowed);
    return static_cast<float>(*parsed);
}

constexpr uint32_t kMaxCount = 1'000'000'000;

Result<uint32_t> count(std::string_view name, std::string_view value) {
    std::optional<uint64_t> parsed = parse_unsigned(value);
    if (!parsed || *parsed > kMaxCount) return bad_value(name, value, "a whole number from 0 to 1000000000");
    return static_cast<uint32_t>(*parsed);
}

bool is_one_of(std::string_view value, std::initializer_list<std::string_view> words) {
    for (std::string_view word : words) {
        if (value == word) return true;
    }
    return false;
}

Result<void> set_seed(SamplingOptions& sampling, std::string_view value) {
    if (value == "-1") {
        sampling.random_seed = true;
        return {};
    }
    std::optional<uint64_t> seed = parse_unsigned(value);
    if (!seed) return bad_value("seed", value, "a whole number from 0 to 18446744073709551615, or -1");
    sampling.seed = *seed;
    sampling.random_seed = false;
    return {};
}

Result<IsaChoice> isa_choice(std::string_view value) {
    if (value == "auto") return IsaChoice::kAuto;
    if (value == "scalar") return IsaChoice::kScalar;
    if (value == "sse2") return IsaChoice::kSse2;
    if (value == "ssse3") return IsaChoice::kSsse3;
    if (value == "avx2") return IsaChoice::kAvx2;
    if (value == "avx512") return IsaChoice::kAvx512;
    return bad_value("isa", value, "auto, scalar, sse2, ssse3, avx2 or avx512");
}

Result<bool> on_or_off(std::string_view name, std::string_view value) {
    if (value == "on") return true;
    if (value == "off") return false;
    return bad_value(name, value, "on or off");
}

Result<AssemblerChoice> assembler_choice(std::string_view value) {
    if (value == "asmjit") return AssemblerChoice::kAsmjit;
    if (value == "tiny") return AssemblerChoice::kTiny;
    return bad_value("assembler", value, "asmjit or tiny");
}

Result<ElementType> cache_type_of(std::string_view value) {
    if (value == "f32") return ElementType::kF32;
    if (value == "f16") return ElementType::kF16;
    return bad_value("cache-type", value, "f32 or f16");
}

Result<NumericsChoice> numerics_choice(std::string_view value) {
    if (value == "auto") return NumericsChoice::kAuto;
    if (value == "fma") return NumericsChoice::kFma;
    if (value == "muladd") return NumericsChoice::kMulAdd;
    return bad_value("numerics", value, "auto, fma or muladd");
}

bool is_utf8_text(std::string_view text) {
    while (!text.empty()) {
        const int length = utf8_length(text);
        if (length <= 0) return false;
        text.remove_prefix(static_cast<size_t>(length));
    }
    return true;
}

/// The first line of `text`, trimmed; takes it off.
std::string_view take_line(std::string_view& text) {
    const size_t end = text.find('\n');
    const std::string_view line = trimmed(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    return line;
}

constexpr std::string_view kModelDefaults[] = {"temp", "top-k", "top-p", "min-p", "repeat-penalty"};

Result<TuneChoice> tune_choice(std::string_view value) {
    if (value == "idle") return TuneChoice::kIdle;
    if (value == "inline") return TuneChoice::kInline;
    if (value == "off") return TuneChoice::kOff;
    return bad_value("tune", value, "idle, inline or off");
}

/// Splits a line into words in place: a word is never longer than the way it was written.
class WordReader {
 public:
    explicit WordReader(std::span<char> line) : line_(line) {
        if (const void* nul = line.empty() ? nullptr : __builtin_memchr(line.data(), 0, line.size())) {
            line_ = line.first(static_cast<const char*>(nul) - line.data());
        }
    }

    /// The next word, unquoted; nullopt at the end of the line.
    Result<std::optional<std::string_view>> next() {
        while (read_ < line_.size() && is_space(line_[read_])) ++read_;
        if (read_ == line_.size()) return std::optional<std::string_view>();
        const size_t begin = read_;
        size_t write = begin;
        char quote = 0;
        for (; read_ < line_.size(); ++read_) {
            char c = line_[read_];
            if (quote == 0 && is_space(c)) break;
            if (c == quote) {
                quote = 0;
            } else if (quote == 0 && (c == '\'' || c == '"')) {
                quote = c;
            } else if (c == '\\' && quote != '\'' && read_ + 1 < line_.size()) {
                line_[write++] = unescape();
            } else {
                line_[write++] = c;
            }
        }
        if (quote != 0) return invalid("a {} opens a quotation that is never closed", quote);
        return std::optional(std::string_view(line_.data() + begin, write - begin));
    }

 private:
    static int hex_digit(char c) {
        std::optional<uint64_t> digit = parse_unsigned(FixedString<3>::formatted("0x{}", c));
        return digit ? static_cast<int>(*digit) : -1;
    }
    /// What the escape at read_ stands for; leaves read_ at its last character.
    char unescape() {
        char c = line_[++read_];
        if (c == 'n') return '\n';
        if (c == 't') return '\t';
        if (c == 'x' && read_ + 2 < line_.size()) {
            int high = hex_digit(line_[read_ + 1]), low = hex_digit(line_[read_ + 2]);
            if (high >= 0 && low >= 0) {
                read_ += 2;
                return static_cast<char>(high * 16 + low);
            }
        }
        return c;
    }

    std::span<char> line_;
    size_t read_ = 0;
};

/// The name of an option in `word` without its dashes: `--long`, `-s`; empty if it is neither.
std::string_view dashed_name(std::string_view word) {
    if (word.starts_with("--") && word.size() > 3) return word.substr(2);
    if (word.starts_with("-") && word.size() == 2 && word[1] != '-') return word.substr(1);
    return {};
}

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";  // some editors begin UTF-8 files with it

}  // namespace

static_assert(sizeof(kTable) / sizeof(kTable[0]) <= 64, "set_ has a bit for each");

std::span<const OptionSpec> option_table() { return kTable; }

Result<void> Options::set(std::string_view given_name, std::string_view value) {
    const OptionSpec* spec = find_option(given_name);
    if (spec == nullptr) return unknown_option(given_name);
    TRY(assign(spec->name, value));
    set_ |= uint64_t{1} << (spec - kTable);
    return {};
}

Result<void> Options::set_defaults(std::string_view lines) {
    while (!lines.empty()) {
        const std::string_view line = take_line(lines);
        const size_t equals = line.find('=');
        const std::string_view name = trimmed(line.substr(0, equals));
        for (std::string_view known : kModelDefaults) {
            if (name != known || (set_ >> (find_option(name) - kTable) & 1) != 0) continue;
            if (equals == std::string_view::npos)
                return invalid("the model's defaults: \"{}\" is not name=value", line);
            if (Result<void> done = assign(name, trimmed(line.substr(equals + 1))); !done.ok())
                return invalid("the model's defaults: {}", done.error().message());
        }
    }
    return {};
}

Result<void> Options::assign(std::string_view name, std::string_view value) {
    if (name == "model") {
        model = value;
    } else if (name == "tokenizer") {
        tokenizer = value;
    } else if (name == "prompt") {
        prompt = value;
        has_prompt = true;
    } else if (name == "chat-template") {
        bool known = false;
        for (std::string_view each : kTemplateNames) known = known || value == each;
        if (!known) return bad_value(name, value, "plain, zephyr, llama-2 or chatml");
        chat_template = value;
    } else if (name == "system") {
        system = value;
    } else if (name == "stop") {
        if (value.empty() || value.size() > kLongestStop || !is_utf8_text(value))
            return bad_value(name, value, "a text of 1 to 64 bytes");
        if (stop_count == kMostStops) return bad_value(name, value, "at most four");
        stops[stop_count++] = value;
    } else if (name == "n-predict") {
        max_tokens = value == "-1" ? kUnlimitedTokens : TRY(count(name, value));
    } else if (name == "temp") {
        sampling.temperature = TRY(number(name, value, kTemperature));
    } else if (name == "top-k") {
        sampling.top_k = TRY(count(name, value));
    } else if (name == "top-p") {
        sampling.top_p = TRY(number(name, value, kProbability));
    } else if (name == "min-p") {
        sampling.min_p = TRY(number(name, value, kProbability));
    } else if (name == "repeat-penalty") {
        sampling.repeat_penalty = TRY(number(name, value, kPenalty));
    } else if (name == "seed") {
        TRY(set_seed(sampling, value));
    } else if (name == "ctx-size") {
        context = TRY(count(name, value));
    } else if (name == "cache-type") {
        cache_type = TRY(cache_type_of(value));
    } else if (name == "threads") {
        const std::optional<uint64_t> wanted = parse_unsigned(value);
        if (!wanted || *wanted > Workers::kMaxWorkers)
            return bad_value(name, value, "a whole number from 0 to 64");
        threads = static_cast<uint32_t>(*wanted);
    } else if (name == "isa") {
        isa = TRY(isa_choice(value));
    } else if (name == "jit") {
        jit = TRY(on_or_off(name, value));
    } else if (name == "assembler") {
        assembler = TRY(assembler_choice(value));
    } else if (name == "numerics") {
        numerics = TRY(numerics_choice(value));
    } else if (name == "weights") {
        if (!is_one_of(value, {"fw_cfg", "module", "disk", "stream", "embedded"})) {
            return bad_value(name, value, "fw_cfg, module, disk, stream or embedded");
        }
        weights = value;
        if (value == "stream") {
            weights = "disk";
            stream = StreamChoice::kOn;
        }
    } else if (name == "stream") {
        stream = value == "auto"               ? StreamChoice::kAuto
                 : TRY(on_or_off(name, value)) ? StreamChoice::kOn
                                               : StreamChoice::kOff;
    } else if (name == "ring") {
        ring_mib = TRY(count(name, value));
    } else if (name == "tune") {
        tune = TRY(tune_choice(value));
    } else if (name == "tune-ms") {
        tune_ms = TRY(count(name, value));
        has_tune_ms = true;
    } else if (name == "profile") {
        profile = TRY(on_or_off(name, value));
    } else if (name == "keyboard") {
        if (!is_one_of(value, {"us", "de"})) return bad_value(name, value, "us or de");
        keyboard = value == "de" ? KeyboardLayout::kDe : KeyboardLayout::kUs;
    } else if (name == "exit") {
        if (!is_one_of(value, {"debug-exit", "acpi", "halt"})) {
            return bad_value(name, value, "debug-exit, acpi or halt");
        }
        exit = value;
    } else if (name == "stage") {
        if (!is_one_of(value, {"full", "small", "auto"}))
            return bad_value(name, value, "full, small or auto");
        stage = value;
    } else if (name == "test") {
        test = value;
    } else {
        PANIC("an option of the table is not handled");
    }
    return {};
}

Result<void> Options::parse_command_line(std::span<char> line) {
    WordReader words(line);
    while (std::optional<std::string_view> word = TRY(words.next())) {
        const size_t equals = word->find('=');
        std::string_view name = dashed_name(word->substr(0, equals));
        if (equals != std::string_view::npos) {
            TRY(set(name.empty() ? word->substr(0, equals) : name, word->substr(equals + 1)));
        } else if (!name.empty()) {
            const OptionSpec* spec = find_option(name);
            if (spec == nullptr) return unknown_option(*word);
            std::optional<std::string_view> value = TRY(words.next());
            if (!value) return invalid("--{} needs a value: {} {}", spec->name, *word, spec->value_name);
            TRY(set(name, *value));
        } else {
            return invalid(
                "\"{}\" is no option; write --name VALUE or name=VALUE, and quote values with spaces", *word);
        }
    }
    return {};
}

Result<void> Options::parse_config(std::string_view file) {
    if (file.starts_with(kByteOrderMark)) file.remove_prefix(kByteOrderMark.size());
    for (unsigned number = 1; !file.empty(); ++number) {
        const std::string_view line = take_line(file);
        if (line.empty() || line[0] == '#') continue;
        const size_t equals = line.find('=');
        if (equals == std::string_view::npos) {
            return invalid("bareflow.cfg line {}: \"{}\" is not name = value", number, line);
        }
        Result<void> done = set(trimmed(line.substr(0, equals)), trimmed(line.substr(equals + 1)));
        if (!done.ok()) {
            return Error::make(done.error().code(), "bareflow.cfg line {}: {}", number,
                               done.error().message());
        }
    }
    return {};
}

}  // namespace bareflow
