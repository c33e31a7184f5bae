#include "arch/x86_64/keyboard.h"

#include "arch/base/terminal.h"
#include "arch/x86_64/cpu.h"

namespace bareflow {
namespace {

constexpr uint16_t kData = 0x60, kStatus = 0x64, kCommand = 0x64;
constexpr uint8_t kOutputFull = 0x01, kInputFull = 0x02, kFromMouse = 0x20, kNobody = 0xFF;
constexpr uint8_t kReadConfiguration = 0x20, kWriteConfiguration = 0x60, kDisableMouse = 0xA7,
                  kDisableKeyboard = 0xAD, kEnableKeyboard = 0xAE;
constexpr uint8_t kInterrupts = 0x03, kKeyboardOff = 0x10, kMouseOff = 0x20, kTranslate = 0x40;
constexpr uint8_t kStartScanning = 0xF4;  // to the keyboard, which answers kAcknowledge, no key's code
/// A controller that stays busy this long is stuck: a reading takes about 1 µs.
constexpr int kMostWaits = 50'000;
constexpr int kMostCodes = 64;  // in one look

class MachinePorts final : public KeyboardPorts {
 public:
    uint8_t read(uint16_t port) override { return cpu::in8(port); }
    void write(uint16_t port, uint8_t value) override { cpu::out8(port, value); }
};
constinit MachinePorts machine_ports;

}  // namespace

KeyboardPorts& keyboard_ports() { return machine_ports; }

bool Keyboard::send(uint16_t port, uint8_t value) {
    for (int i = 0; i < kMostWaits; ++i) {
        if (!(ports_->read(kStatus) & kInputFull)) {
            ports_->write(port, value);
            return true;
        }
    }
    return false;
}

/// What the controller answers, or kNone.
int Keyboard::receive() {
    for (int i = 0; i < kMostWaits; ++i) {
        if (ports_->read(kStatus) & kOutputFull) return ports_->read(kData);
    }
    return Terminal::kNone;
}

bool Keyboard::initialise(KeyboardPorts& ports) {
    ports_ = &ports;
    if (ports_->read(kStatus) == kNobody) return false;
    if (!send(kCommand, kDisableKeyboard) || !send(kCommand, kDisableMouse)) return false;
    for (int i = 0; i < kMostCodes && (ports_->read(kStatus) & kOutputFull); ++i) ports_->read(kData);
    if (!send(kCommand, kReadConfiguration)) return false;
    const int configuration = receive();
    if (configuration < 0) return false;
    const auto wanted =
        static_cast<uint8_t>((configuration & ~(kInterrupts | kKeyboardOff)) | kMouseOff | kTranslate);
    present_ = send(kCommand, kWriteConfiguration) && send(kData, wanted) &&
               send(kCommand, kEnableKeyboard) && send(kData, kStartScanning);
    return present_;
}

int Keyboard::poll() {
    if (!present_) return Terminal::kNone;
    for (int i = 0; i < kMostCodes; ++i) {
        const uint8_t status = ports_->read(kStatus);
        if (!(status & kOutputFull) || status == kNobody) break;
        const uint8_t code = ports_->read(kData);
        if (status & kFromMouse) continue;
        const FixedString<8> bytes = decoder_.feed(code);
        if (bytes.size() > kAhead - size_) continue;
        for (const char c : bytes.view()) ahead_[(first_ + size_++) % kAhead] = c;
    }
    if (size_ == 0) return Terminal::kNone;
    const auto byte = static_cast<uint8_t>(ahead_[first_]);
    first_ = (first_ + 1) % kAhead;
    --size_;
    return byte;
}

}  // namespace bareflow
