#include "arch/x86_64/serial.h"

#include "arch/x86_64/cpu.h"

namespace bareflow {
namespace {

// Register offsets; the divisor latch shares the first two while kLineDivisorLatch is set.
constexpr uint16_t kData = 0, kInterruptEnable = 1, kFifoControl = 2, kLineControl = 3, kModemControl = 4,
                   kLineStatus = 5;
constexpr uint8_t kLineDivisorLatch = 0x80, kLine8N1 = 0x03;
constexpr uint8_t kFifoEnableAndClear = 0xC7;  // 14-byte trigger
constexpr uint8_t kModemReady = 0x03, kModemLoopback = 0x10;
constexpr uint8_t kStatusDataReady = 0x01, kStatusHoldingEmpty = 0x20, kStatusAllSent = 0x40;
constexpr uint8_t kDivisor115200 = 1;
constexpr uint8_t kLoopbackProbe = 0xA5;
/// A port that stays busy this long is stuck; a byte takes 87 µs at 115200 baud, a status read about 1 µs.
constexpr int kMaxWaits = 100'000;

constinit SerialPort console_port_{SerialPort::kCom1};
constinit SerialPort log_port_{SerialPort::kCom2};

}  // namespace

SerialPort& console_port() { return console_port_; }
SerialPort& log_port() { return log_port_; }

void SerialLog::write_line(std::string_view line) { log_port().write(line); }

void SerialPort::initialise() {
    // What the boot loader last sent may still be leaving the port.
    for (int i = 0; i < kMaxWaits && !(cpu::in8(base_ + kLineStatus) & kStatusAllSent); ++i) cpu::pause();
    cpu::out8(base_ + kInterruptEnable, 0);
    cpu::out8(base_ + kLineControl, kLineDivisorLatch);
    cpu::out8(base_ + kData, kDivisor115200);
    cpu::out8(base_ + kInterruptEnable, 0);
    cpu::out8(base_ + kLineControl, kLine8N1);
    cpu::out8(base_ + kFifoControl, kFifoEnableAndClear);
    cpu::out8(base_ + kModemControl, kModemLoopback | kModemReady);
    cpu::out8(base_ + kData, kLoopbackProbe);
    for (int i = 0; i < kMaxWaits && !present_; ++i) {
        uint8_t status = cpu::in8(base_ + kLineStatus);
        if (status == 0xFF) break;  // nothing decodes this address
        if (status & kStatusDataReady) present_ = cpu::in8(base_ + kData) == kLoopbackProbe;
    }
    cpu::out8(base_ + kModemControl, kModemReady);
}

void SerialPort::write_byte(uint8_t byte) {
    for (int i = 0; i < kMaxWaits; ++i) {
        if (cpu::in8(base_ + kLineStatus) & kStatusHoldingEmpty) break;
        cpu::pause();
    }
    cpu::out8(base_ + kData, byte);
}

void SerialPort::write(std::string_view text) {
    if (!present_) return;
    for (char c : text) write_byte(static_cast<uint8_t>(c));
}

int SerialPort::poll() {
    if (!present_ || !(cpu::in8(base_ + kLineStatus) & kStatusDataReady)) return Terminal::kNone;
    return cpu::in8(base_ + kData);
}

void SerialPort::flush() {
    if (!present_) return;
    for (int i = 0; i < kMaxWaits && !(cpu::in8(base_ + kLineStatus) & kStatusAllSent); ++i) cpu::pause();
}

}  // namespace bareflow
