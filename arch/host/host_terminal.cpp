#include "arch/host/host_terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

namespace bareflow {
namespace {

constexpr int kCtrlC = 0x03;
constexpr int kInterruptedStatus = 128 + SIGINT;

// What signal handlers touch.
termios cooked_mode, raw_mode;
volatile sig_atomic_t is_raw = 0;
volatile sig_atomic_t interrupts = 0;

void set_raw() {
    tcsetattr(STDIN_FILENO, TCSANOW, &raw_mode);
    is_raw = 1;
}

void on_interrupt(int) {
    if (interrupts == 0) {
        interrupts = 1;
        return;
    }
    restore_terminal();
    _exit(kInterruptedStatus);
}

/// A signal that ends the process: the terminal first, then what the signal does by default.
void on_end(int number) {
    restore_terminal();
    signal(number, SIG_DFL);
    raise(number);
}

/// Ctrl-Z: a stopped process leaves a sane terminal, and takes it back when it goes on.
void on_suspend(int) {
    const int error = errno;
    const bool was_raw = is_raw != 0;
    restore_terminal();
    raise(SIGSTOP);
    if (was_raw) set_raw();
    errno = error;
}

void handle(int number, void (*handler)(int), int flags) {
    struct sigaction action = {};
    action.sa_handler = handler;
    action.sa_flags = flags;
    sigaction(number, &action, nullptr);
}

/// Every key as it is pressed, without echo; output still turns \n into CR LF, and Ctrl-Z and Ctrl-\ still work.
termios make_raw(termios mode) {
    mode.c_iflag &= ~static_cast<tcflag_t>(ICRNL | INLCR | IGNCR | ISTRIP | IXON);
    mode.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | IEXTEN);
    mode.c_cc[VINTR] = _POSIX_VDISABLE;
    mode.c_cc[VMIN] = 1;
    mode.c_cc[VTIME] = 0;
    return mode;
}

int read_byte() {
    unsigned char byte;
    for (;;) {
        const ssize_t got = ::read(STDIN_FILENO, &byte, 1);
        if (got == 1) return byte;
        if (got == 0 || errno != EINTR) return Terminal::kNone;
        if (interrupts > 0) {
            interrupts = 0;
            return kCtrlC;
        }
    }
}

}  // namespace

void restore_terminal() {
    if (is_raw) tcsetattr(STDIN_FILENO, TCSANOW, &cooked_mode);
    is_raw = 0;
}

HostTerminal::HostTerminal() : interactive_(isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) {
    handle(SIGINT, on_interrupt, 0);  // no SA_RESTART: it wakes a read
    if (!interactive_) return;
    tcgetattr(STDIN_FILENO, &cooked_mode);
    raw_mode = make_raw(cooked_mode);
    for (int number : {SIGTERM, SIGHUP, SIGQUIT, SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE})
        handle(number, on_end, 0);
    handle(SIGTSTP, on_suspend, SA_RESTART);
}

HostTerminal::~HostTerminal() { restore_terminal(); }

void HostTerminal::write(std::string_view text) {
    while (!text.empty() && write_error_ == 0) {
        const ssize_t written = ::write(STDOUT_FILENO, text.data(), text.size());
        if (written >= 0) {
            text.remove_prefix(static_cast<size_t>(written));
        } else if (errno == EAGAIN) {
            pollfd output = {STDOUT_FILENO, POLLOUT, 0};
            ::poll(&output, 1, -1);
        } else if (errno != EINTR) {
            write_error_ = errno;
        }
    }
}

int HostTerminal::read() {
    if (interactive_) {
        listen();
    } else if (isatty(STDIN_FILENO)) {
        return kNone;
    }
    return read_byte();
}

void HostTerminal::listen() {
    if (interactive_ && !is_raw) set_raw();
}

int HostTerminal::poll() {
    if (interrupts > 0) {
        interrupts = 0;
        return kCtrlC;
    }
    if (!is_raw) return kNone;
    pollfd input = {STDIN_FILENO, POLLIN, 0};
    return ::poll(&input, 1, 0) == 1 && (input.revents & POLLIN) ? read_byte() : kNone;
}

uint32_t HostTerminal::columns() {
    winsize size = {};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kUsualColumns;
    return size.ws_col;
}

}  // namespace bareflow
