// What the chat needs of a console: bytes in, bytes out. The kernel's is a serial port, the host's a tty or a pipe.
#pragma once

#include <cstdint>
#include <string_view>

#include "arch/base/printer.h"

namespace bareflow {

class Terminal : public Printer {
 public:
    /// No byte is waiting (poll) / nothing more will ever come (read).
    static constexpr int kNone = -1;

    /// Writes all of `text`; newlines as they are (a serial terminal adds the carriage return itself).
    virtual void write(std::string_view text) = 0;
    /// Waits for a byte, sleeping meanwhile; kNone at the end of input.
    virtual int read() = 0;
    /// Keys are wanted from now on, one by one: poll() sees them even before the first read().
    virtual void listen() {}
    /// A byte if one is waiting, else kNone. Never waits.
    virtual int poll() = 0;
    /// Whether a person sits there: a line editor and a prompt are wanted.
    virtual bool interactive() const = 0;
    /// How wide the screen is. A serial line does not know; terminals at its other end are rarely narrower than this.
    virtual uint32_t columns() { return kUsualColumns; }
    static constexpr uint32_t kUsualColumns = 80;

 protected:
    ~Terminal() = default;

 private:
    void print_text(std::string_view text) final { write(text); }
};

/// Monotonic time since an arbitrary start, in nanoseconds.
class Clock {
 public:
    virtual uint64_t now_ns() = 0;

 protected:
    ~Clock() = default;
};

}  // namespace bareflow
