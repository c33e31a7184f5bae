#include "arch/x86_64/console.h"

#include <algorithm>

#include "arch/x86_64/display.h"
#include "arch/x86_64/keyboard.h"
#include "arch/x86_64/local_apic.h"
#include "arch/x86_64/serial.h"

namespace bareflow {
namespace {

constinit Keyboard keyboard;

}  // namespace

void initialise_keyboard(LogSink& log) {
    if (keyboard.initialise(keyboard_ports())) LogRecord(log, "keyboard").field("controller", "i8042");
}
void set_keyboard_layout(KeyboardLayout layout) { keyboard.set_layout(layout); }

void ConsoleTerminal::write(std::string_view text) {
    screen().write(text);
    while (interactive_ && !text.empty()) {
        const size_t newline = text.find('\n');
        if (newline == std::string_view::npos) break;
        console_port().write(text.substr(0, newline));
        console_port().write("\r\n");
        text.remove_prefix(newline + 1);
    }
    console_port().write(text);
}

int ConsoleTerminal::poll() {
    const int byte = console_port().poll();
    return byte != kNone ? byte : keyboard.poll();
}

int ConsoleTerminal::read() {
    // At 115200 baud the 16-byte FIFO fills in 1.4 ms: looking each millisecond loses nothing.
    constexpr uint64_t kPollNs = 1'000'000;
    for (;;) {
        const int byte = poll();
        if (byte != kNone) return byte;
        local_apic_sleep(kPollNs);
    }
}

uint32_t ConsoleTerminal::columns() {
    if (!screen().started()) return kUsualColumns;
    return console_port().present() ? std::min(screen().columns(), kUsualColumns) : screen().columns();
}

}  // namespace bareflow
