#include "arch/base/printer.h"

namespace bareflow {

void Printer::print_values(const char* pattern, FormatKinds kinds, ...) {
    char text[kMostPrinted];
    va_list values;
    va_start(values, kinds);
    print_text(format_list(text, pattern, kinds, values));
    va_end(values);
}

}  // namespace bareflow
