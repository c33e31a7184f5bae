#include "arch/base/terminal.h"

namespace bareflow {

void Terminal::print_values(const char* pattern, FormatKinds kinds, ...) {
    char text[kMostPrinted];
    va_list values;
    va_start(values, kinds);
    write(format_list(text, pattern, kinds, values));
    va_end(values);
}

}  // namespace bareflow
