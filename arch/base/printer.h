// What texts are shown on: they can be formatted on the way.
#pragma once

#include <string_view>

#include "arch/base/format.h"

namespace bareflow {

class Printer {
 public:
    /// Shows a formatted text of at most kMostPrinted bytes.
    template <typename... Arguments>
    void print(const char* pattern, const Arguments&... arguments) {
        print_values(pattern, format_kinds<Arguments...>(), format_value(arguments)...);
    }
    static constexpr size_t kMostPrinted = 400;

 protected:
    ~Printer() = default;

 private:
    virtual void print_text(std::string_view text) = 0;
    void print_values(const char* pattern, FormatKinds kinds, ...);
};

}  // namespace bareflow
