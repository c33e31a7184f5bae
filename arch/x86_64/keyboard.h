// The PS/2 keyboard behind an i8042 controller (IBM PC AT Technical Reference, "Keyboard Controller"; the firmware of many PCs
// makes a USB keyboard look like one).
#pragma once

#include <cstdint>

#include "arch/x86_64/scancodes.h"

namespace bareflow {

/// The controller's two ports. Tests bring controllers of their own.
class KeyboardPorts {
 public:
    virtual uint8_t read(uint16_t port) = 0;
    virtual void write(uint16_t port, uint8_t value) = 0;

 protected:
    ~KeyboardPorts() = default;
};
/// The machine's own.
KeyboardPorts& keyboard_ports();

/// Polled, without interrupts: this kernel lets interrupts in only while it sleeps at the prompt, where it looks each
/// millisecond anyhow, so that one could not come any earlier. What is typed meanwhile waits in the keyboard (16 codes), and
/// what is read and not wanted yet, here.
class Keyboard {
 public:
    /// Sets up the controller: no interrupts, no mouse, codes of set 1. False if there is none, or it does not answer; then
    /// poll() never has anything. `ports` must outlive the keyboard.
    bool initialise(KeyboardPorts& ports);
    bool present() const { return present_; }
    void set_layout(KeyboardLayout layout) { decoder_.set_layout(layout); }
    /// The next byte of what was typed, or Terminal::kNone.
    int poll();

 private:
    static constexpr uint32_t kAhead = 256;  ///< bytes; what does not fit is lost

    bool send(uint16_t port, uint8_t value);
    int receive();

    KeyboardPorts* ports_ = nullptr;
    ScancodeDecoder decoder_;
    bool present_ = false;
    char ahead_[kAhead] = {};
    uint32_t first_ = 0, size_ = 0;
};

}  // namespace bareflow
