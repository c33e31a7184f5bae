// What can be emitted, for --list.
#pragma once

#include <ostream>

namespace bareflow {

void print_catalogue(std::ostream& out);

}  // namespace bareflow
