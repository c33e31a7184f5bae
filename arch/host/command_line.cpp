#include "arch/host/command_line.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "arch/base/version.h"
#include "arch/host/option_help.h"

namespace bareflow {
namespace {

constexpr int kGoOn = -1, kUsageError = 2;
constexpr uint32_t kLongestTimeout = 1'000'000;  // seconds

std::string dashed_names(OptionId id) {
    const OptionName name = name_of(id);
    const std::string dashed = std::string("--") + name.long_name;
    return name.short_name == 0 ? dashed : std::string("-") + name.short_name + "," + dashed;
}

}  // namespace

int parse_host_command_line(HostCommandLine& command_line, int argc, const char* const* argv) {
    CLI::App app(
        "Writes stories with a small language model: one that begins with -p TEXT, or those that you begin.\n"
        "Without a terminal and without -p, the first line of standard input begins the one story.",
        "bareflow");
    app.set_version_flag("--version", "bareflow " + std::string(kVersion));

    struct Given {
        const OptionHelp* help;
        CLI::Option* option;
        size_t value;
    };
    std::vector<Given> all;
    command_line.values.resize(kOptionCount);
    for (const OptionHelp& help : option_help()) {
        if (help.kernel_only) continue;
        if (help.repeatable) {
            app.add_option(dashed_names(help.id), command_line.stops, std::string(help.text))
                ->type_name(std::string(help.value_name))
                ->allow_extra_args(false);
            continue;
        }
        std::string& value = command_line.values[all.size()];
        CLI::Option* option = app.add_option(dashed_names(help.id), value, std::string(help.text));
        option->type_name(std::string(help.value_name))->take_last();
        if (!help.alone.empty()) option->expected(0, 1);
        all.push_back({&help, option, all.size()});
    }
    app.add_option("--log", command_line.log, "write the log to FILE (default: nowhere)")->type_name("FILE");
    app.add_option("--disk", command_line.disk,
                   "a disk image: a model is read from its FAT16 volume, and what is learned is kept there")
        ->type_name("IMG");
    app.add_option("--perplexity", command_line.perplexity,
                   "tell how well the model foresees the text in FILE, and end")
        ->type_name("FILE");
    app.add_option("--timeout", command_line.timeout_s,
                   "end with status 1 after S seconds; 0: never (default: 0)")
        ->type_name("S")
        ->check(CLI::Range(kLongestTimeout));

    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp& e) {
        return app.exit(e);
    } catch (const CLI::CallForVersion& e) {
        return app.exit(e);
    } catch (const CLI::ParseError& e) {
        std::fprintf(stderr, "bareflow: %s\nbareflow --help lists the options\n", e.what());
        return kUsageError;
    }
    const auto set = [&](std::string_view name, const std::string& value) {
        const Result<void> done = command_line.options.set(name, value);
        if (done.ok()) return true;
        const std::string_view message = done.error().message();
        std::fprintf(stderr, "bareflow: %.*s\n", static_cast<int>(message.size()), message.data());
        return false;
    };
    for (const Given& given : all) {
        if (given.option->count() == 0) continue;
        std::string& value = command_line.values[given.value];
        if (value.empty() && !given.help->alone.empty()) value = given.help->alone;
        if (!set(name_of(given.help->id).long_name, value)) return kUsageError;
    }
    for (const std::string& stop : command_line.stops) {
        if (!set("stop", stop)) return kUsageError;
    }
    if (!command_line.perplexity.empty() && command_line.options.has_prompt) {
        std::fprintf(stderr, "bareflow: --perplexity reads its text from FILE; leave out --prompt\n");
        return kUsageError;
    }
    return kGoOn;
}

}  // namespace bareflow
