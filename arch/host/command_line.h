// The host program's command line: the shared options of option_help(), and the few of its own.
#pragma once

#include <string>
#include <vector>

#include "arch/base/options.h"

namespace bareflow {

struct HostCommandLine {
    Options options;         ///< views into `values`
    std::string log;         ///< --log; empty: none
    std::string perplexity;  ///< --perplexity: a text file; empty: none, write stories
    std::string disk;        ///< --disk: an image with a FAT16 volume; empty: none
    uint32_t timeout_s = 0;  ///< --timeout; 0: none
    std::vector<std::string> values;
    std::vector<std::string> stops;  ///< --stop, each time that it was given

    HostCommandLine() = default;
    HostCommandLine(const HostCommandLine&) = delete;  // `options` looks into it
    HostCommandLine& operator=(const HostCommandLine&) = delete;
};

/// Fills `command_line` from the arguments. Returns -1 to go on; else the exit status: 0 after --help or --version, 2
/// after an error, which it has written to standard error.
int parse_host_command_line(HostCommandLine& command_line, int argc, const char* const* argv);

}  // namespace bareflow
