// The screen of this machine, if it has one: which one it is, mapped and ready.
#pragma once

#include "arch/base/allocator.h"
#include "arch/base/log.h"
#include "arch/base/terminal.h"
#include "arch/x86_64/framebuffer.h"

namespace bareflow {

/// Takes the screen that the boot loader left. The record `screen` says what it is, `screen_refused` why it is not used; without
/// one neither is written, and screen() shows nothing.
void initialise_screen(const BootFramebuffer& left, Allocator& allocator, Clock& clock, LogSink& log);

TextScreen& screen();

}  // namespace bareflow
