// What the shared options are to people: the host program's --help.
#pragma once

#include <span>
#include <string_view>

#include "arch/base/options.h"

namespace bareflow {

struct OptionHelp {
    OptionId id;
    std::string_view value_name;  ///< "TEXT", "N", …
    std::string_view text;
    bool kernel_only;
    std::string_view alone = {};  ///< what the name alone means; empty: it needs a value
    bool repeatable = false;      ///< each time that it is given adds a value
};

/// One of each option, by their number.
std::span<const OptionHelp> option_help();

}  // namespace bareflow
