// The console as the chat sees it: COM1, and screen and keyboard where there are any; asleep while nobody types.
#pragma once

#include "arch/base/log.h"
#include "arch/base/options.h"
#include "arch/base/terminal.h"

namespace bareflow {

class ConsoleTerminal final : public Terminal {
 public:
    /// Whether a person is there: set when no prompt= was given. Newlines then go out as CR LF.
    void set_interactive(bool interactive) { interactive_ = interactive; }

    /// To the port and the screen alike.
    void write(std::string_view text) override;
    /// From whichever of port and keyboard has something.
    int read() override;
    int poll() override;
    bool interactive() const override { return interactive_; }
    /// What fits on the screen and, if somebody may look at the port, on a terminal there.
    uint32_t columns() override;

 private:
    bool interactive_ = false;
};

/// Looks for a keyboard. The record `keyboard` says that there is a controller for one.
void initialise_keyboard(LogSink& log);
void set_keyboard_layout(KeyboardLayout layout);

/// What iso/boot.sh waits for on COM1: firmware and GRUB have printed before it, all that follows is ours.
constexpr std::string_view kStartMark =
    "\x02"
    "BAREFLOW\x02\n";

}  // namespace bareflow
