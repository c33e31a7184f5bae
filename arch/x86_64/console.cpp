#include "arch/x86_64/console.h"

#include "arch/x86_64/local_apic.h"

namespace bareflow {

void SerialTerminal::write(std::string_view text) {
    while (interactive_ && !text.empty()) {
        const size_t newline = text.find('\n');
        if (newline == std::string_view::npos) break;
        console_port().write(text.substr(0, newline));
        console_port().write("\r\n");
        text.remove_prefix(newline + 1);
    }
    console_port().write(text);
}

int SerialTerminal::read() {
    // At 115200 baud the 16-byte FIFO fills in 1.4 ms: looking each millisecond loses nothing.
    constexpr uint64_t kPollNs = 1'000'000;
    for (;;) {
        const int byte = console_port().poll();
        if (byte != kNone) return byte;
        local_apic_sleep(kPollNs);
    }
}

}  // namespace bareflow
