#include "arch/x86_64/exit.h"

#include "arch/base/log.h"
#include "arch/x86_64/acpi.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/fw_cfg.h"
#include "arch/x86_64/serial.h"

namespace bareflow {
namespace {

// QEMU's isa-debug-exit ends with status (value << 1) | 1: 33 for success, 65 for failure; never 1, which is
// QEMU's own.
constexpr uint16_t kDebugExitPort = 0xF4;
constexpr uint32_t kDebugExitSuccess = 0x10, kDebugExitFailure = 0x20;

constinit std::string_view exit_method;

}  // namespace

void set_exit_method(std::string_view method) { exit_method = method; }

[[noreturn]] void exit_machine(ExitStatus status, std::string_view reason) {
    const bool success = status == ExitStatus::kSuccess;
    SerialLog log;
    {
        LogRecord record(log, "exit");
        record.field("status", success ? "ok" : "failed");
        if (!reason.empty()) record.field("reason", reason);
    }
    log_port().flush();
    console_port().flush();

    if (exit_method == "debug-exit" || (exit_method.empty() && fw_cfg_present())) {
        cpu::out32(kDebugExitPort, success ? kDebugExitSuccess : kDebugExitFailure);
    }
    // A failure stays on the screen: only a machine that finished well is turned off.
    if (exit_method == "acpi" || (exit_method.empty() && success)) acpi_power_off();
    cpu::halt_forever();
}

}  // namespace bareflow
