// The terminal of a Linux process: standard input and output.
//
// While a person is asked for input the tty is in raw mode, so that the line editor sees each key; its modes are put
// back at exit, on signals that end the process, and while it is stopped by Ctrl-Z. There is one object a process.
#pragma once

#include "arch/base/terminal.h"

namespace bareflow {

class HostTerminal final : public Terminal {
 public:
    HostTerminal();
    HostTerminal(const HostTerminal&) = delete;
    HostTerminal& operator=(const HostTerminal&) = delete;
    ~HostTerminal();

    void write(std::string_view text) override;
    /// Standard input; the end of input at once if that is a tty that nobody was asked on (output goes elsewhere).
    int read() override;
    /// Takes only what a person typed: a pipe's bytes stay there. Ctrl-C outside raw mode, or SIGINT, is 0x03 too; a
    /// second one that nobody polled for ends the process.
    void listen() override;
    int poll() override;
    bool interactive() const override { return interactive_; }
    uint32_t columns() override;

    /// The errno of the first write that failed; 0: all went well.
    int write_error() const { return write_error_; }

 private:
    bool interactive_;
    int write_error_ = 0;
};

/// Puts the tty's modes back, if they were changed. Safe in a signal handler.
void restore_terminal();

}  // namespace bareflow
