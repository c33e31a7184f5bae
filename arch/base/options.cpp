#include "arch/base/options.h"

#include <algorithm>
#include <iterator>
#include <optional>

#include "arch/base/text.h"
#include "arch/base/workers.h"

namespace bareflow {
namespace {

/// By OptionId.
constexpr OptionName kNames[] = {
    {"model", 'm'},       {"tokenizer", 'z'}, {"prompt", 'p'},   {"n-predict", 'n'},
    {"chat-template", 0}, {"system", 0},      {"stop", 0},       {"temp", 0},
    {"top-k", 0},         {"top-p", 0},       {"min-p", 0},      {"repeat-penalty", 0},
    {"seed", 0},          {"ctx-size", 'c'},  {"cache-type", 0}, {"threads", 't'},
    {"isa", 0},           {"jit", 0},         {"assembler", 0},  {"numerics", 0},
    {"tune", 0},          {"tune-ms", 0},     {"stream", 0},     {"ring", 0},
    {"profile", 0},       {"weights", 0},     {"keyboard", 0},   {"exit", 0},
    {"stage", 0},         {"test", 0},
};
static_assert(std::size(kNames) == kOptionCount && kOptionCount <= 64, "set_ has a bit for each");

std::optional<OptionId> find_option(std::string_view name) {
    for (size_t i = 0; i < kOptionCount; ++i) {
        if (name == kNames[i].long_name || (name.size() == 1 && name[0] == kNames[i].short_name))
            return static_cast<OptionId>(i);
    }
    return std::nullopt;
}

Error unknown_option(std::string_view name) {
    constexpr size_t kMostNames = 180;
    FixedString<kMostNames> known;
    for (const OptionName& each : kNames) {
        if (known.size() + std::string_view(each.long_name).size() + 5 > kMostNames) {
            known.append(" ...");
            break;
        }
        known.append(known.empty() ? "" : " ");
        known.append(each.long_name);
    }
    return invalid("unknown option \"{}\"; there are: {}", name, known.view());
}

Error bad_value(OptionId id, std::string_view value, const char* allowed) {
    return invalid("--{}: \"{}\" is not allowed; give {}", name_of(id).long_name, value, allowed);
}

struct Range {
    double low, high;
    const char* allowed;  ///< the same for people
};
constexpr Range kTemperature{0, 100, "a number from 0 to 100"};
constexpr Range kProbability{0, 1, "a number from 0 to 1"};
constexpr Range kPenalty{0.01, 100, "a number from 0.01 to 100"};

Result<void> set_number(float& to, OptionId id, std::string_view value, const Range& range) {
    std::optional<double> parsed = parse_double(value);
    if (!parsed || !(*parsed >= range.low && *parsed <= range.high))
        return bad_value(id, value, range.allowed);
    to = static_cast<float>(*parsed);
    return {};
}

Result<void> set_count(uint32_t& to, OptionId id, std::string_view value) {
    constexpr uint32_t kMaxCount = 1'000'000'000;
    std::optional<uint64_t> parsed = parse_unsigned(value);
    if (!parsed || *parsed > kMaxCount) return bad_value(id, value, "a whole number from 0 to 1000000000");
    to = static_cast<uint32_t>(*parsed);
    return {};
}

/// Which of the words of `allowed`, "one, two or three", `value` is.
Result<uint8_t> word_number(OptionId id, std::string_view value, const char* allowed) {
    uint8_t number = 0;
    std::string_view rest = allowed;
    while (!rest.empty()) {
        const std::string_view word = rest.substr(0, rest.find_first_of(", "));
        if (word == value && !word.empty() && word != "or") return number;
        if (!word.empty() && word != "or") ++number;
        rest.remove_prefix(std::min(word.size() + 1, rest.size()));
    }
    return bad_value(id, value, allowed);
}

/// Choice's values are as `allowed` has their words.
template <typename Choice>
Result<void> set_choice(Choice& to, OptionId id, std::string_view value, const char* allowed) {
    to = static_cast<Choice>(TRY(word_number(id, value, allowed)));
    return {};
}
Result<void> set_switch(bool& to, OptionId id, std::string_view value) {
    to = TRY(word_number(id, value, "on or off")) == 0;
    return {};
}
/// Keeps the word itself.
Result<void> set_word(std::string_view& to, OptionId id, std::string_view value, const char* allowed) {
    TRY(word_number(id, value, allowed));
    to = value;
    return {};
}

Result<void> set_seed(SamplingOptions& sampling, OptionId id, std::string_view value) {
    if (value == "-1") {
        sampling.random_seed = true;
        return {};
    }
    std::optional<uint64_t> seed = parse_unsigned(value);
    if (!seed) return bad_value(id, value, "a whole number from 0 to 18446744073709551615, or -1");
    sampling.seed = *seed;
    sampling.random_seed = false;
    return {};
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

constexpr OptionId kModelDefaults[] = {OptionId::kTemp, OptionId::kTopK, OptionId::kTopP, OptionId::kMinP,
                                       OptionId::kRepeatPenalty};

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

constexpr uint64_t bit_of(OptionId id) { return uint64_t{1} << static_cast<uint8_t>(id); }

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";  // some editors begin UTF-8 files with it

}  // namespace

OptionName name_of(OptionId id) { return kNames[static_cast<size_t>(id)]; }

Result<void> Options::set(std::string_view given_name, std::string_view value) {
    const std::optional<OptionId> id = find_option(given_name);
    if (!id) return unknown_option(given_name);
    TRY(assign(*id, value));
    set_ |= bit_of(*id);
    return {};
}

Result<void> Options::set_defaults(std::string_view lines) {
    while (!lines.empty()) {
        const std::string_view line = take_line(lines);
        const size_t equals = line.find('=');
        const std::string_view name = trimmed(line.substr(0, equals));
        for (OptionId id : kModelDefaults) {
            if (name != name_of(id).long_name || (set_ & bit_of(id)) != 0) continue;
            if (equals == std::string_view::npos)
                return invalid("the model's defaults: \"{}\" is not name=value", line);
            if (Result<void> done = assign(id, trimmed(line.substr(equals + 1))); !done.ok())
                return invalid("the model's defaults: {}", done.error().message());
        }
    }
    return {};
}

Result<void> Options::assign(OptionId id, std::string_view value) {
    switch (id) {
        case OptionId::kModel:
            model = value;
            return {};
        case OptionId::kTokenizer:
            tokenizer = value;
            return {};
        case OptionId::kPrompt:
            prompt = value;
            has_prompt = true;
            return {};
        case OptionId::kNPredict:
            if (value != "-1") return set_count(max_tokens, id, value);
            max_tokens = kUnlimitedTokens;
            return {};
        case OptionId::kChatTemplate:
            return set_word(chat_template, id, value, "plain, zephyr, llama-2 or chatml");
        case OptionId::kSystem:
            system = value;
            return {};
        case OptionId::kStop:
            if (value.empty() || value.size() > kLongestStop || !is_utf8_text(value))
                return bad_value(id, value, "a text of 1 to 64 bytes");
            if (stop_count == kMostStops) return bad_value(id, value, "at most four");
            stops[stop_count++] = value;
            return {};
        case OptionId::kTemp:
            return set_number(sampling.temperature, id, value, kTemperature);
        case OptionId::kTopK:
            return set_count(sampling.top_k, id, value);
        case OptionId::kTopP:
            return set_number(sampling.top_p, id, value, kProbability);
        case OptionId::kMinP:
            return set_number(sampling.min_p, id, value, kProbability);
        case OptionId::kRepeatPenalty:
            return set_number(sampling.repeat_penalty, id, value, kPenalty);
        case OptionId::kSeed:
            return set_seed(sampling, id, value);
        case OptionId::kCtxSize:
            return set_count(context, id, value);
        case OptionId::kCacheType:
            return set_choice(cache_type, id, value, "f32 or f16");
        case OptionId::kThreads: {
            const std::optional<uint64_t> wanted = parse_unsigned(value);
            if (!wanted || *wanted > Workers::kMaxWorkers)
                return bad_value(id, value, "a whole number from 0 to 64");
            threads = static_cast<uint32_t>(*wanted);
            return {};
        }
        case OptionId::kIsa:
            return set_choice(isa, id, value, "auto, scalar, sse2, ssse3, avx2 or avx512");
        case OptionId::kJit:
            return set_switch(jit, id, value);
        case OptionId::kAssembler:
            return set_choice(assembler, id, value, "asmjit or tiny");
        case OptionId::kNumerics:
            return set_choice(numerics, id, value, "auto, fma or muladd");
        case OptionId::kTune:
            return set_choice(tune, id, value, "idle, inline or off");
        case OptionId::kTuneMs:
            TRY(set_count(tune_ms, id, value));
            has_tune_ms = true;
            return {};
        case OptionId::kStream:
            return set_choice(stream, id, value, "auto, on or off");
        case OptionId::kRing:
            return set_count(ring_mib, id, value);
        case OptionId::kProfile:
            return set_switch(profile, id, value);
        case OptionId::kWeights:
            TRY(set_word(weights, id, value, "fw_cfg, module, disk, stream or embedded"));
            if (value == "stream") {
                weights = "disk";
                stream = StreamChoice::kOn;
            }
            return {};
        case OptionId::kKeyboard:
            return set_choice(keyboard, id, value, "us or de");
        case OptionId::kExit:
            return set_word(exit, id, value, "debug-exit, acpi or halt");
        case OptionId::kStage:
            return set_word(stage, id, value, "full, small or auto");
        case OptionId::kTest:
            test = value;
            return {};
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
            const std::optional<OptionId> id = find_option(name);
            if (!id) return unknown_option(*word);
            std::optional<std::string_view> value = TRY(words.next());
            if (!value) return invalid("--{} needs a value: {} VALUE", name_of(*id).long_name, *word);
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
