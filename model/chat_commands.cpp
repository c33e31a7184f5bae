#include "model/chat_commands.h"

#include "arch/base/text.h"
#include "model/chat_file.h"

namespace bareflow {
namespace {

struct Command {
    std::string_view name;
    std::string_view argument;  ///< for /help; empty: takes none
    std::string_view help;
    std::string_view option;  ///< the option that it sets; empty: it sets none
};

constexpr Command kCommands[] = {
    {"help", "", "this list", ""},
    {"stats", "", "how fast it was so far", ""},
    {"mem", "", "memory in use", ""},
    {"cpu", "", "the processor and what it can do", ""},
    {"model", "", "the model's shape and origin", ""},
    {"temp", "T", "temperature; 0 takes the likeliest token each time", "temp"},
    {"top-k", "K", "choose among the K likeliest tokens; 0: all", "top-k"},
    {"top-p", "P", "choose among the likeliest tokens that together reach P; 1: all", "top-p"},
    {"min-p", "P", "leave out tokens less likely than P times the likeliest; 0: none", "min-p"},
    {"repeat-penalty", "R", "make recent tokens less likely; 1: no penalty", "repeat-penalty"},
    {"seed", "N", "start the random choices anew from N; -1: from a random seed", "seed"},
    {"n", "N", "tokens to write at a time; -1: to the end", "n-predict"},
    {"system", "TEXT", "what the model is told before all turns; -: nothing", ""},
    {"regen", "", "the last reply anew, with the next random numbers", ""},
    {"more", "", "go on where the last reply ended", ""},
    {"save", "NAME", "keep the conversation as NAME.CHT: 1 to 8 letters and digits", ""},
    {"load", "NAME", "go on with one that was kept", ""},
    {"dump", "KEY", "a routine's machine code as hexadecimal; without KEY: which routines there are", ""},
    {"profile", "", "where the time went, by operation and shape", ""},
    {"tune", "", "look for faster plans of the routines now, and show what it brought", ""},
    {"clear", "", "begin anew: nothing was said, the screen is empty", ""},
    {"quit", "", "end (as does Ctrl-D)", ""},
};

const Command* find_command(std::string_view name) {
    for (const Command& command : kCommands) {
        if (name == command.name) return &command;
    }
    return nullptr;
}

constexpr std::string_view kClearScreen = "\x1b[H\x1b[2J";

uint64_t parameters(const TensorView& tensor) { return uint64_t{tensor.rows} * tensor.columns; }

uint64_t count_parameters(const Weights& weights) {
    const uint64_t hidden = weights.config.hidden_size;
    uint64_t total = parameters(weights.embedding) + hidden;
    if (!weights.config.tied_embedding) total += parameters(weights.lm_head);
    for (const LayerWeights& layer : weights.layers) {
        for (const TensorView* tensor :
             {&layer.query, &layer.key, &layer.value, &layer.output, &layer.gate, &layer.up, &layer.down}) {
            total += parameters(*tensor);
        }
        total += 2 * hidden;  // the two norms
    }
    return total;
}

}  // namespace

ChatCommands::Outcome ChatCommands::run(std::string_view line) {
    std::string_view value = line.substr(1);
    const std::string_view name = take_word(value);
    const Command* command = find_command(name);
    if (command == nullptr) {
        terminal_.print("/{} is no command; /help lists them\n", name);
    } else if (!command->option.empty()) {
        set(name, command->option, value);
    } else if (name == "dump") {
        machine_.dump_routines(value, long_output_);
    } else if (name == "system") {
        system(value);
    } else if (name == "save") {
        save(value);
    } else if (name == "load") {
        load(value);
    } else if (!value.empty()) {
        terminal_.print("/{} takes no value\n", name);
    } else if (name == "help") {
        help();
    } else if (name == "stats") {
        stats();
    } else if (name == "mem") {
        terminal_.write(machine_.memory_report());
    } else if (name == "cpu") {
        terminal_.write(machine_.cpu_report());
    } else if (name == "model") {
        model();
    } else if (name == "profile") {
        machine_.report_profile(long_output_);
    } else if (name == "tune") {
        machine_.tune(long_output_);
    } else if (name == "clear") {
        conversation_.clear();
        terminal_.write(kClearScreen);
    } else if (name == "regen") {
        return Outcome::kAgain;
    } else if (name == "more") {
        return Outcome::kMore;
    } else {
        return Outcome::kQuit;
    }
    return Outcome::kGoOn;
}

void ChatCommands::help() {
    for (const Command& command : kCommands) {
        const auto usage = FixedString<40>::formatted("/{} {}", command.name, command.argument);
        terminal_.print("{:<18} {}\n", usage.view(), command.help);
    }
    terminal_.print("Without a value, a setting is shown. {}\n",
                    conversation_.chat_template().is_plain() ? "Any other line is the beginning of a story."
                                                             : "Any other line is said to the model.");
}

/// As llama.cpp prints them.
void ChatCommands::stats() {
    const SessionStatistics& s = session_.statistics();
    const auto timing = [&](std::string_view what, const TokenTiming& t, std::string_view of) {
        terminal_.print(
            "{} time = {:>10.2} ms / {:>5} {} ({:>8.2} ms per token, {:>8.2} tokens per second)\n", what,
            t.milliseconds(), t.tokens, of, t.ms_per_token(), t.tokens_per_second());
    };
    const auto line = [&](std::string_view what, uint64_t ns) {
        terminal_.print("{} time = {:>10.2} ms", what, TokenTiming{1, ns}.milliseconds());
    };
    line("       load", s.load_ns);
    terminal_.print("\n");
    timing("prompt eval", s.prompt, "tokens");
    timing("       eval", s.evaluation, "runs  ");
    line("      total", s.load_ns + s.prompt.ns + s.evaluation.ns);
    terminal_.print(" / {:>5} tokens\n", s.prompt.tokens + s.evaluation.tokens);
    line("first token", s.last_first_token_ns);
    terminal_.print(" after Enter, of the last of {}; {} tokens written\n", s.runs, s.generated);
}

void ChatCommands::fail(std::string_view what, const Error& error) {
    terminal_.print("{}: {}\n", what, error.message());
}

void ChatCommands::system(std::string_view text) {
    if (!text.empty()) {
        const Result<void> set = conversation_.set_system(text == "-" ? std::string_view() : text);
        if (!set.ok()) return fail("/system", set.error());
    }
    terminal_.write("system ");
    terminal_.write(conversation_.system().empty() ? "-" : conversation_.system());
    terminal_.write("\n");
}

FixedString<12> ChatCommands::file_name(std::string_view command, std::string_view name) {
    constexpr size_t kLongest = 8;
    FixedString<12> file;
    bool fits = !name.empty() && name.size() <= kLongest;
    for (char c : name) {
        const bool small = c >= 'a' && c <= 'z', digit = c >= '0' && c <= '9';
        fits = fits && (small || digit || (c >= 'A' && c <= 'Z'));
        const char big = small ? static_cast<char>(c - 'a' + 'A') : c;
        file.append({&big, 1});
    }
    file.append(".CHT");
    if (!fits) {
        terminal_.print("/{} NAME: give a name of 1 to 8 letters and digits\n", command);
    } else if (machine_.files() == nullptr) {
        terminal_.print("/{}: there is no disk to keep conversations on; start with --disk IMG\n", command);
    } else {
        return file;
    }
    return {};
}

void ChatCommands::save(std::string_view name) {
    const FixedString<12> file = file_name("save", name);
    if (file.empty()) return;
    const Result<uint64_t> saved =
        save_conversation(*machine_.files(), file, conversation_, session_, options_, machine_.allocator());
    if (!saved.ok()) return fail("not saved", saved.error());
    terminal_.print("[{}: {} turns, {} tokens, {} bytes]\n", file.view(), conversation_.turns(),
                    session_.tokens().size(), saved.value());
}

void ChatCommands::load(std::string_view name) {
    const FixedString<12> file = file_name("load", name);
    if (file.empty()) return;
    const Result<void> loaded =
        load_conversation(*machine_.files(), file, conversation_, session_, options_, machine_.allocator());
    if (!loaded.ok()) return fail("not loaded", loaded.error());
    terminal_.print("[{}: {} turns, {} tokens, template {}]\n", file.view(), conversation_.turns(),
                    session_.tokens().size(), conversation_.chat_template().name);
}

void ChatCommands::model() {
    const Weights& weights = session_.weights();
    const ModelConfig& c = weights.config;
    const Transformer& transformer = session_.transformer();
    terminal_.print("{} ({}), {} bytes, hash {:08x}\n", session_.image().name, session_.image().kind,
                    weights.file_size, weights.hash);
    terminal_.print(
        "{} parameters, {}, {}: {} layers, hidden {}, feed-forward {}, {} heads of {}, {} key/value heads\n",
        count_parameters(weights), name_of(weights.layers[0].query.type),
        name_of(weights.layers[0].query.layout), c.num_layers, c.hidden_size, c.intermediate_size,
        c.num_heads, c.head_size, c.num_kv_heads);
    terminal_.print("vocabulary {}, context {} of {}, numerics {}\n", c.vocab_size, transformer.context(),
                    c.context_length, name_of(transformer.operators().numeric_class()));
    terminal_.print("key/value cache {}, {} bytes, activations {} bytes\n", name_of(transformer.cache_type()),
                    transformer.kv_bytes(), transformer.activation_bytes());
    terminal_.print("chat template {}\n", conversation_.chat_template().name);
    terminal_.write(weights.provenance);
    if (!weights.provenance.empty() && !weights.provenance.ends_with('\n')) terminal_.write("\n");
}

void ChatCommands::set(std::string_view command, std::string_view option, std::string_view value) {
    if (!value.empty()) {
        Result<void> done = options_.set(option, value);
        if (!done.ok()) {
            terminal_.print("{}\n", done.error().message());
            return;
        }
        if (option == "seed") {
            session_.seed(options_.sampling.random_seed ? machine_.random_seed() : options_.sampling.seed);
        }
    }
    print_value(command);
}

void ChatCommands::print_value(std::string_view command) {
    const SamplingOptions& s = options_.sampling;
    if (command == "temp") terminal_.print("temp {:.3}\n", s.temperature);
    if (command == "top-k") terminal_.print("top-k {}\n", s.top_k);
    if (command == "top-p") terminal_.print("top-p {:.3}\n", s.top_p);
    if (command == "min-p") terminal_.print("min-p {:.3}\n", s.min_p);
    if (command == "repeat-penalty") terminal_.print("repeat-penalty {:.3}\n", s.repeat_penalty);
    if (command == "seed") terminal_.print("seed {}\n", session_.current_seed());
    if (command == "n") {
        if (options_.max_tokens == kUnlimitedTokens) {
            terminal_.print("n -1: to the end\n");
        } else {
            terminal_.print("n {}\n", options_.max_tokens);
        }
    }
}

}  // namespace bareflow
