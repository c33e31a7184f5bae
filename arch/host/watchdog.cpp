#include "arch/host/watchdog.h"

#include <signal.h>
#include <unistd.h>

#include "arch/host/host_terminal.h"

namespace bareflow {
namespace {

constexpr char kMessage[] = "bareflow: --timeout is over; the process ends\n";

void on_alarm(int) {
    restore_terminal();
    const ssize_t ignored = write(STDERR_FILENO, kMessage, sizeof kMessage - 1);
    static_cast<void>(ignored);
    _exit(1);
}

}  // namespace

void start_watchdog(uint32_t seconds) {
    if (seconds == 0) return;
    signal(SIGALRM, on_alarm);
    alarm(seconds);
}

}  // namespace bareflow
