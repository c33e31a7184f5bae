// The console as the chat sees it: COM1, asleep while nobody types.
#pragma once

#include "arch/base/terminal.h"
#include "arch/x86_64/serial.h"

namespace bareflow {

class SerialTerminal final : public Terminal {
 public:
    /// Whether a person is there: set when no prompt= was given. Newlines then go out as CR LF.
    void set_interactive(bool interactive) { interactive_ = interactive; }

    void write(std::string_view text) override;
    int read() override;
    int poll() override { return console_port().poll(); }
    bool interactive() const override { return interactive_; }

 private:
    bool interactive_ = false;
};

/// What iso/boot.sh waits for on COM1: firmware and GRUB have printed before it, all that follows is ours.
constexpr std::string_view kStartMark =
    "\x02"
    "BAREFLOW\x02\n";

}  // namespace bareflow
