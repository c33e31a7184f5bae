// The version that --version, the banner and the log show.
#pragma once

#include <string_view>

namespace bareflow {

constexpr std::string_view kVersion = "0.1.0";

}  // namespace bareflow
