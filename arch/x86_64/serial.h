// 16550 serial ports (PC16550D data sheet): COM1 carries the console, COM2 the log.
#pragma once

#include <cstdint>
#include <string_view>

#include "arch/base/log.h"
#include "arch/base/terminal.h"

namespace bareflow {

class SerialPort {
 public:
    static constexpr uint16_t kCom1 = 0x3F8, kCom2 = 0x2F8;
    constexpr explicit SerialPort(uint16_t base) : base_(base) {}

    /// 115200 baud, 8N1, FIFOs on, no interrupts. A port that does not answer its loopback test is left out:
    /// writing to it does nothing.
    void initialise();
    bool present() const { return present_; }
    void write(std::string_view text);
    /// A received byte, or Terminal::kNone.
    int poll();
    /// Waits until the last bit has left the wire.
    void flush();

 private:
    void write_byte(uint8_t byte);
    uint16_t base_;
    bool present_ = false;
};

/// Log records go to COM2.
class SerialLog final : public LogSink {
 public:
    void write_line(std::string_view line) override;
};

/// The two ports, initialised first of all things in kernel_main.
SerialPort& console_port();
SerialPort& log_port();

}  // namespace bareflow
