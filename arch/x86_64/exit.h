// Ways to stop: QEMU's debug exit, ACPI power-off, or a plain halt.
#pragma once

#include <string_view>

namespace bareflow {

enum class ExitStatus { kSuccess, kFailure };

/// How exit_machine stops: empty is the first that this machine has, in the order debug-exit (only under QEMU), acpi,
/// halt. Set by the option exit=.
void set_exit_method(std::string_view method);

/// Writes the log's last record, waits for the serial ports to drain, and stops.
[[noreturn]] void exit_machine(ExitStatus status, std::string_view reason);

}  // namespace bareflow
